"""The methods of both TensorFlow Serving services, by their full names."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.versions.manager import Manager
from workbench.server.front.grpc.grpc_server import Method
from workbench.server.front.grpc.model_service import ModelService
from workbench.server.front.grpc.prediction_service import PredictionService
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.reload import Reloader


def grpc_methods(
    manager: Manager,
    scheduler: BatchScheduler,
    reloader: Reloader,
    metrics: Metrics,
    check_method_names: bool = False,
    tensor_content: bool = False,
) -> Mapping[str, Method]:
    """PredictionService and ModelService; the last arguments are those of `PredictionService`."""
    prediction = PredictionService(manager, scheduler, metrics, check_method_names, tensor_content)
    return {**prediction.methods, **ModelService(manager, reloader, metrics).methods}
