"""The servers of a fleet with one method more, and an ingress of Ray Serve that calls it: for
comparing Ray's own HTTP proxy with the balancers, in front of the same replicas."""

from __future__ import annotations

from typing import Any

import aiohttp
from ray import serve

from workbench.deploy.fleet.serve_config import SERVER
from workbench.deploy.ray.server_replica import ServerReplica


class AskedReplica(ServerReplica):
    """A replica that also passes requests on to its server."""

    def __init__(self, fleet: str, secret: str) -> None:
        super().__init__(fleet, secret)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, path: str, body: bytes) -> bytes:
        assert self._server is not None
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        address = self._server.address
        url = f"http://{address.host}:{address.rest_port}{path}"
        headers = {"Authorization": f"Bearer {self._tokens.data}"}
        async with self._session.post(url, data=body, headers=headers) as response:
            return await response.read()


class Ingress:
    """What Ray's HTTP proxy calls."""

    def __init__(self, application: str) -> None:
        self._servers = serve.get_deployment_handle(SERVER, application)

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import Response

        answer = await self._servers.ask.remote(
            "/v1/" + request.url.path.partition("/v1/")[2], await request.body()
        )
        return Response(answer, media_type="application/json")


def servers(args: dict[str, Any]) -> Any:
    options = {"name": SERVER, "max_ongoing_requests": 1000}
    return serve.deployment(AskedReplica, **options).bind(args["fleet"], args["secret"])


def ingress(args: dict[str, Any]) -> Any:
    options = {"name": "Ingress", "max_ongoing_requests": 1000}
    return serve.deployment(Ingress, **options).bind(args["application"])
