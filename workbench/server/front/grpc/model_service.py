"""TensorFlow Serving's ModelService: the state of models, and replacing the configuration."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from workbench.core.status import ServingError, invalid_argument
from workbench.core.versions.states import PublicState
from workbench.formats.wire.messages import message_class
from workbench.server.engine.versions.manager import Manager
from workbench.server.front.grpc.grpc_server import Method
from workbench.server.front.grpc.request_messages import parse
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.model_status import model_status
from workbench.server.front.reload import Reloader

_SERVICE = "/tensorflow.serving.ModelService/"
_RELOADS_LOGGED = 20
"""How many reload requests a second enter the event log, at most."""


class ModelService:
    """The methods, by their full names."""

    def __init__(self, manager: Manager, reloader: Reloader, metrics: Metrics) -> None:
        self._manager = manager
        self._reloader = reloader
        self._metrics = metrics
        self._reloads_logged: deque[float] = deque(maxlen=_RELOADS_LOGGED)
        self.methods: Mapping[str, Method] = {
            _SERVICE + "GetModelStatus": self._status,
            _SERVICE + "HandleReloadConfigRequest": self._reload,
        }

    async def _status(self, request: bytes, seconds: float | None) -> bytes:
        asked = parse("GetModelStatusRequest", request)
        if not asked.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        # As in TensorFlow Serving, a label is ignored here.
        spec = asked.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = message_class("GetModelStatusResponse")()
        for each in model_status(self._manager, spec.name, version):
            listed = response.model_version_status.add()
            listed.version = each.version
            listed.state = PublicState[each.state]
            listed.status.error_code = each.error_code
            listed.status.error_message = each.error_message
        return bytes(response.SerializeToString())

    async def _reload(self, request: bytes, seconds: float | None) -> bytes:
        asked = parse("ReloadConfigRequest", request)
        if asked.config.WhichOneof("config") != "model_config_list":
            refused = invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported"
            )
            if self._may_log():
                self._manager.events.add("reload_failed", message=refused.message)
            raise refused
        events, metrics, log = self._manager.events, self._metrics, self._may_log()
        for index, entry in enumerate(asked.config.model_config_list.config if log else ()):
            events.add(
                "config_entry",
                index=index,
                path=entry.base_path,
                name=entry.name,
                platform=entry.model_platform,
            )
        before = {name: metrics.first_value(name) for name in asked.metric_names}
        try:
            await self._reloader.reload(asked.config)
        except ServingError as error:
            if log:
                events.add("reload_failed", message=error.message)
            raise
        response = message_class("ReloadConfigResponse")()
        # An OK status has only default values, so it must be marked as present.
        response.status.SetInParent()
        for name, value in before.items():
            increase = metrics.first_value(name) - value
            response.metric.add(name=name, int64_value_increase=increase)
        return bytes(response.SerializeToString())

    def _may_log(self) -> bool:
        """Whether this reload enters the event log: a flood of them must not push the events of
        versions out of it."""
        now, logged = time.monotonic(), self._reloads_logged
        if len(logged) == _RELOADS_LOGGED and now - logged[0] < 1.0:
            return False
        logged.append(now)
        return True
