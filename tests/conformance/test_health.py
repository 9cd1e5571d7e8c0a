"""The health service of gRPC, and the two URLs for those who watch processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Call
from tests.conformance.model_server import ModelServer


@pytest.mark.parametrize("method", ["Check", "Watch"])
@pytest.mark.parametrize(
    "service",
    [
        "",
        "ModelService",
        "PredictionService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ],
)
def test_services_that_are_there(call: Call, method: str, service: str) -> None:
    assert call(method, service) == "SERVING"


@pytest.mark.parametrize(
    ("method", "answer"),
    [("Check", ["NOT_FOUND", "unknown service"]), ("Watch", "SERVICE_UNKNOWN")],
)
def test_a_service_that_is_not_there(call: Call, method: str, answer: Any) -> None:
    assert call(method, "SessionService") == answer


@pytest.mark.parametrize(
    ("path", "body"),
    [("/health/live", '{"status": "live"}'), ("/health/ready", '{"status": "ready"}')],
)
def test_urls(all_models: tuple[ModelServer, Path], path: str, body: str) -> None:
    server, _ = all_models
    assert server.rest(path) == (200, body)
