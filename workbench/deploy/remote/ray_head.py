"""The REST API of a Ray cluster's head: nodes, and the applications of Ray Serve.

Only HTTP: who deploys needs no Ray. `https://docs.ray.io/en/latest/serve/api/` documents the
routes under ``/api/serve/applications/``.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from workbench.core.status import Code, ServingError, invalid_argument, unavailable

_SECONDS = 10.0
_CODES = {400: Code.INVALID_ARGUMENT, 401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED}
_APPLICATIONS = "/api/serve/applications/"
_KEPT_FIELDS = ("name", "deployed_app_config", "status", "message", "deployments")


class RayHead:
    """The head at an address such as ``http://10.0.0.2:8265``; raises ServingError: UNAVAILABLE if
    it does not answer, UNAUTHENTICATED without its token, and its own refusals.

    Args:
        token: of the cluster (``RAY_AUTH_TOKEN``); None if it asks for none.
        seconds: to wait for an answer.

    Attributes:
        answered_at: when it answered last, in seconds since the epoch; None if it never did.
    """

    answered_at: float | None = None

    def __init__(self, address: str, token: str | None = None, seconds: float = _SECONDS) -> None:
        if not address.startswith(("http://", "https://")):
            raise invalid_argument(
                f"The address of a Ray cluster must be the URL of its head's dashboard, such as "
                f"http://10.0.0.2:8265; was {address!r}"
            )
        self.address = address.rstrip("/")
        self._token = token
        self._seconds = seconds

    def version(self) -> str:
        """The version of Ray on the head."""
        return str(self._request("GET", "/api/version")["ray_version"])

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that Ray believes to be alive, with `node_ip` and `node_id`."""
        answer = self._request("GET", "/api/v0/nodes?limit=1000")
        found: list[dict[str, Any]] = answer["data"]["result"]["result"]
        return [node for node in found if node["state"] == "ALIVE"]

    def applications(self) -> dict[str, dict[str, Any]]:
        """The applications of Ray Serve by name, each with its `status`, `message`, `deployments`
        and the `deployed_app_config` that it was deployed with."""
        found: Mapping[str, Any] = self._request("GET", _APPLICATIONS).get("applications", {})
        return {name: {key: app.get(key) for key in _KEPT_FIELDS} for name, app in found.items()}

    def deploy(
        self, applications: Mapping[str, Mapping[str, Any]], proxy_location: str = "Disabled"
    ) -> None:
        """Deploy applications by name, or change them. Other applications that were deployed in the
        same way are left as they are. The call returns before Ray has done it.

        Args:
            proxy_location: where Ray's own HTTP proxies run, if Ray Serve does not run yet. No
                request of a fleet passes them.
        """
        self._put({**self._configs(), **applications}, proxy_location)

    def delete(self, *names: str) -> None:
        """Delete applications; those that are not there are no mistake."""
        self._put({name: app for name, app in self._configs().items() if name not in names})

    def _configs(self) -> dict[str, Mapping[str, Any]]:
        return {
            name: app["deployed_app_config"]
            for name, app in self.applications().items()
            if app["deployed_app_config"]
        }

    def _put(
        self, applications: Mapping[str, Mapping[str, Any]], proxy_location: str = "Disabled"
    ) -> None:
        body = {"proxy_location": proxy_location, "applications": list(applications.values())}
        self._request("PUT", _APPLICATIONS, body)

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data=data, method=method, headers=headers
        )
        # A proxy for the outside world does not know the cluster's own addresses.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=self._seconds) as response:
                text = response.read()
                self.answered_at = time.time()
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace").strip()[-1000:]
            code = _CODES.get(error.code, Code.UNAVAILABLE)
            raise ServingError(
                code, f"The head at {self.address} refused {method} {path}: {error.code} {said}"
            ) from None
        except OSError as error:
            why = getattr(error, "reason", error)
            raise unavailable(f"The head at {self.address} does not answer: {why}") from error
        try:
            return json.loads(text) if text else {}
        except ValueError as error:
            raise unavailable(
                f"What answers at {self.address} is not a Ray head: its answer is not JSON"
            ) from error


def reason_of(app: Mapping[str, Any]) -> str:
    """Why an application does not run, as far as Ray says."""
    return message_of(app) or f"its status is {app.get('status', 'unknown')}"


def message_of(app: Mapping[str, Any]) -> str:
    """Ray's message about an application, the last line of a traceback first; often empty."""
    deployments = (app.get("deployments") or {}).values()
    said = [app.get("message") or "", *(each.get("message") or "" for each in deployments)]
    text = max(said, key=len).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line or line.split(":")[0].isupper()]
    return (errors or lines or [""])[-1]
