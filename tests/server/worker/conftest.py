"""A process that may import TensorFlow, and what it is asked."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.core.status import ServingError

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(models: Path) -> Iterator[Ask]:
    """Calls a method of `run_model.Session` in its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server.worker.run_model", str(models)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(method: str, *arguments: Any) -> Any:
        pickle.dump((method, arguments), process.stdin)
        process.stdin.flush()
        answer = pickle.load(process.stdout)
        if isinstance(answer, tuple) and answer[:1] == (ServingError,):
            raise ServingError(*answer[1:])
        return answer

    yield ask
    process.stdin.close()
    process.stdout.close()
    assert process.wait(20) == 0
