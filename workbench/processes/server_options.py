"""The options that a server has from its start to its end: one table.

An option is one field of `ServerOptions`: its name, default, kind (type, range and unit) and
meaning. Checks, the JSON that launchers, supervisor and server process pass on, the help of
command-line flags and the table in `docs/settings.md` come from it. `StartRequest` adds the
processes that a server depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from workbench.core.setting_kinds import (
    Kind,
    check_fields,
    is_whole,
    listed,
    number,
    optional,
    plain_fields,
    read_fields,
    required,
    setting,
    settings_of,
    text,
    truth,
    whole,
)
from workbench.core.status import invalid_argument
from workbench.processes.hosts import host_names
from workbench.processes.lifetime import ProcessId
from workbench.processes.paths import check_name

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_NAME = Kind("a server's name", lambda value: True, check_name)  # `check_name` suggests a name
_PORT = Kind(
    "a number from 1 to 65535, or 0 to let the system choose",
    lambda value: is_whole(value) and 0 <= value < 2**16,
    int,
)
_ANY_TEXT = Kind("a string", lambda value: isinstance(value, str))
_TOKEN = text(r"[\x21-\x7e]*", "visible ASCII characters")
_HOSTS = Kind("a list of host names", lambda value: True, host_names, list)  # `host_names` checks
_MAPPING = Kind("an object", lambda value: isinstance(value, Mapping), dict, dict)


@dataclass(frozen=True)
class ServerOptions:
    """How a server is started.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the option, its value, and the allowed values.
    """

    name: str = required(_NAME, "the server's name")
    host: str = setting(
        "127.0.0.1", text(r"\S+", "an address, or the name of one"), "the address to listen on"
    )
    port: int = setting(0, _PORT, "the port of REST; 0 lets the system choose")
    rest: bool = setting(True, truth(), "whether to offer REST")
    grpc_port: int | None = setting(
        0, optional(_PORT, "for none"), "the port of gRPC; 0 lets the system choose"
    )
    grpc_socket_path: str = setting("", _ANY_TEXT, "a Unix socket for gRPC as well")
    token: str | None = setting(
        "",
        optional(_TOKEN, "for no token"),
        "the token that callers must send, as `Authorization: Bearer TOKEN` or "
        "`X-Workbench-Token: TOKEN`; an empty one stands for a random token",
        secret=True,
    )
    control_port: int | None = setting(
        None,
        optional(_PORT, "for none"),
        "the port of the control plane over TCP, for callers on another machine; 0 lets the "
        "system choose",
    )
    control_token: str = setting(
        "",
        _TOKEN,
        "the token that the control plane's callers over TCP must send; without one there is no "
        "such port",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        _HOSTS,
        "names that the Host header may have on loopback besides loopback's own; `*` for any",
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        listed("a list of origins", lambda each: isinstance(each, str)),
        "the origins of web pages that may call the REST API; `*` for any",
    )
    enable_cors: bool = setting(
        False, truth(), "let web pages of any origin call the REST API and read its answers"
    )
    idle_seconds: float | None = setting(
        None,
        optional(number(0, above=True, unit="seconds"), "for no limit"),
        "stop after so long without a request",
    )
    num_batch_threads: int | None = setting(
        None, optional(whole(1), "for as many as there are CPUs"), "batches that run at a time"
    )
    per_version_slots: bool = setting(
        False,
        truth(),
        "each version may run `num_batch_threads` batches, instead of all versions together",
    )
    poll_seconds: float = setting(
        1.0, number(0, above=True, unit="seconds"), "the time between two looks for new versions"
    )
    rest_timeout_seconds: float = setting(
        30.0, number(0, unit="seconds"), "the time after which a REST request fails"
    )
    metrics_path: str | None = setting(
        "/monitoring/prometheus/metrics",
        optional(_ANY_TEXT, "for none"),
        "the path of Prometheus's page under REST",
    )
    grpc_health: bool = setting(True, truth(), "offer grpc.health.v1")
    grpc_channel_arguments: Mapping[str, int | str] = setting(
        dict, _MAPPING, "gRPC's own settings by name, such as `grpc.max_concurrent_streams`"
    )
    grpc_tls: Mapping[str, Any] | None = setting(
        None,
        optional(_MAPPING, "for no TLS"),
        "the fields of an `SSLConfig` for gRPC; keys and certificates are PEM text",
        secret=True,
    )
    check_method_names: bool = setting(
        False, truth(), "answer a signature only over the method that it was saved for"
    )
    tensor_content: bool = setting(
        False, truth(), "answer gRPC's Predict with `tensor_content` instead of typed fields"
    )
    models: tuple[Mapping[str, Any], ...] = setting(
        (),
        listed("a list of models' settings", lambda each: isinstance(each, Mapping)),
        "the settings of the models that are served from the start",
    )
    model_defaults: Mapping[str, Any] = setting(
        dict, _MAPPING, "settings of a model that a `ModelServerConfig` does not mention"
    )
    labels_for_unavailable: bool = setting(
        False, truth(), "let a new label name a version that is not available"
    )
    fail_if_zero_versions: bool = setting(
        False, truth(), "do not start if a model has no version; with `foreground`"
    )
    config_file: str = setting("", _ANY_TEXT, "a file with a `ModelServerConfig` to follow")
    config_file_seconds: float = setting(
        0.0, number(0, unit="seconds"), "the time between two looks at `config_file`; 0 for never"
    )
    foreground: bool = setting(
        False,
        truth(),
        "log to the terminal, open the ports when all models have been loaded, and end if one "
        "cannot be loaded",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.control_port is not None and not self.control_token:
            raise invalid_argument(
                f"control_port {self.control_port} needs a control_token: who reaches the control "
                "plane can change and stop the server"
            )

    @property
    def loopback(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        return self.host in _LOOPBACK

    def to_json(self) -> dict[str, Any]:
        """All options as plain data, the token included, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ServerOptions:
        """Read options; those left out have their defaults.

        Raises:
            ServingError: INVALID_ARGUMENT, naming the option that is wrong.
        """
        return read_fields(cls, data, "server option")


SERVER_OPTIONS = settings_of(ServerOptions)
"""Every option of a server by its name."""


def public_options(options: ServerOptions) -> dict[str, Any]:
    """The options of a server as plain data, without secrets and models."""
    hidden = {name for name, each in SERVER_OPTIONS.items() if each.secret} | {"models"}
    return {name: value for name, value in options.to_json().items() if name not in hidden}


@dataclass(frozen=True)
class StartRequest:
    """A server to be started, and the processes that it depends on.

    Attributes:
        owner: the process that the server ends with; None: it runs until it is stopped or idle.
        kernel_id: the Jupyter kernel that its supervisor lives in.
        keeper: the Jupyter Server that starts that kernel again when it dies. Models, ports and
            token are kept for that.
    """

    options: ServerOptions
    owner: ProcessId | None = None
    kernel_id: str | None = None
    keeper: ProcessId | None = None

    def to_bytes(self) -> bytes:
        """JSON, for `from_bytes`."""
        return orjson.dumps({**vars(self), "options": self.options.to_json()}, default=list)

    @classmethod
    def from_bytes(cls, data: bytes) -> StartRequest:
        """Raises ValueError, KeyError or TypeError for other JSON, ServingError for its options."""
        read = orjson.loads(data)
        owner, keeper = ProcessId.read(read["owner"]), ProcessId.read(read["keeper"])
        return cls(ServerOptions.from_json(read["options"]), owner, read["kernel_id"], keeper)
