"""Sends requests to the data plane in the tensor format of `ipc.frames`, without JSON."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import orjson

from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError, unavailable
from workbench.formats.http_status import PRECONDITION_FAILED, code_of_status
from workbench.ipc import TENSORS
from workbench.processes import registry
from workbench.processes.registry import Entry

if TYPE_CHECKING:
    import numpy as np

_TIMEOUT_SECONDS = 60.0


class Target(NamedTuple):
    """One signature of one version: the highest available one without `version` and `label`."""

    model: str
    version: int | None
    label: str | None
    signature: str


class SignatureChanged(ServingError):
    """The version that answers now does not have the signature that the request was made for. The
    request was refused before anything ran.

    Attributes:
        signature: that version's.
    """

    def __init__(self, message: str, signature: Signature) -> None:
        super().__init__(Code.FAILED_PRECONDITION, message)
        self.signature = signature


class _Kept(http.client.HTTPConnection):
    """Closes itself when the client or the thread that owns it ends."""

    def __del__(self) -> None:
        self.close()


class DataClient:
    """Keep-alive connections to one server's data plane, one for each thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def predict(
        self,
        entry: Entry,
        target: Target,
        inputs: dict[str, np.ndarray],
        outputs: Sequence[str],
        digest: str,
    ) -> dict[str, np.ndarray]:
        """Send one request, and return the outputs by name.

        Args:
            digest: of the signature for which `inputs` were made.

        Raises:
            SignatureChanged: the signature has changed since.
            ServingError: the server's refusal, or UNAVAILABLE.
        """
        from workbench.ipc.frames import decode_message, encode_message

        path = f"/v1/models/{quote(target.model, safe='')}"
        if target.version is not None:
            path += f"/versions/{target.version}"
        elif target.label is not None:
            path += f"/labels/{quote(target.label, safe='')}"
        asked = {"signature": target.signature, "outputs": list(outputs), "digest": digest}
        status, data = self._post(entry, f"{path}:predict", encode_message(asked, inputs))
        if status != 200:
            raise _refusal(status, data)
        return decode_message(data)[1]

    def _post(self, entry: Entry, path: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": TENSORS}
        if entry.token is not None:
            headers["Authorization"] = f"Bearer {entry.token}"
        for attempt in (1, 2):
            connection, fresh = self._connection(entry)
            try:
                response = _exchange(connection, path, body, headers)
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # The server may have closed a kept connection while it was idle, or when the
                # request arrived: then the request is sent again, as every HTTP client does.
                unread = isinstance(error, (ConnectionResetError, BrokenPipeError))
                if fresh or not unread or attempt == 2:
                    now = registry.read(entry.name) or entry
                    raise unavailable(
                        f"Server {entry.name!r} at {entry.url} does not answer: "
                        f"{now.trouble or error}"
                    ) from error
        raise AssertionError("unreachable")

    def _connection(self, entry: Entry) -> tuple[Any, bool]:
        kept = getattr(self._local, "kept", None)
        if kept is not None and kept[0] == (entry.host, entry.port):
            return kept[1], False
        self.close()
        connection = _Kept(entry.host, entry.port, timeout=_TIMEOUT_SECONDS)
        self._local.kept = ((entry.host, entry.port), connection)
        return connection, True

    def close(self) -> None:
        """Close this thread's connection."""
        kept = getattr(self._local, "kept", None)
        if kept is not None:
            kept[1].close()
            self._local.kept = None


def _refusal(status: int, data: bytes) -> ServingError:
    """The error in an answer whose status is not 200."""
    try:
        about = orjson.loads(data)
        if status == PRECONDITION_FAILED:
            return SignatureChanged(about["error"], Signature.from_json(about["signature"]))
        return ServingError(code_of_status(status), about["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ServingError(code_of_status(status), f"HTTP status {status}")


def _exchange(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> http.client.HTTPResponse:
    try:
        connection.request("POST", path, body, headers)
    except (BrokenPipeError, ConnectionResetError) as error:
        # The server refuses a body that is too large before it has read all of it.
        try:
            return connection.getresponse()
        except (OSError, http.client.HTTPException):
            raise error from None
    return connection.getresponse()
