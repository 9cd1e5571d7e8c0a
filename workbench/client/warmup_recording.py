"""The client's view of a recording of warm-up requests that runs in a server."""

from __future__ import annotations

import time
from typing import Any

from workbench.client.control_client import ControlClient
from workbench.core.status import Code, ServingError

_POLL_SECONDS = 0.05


class WarmupRecording:
    """The result of `Server.record_warmup`; the server records the requests that come from now
    on."""

    def __init__(self, control: ControlClient, model: str) -> None:
        self._control = control
        self._model = model

    @property
    def recorded(self) -> int:
        """The number of requests recorded so far."""
        return int(self._progress()["recorded"])

    @property
    def path(self) -> str:
        """The file that it writes, in the version's folder."""
        return str(self._progress()["path"])

    def wait(self, timeout: float = 60.0) -> str:
        """Wait until the file is written, and return its path.

        Raises:
            ServingError: DEADLINE_EXCEEDED, there were too few requests in time; INTERNAL, the
                file could not be written.
        """
        end = time.monotonic() + timeout
        while True:
            about = self._progress()
            if about["state"] in ("written", "failed"):
                return _path(about)
            if time.monotonic() >= end:
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"{about['recorded']} of {about['wanted']} requests were recorded within "
                    f"{timeout:.0f} s",
                )
            time.sleep(_POLL_SECONDS)

    def finish(self) -> str:
        """Write the requests recorded so far, and return the file's path.

        Raises:
            ServingError: FAILED_PRECONDITION, there are none; INTERNAL, the file could not be
                written.
        """
        return _path(self._control.finish_warmup(self._model))

    def __repr__(self) -> str:
        about = self._progress()
        return (
            f"<WarmupRecording of version {about['version']}: {about['recorded']} of "
            f"{about['wanted']} requests, {about['state']}>"
        )

    def _progress(self) -> dict[str, Any]:
        return self._control.warmup(self._model)


def _path(about: dict[str, Any]) -> str:
    if about["state"] == "failed":
        raise ServingError(
            Code.INTERNAL, f"The warm-up file could not be written: {about['error']}"
        )
    return str(about["path"])
