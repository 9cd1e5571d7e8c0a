"""A recording of warm-up requests that runs in a server, as the client sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from workbench.core.status import Code, ServingError

_LOOK_SECONDS = 0.05


class WarmupRecording:
    """What `Server.record_warmup` returns; the requests to record are yet to come."""

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self._ask = ask

    @property
    def recorded(self) -> int:
        """How many requests it has so far."""
        return int(self._ask("GET")["recorded"])

    @property
    def path(self) -> str:
        """The file that it writes, in the version's folder."""
        return str(self._ask("GET")["path"])

    def wait(self, timeout: float = 60.0) -> str:
        """Wait until the file is written, and return its path.

        Raises:
            ServingError: DEADLINE_EXCEEDED, there were too few requests in time; INTERNAL, the
                file could not be written.
        """
        end = time.monotonic() + timeout
        while True:
            about = self._ask("GET")
            if about["state"] in ("written", "failed"):
                return _path(about)
            if time.monotonic() >= end:
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"{about['recorded']} of {about['wanted']} requests were recorded within "
                    f"{timeout:.0f} s",
                )
            time.sleep(_LOOK_SECONDS)

    def finish(self) -> str:
        """Write what has been recorded so far, and return the file's path.

        Raises:
            ServingError: FAILED_PRECONDITION, nothing has; INTERNAL, it could not be written.
        """
        return _path(self._ask("DELETE"))

    def __repr__(self) -> str:
        about = self._ask("GET")
        return (
            f"<WarmupRecording of version {about['version']}: {about['recorded']} of "
            f"{about['wanted']} requests, {about['state']}>"
        )


def _path(about: dict[str, Any]) -> str:
    if about["state"] == "failed":
        raise ServingError(
            Code.INTERNAL, f"The warm-up file could not be written: {about['error']}"
        )
    return str(about["path"])
