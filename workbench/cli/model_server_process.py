"""From the flags of `workbench model-server` to a supervised server process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from workbench.core.model_settings import ModelConfig, is_package_name
from workbench.core.status import invalid_argument
from workbench.formats.config_files import (
    model_configs,
    read_batching_parameters,
    read_metrics_path,
    read_text_proto,
)
from workbench.processes.hosts import host_names
from workbench.server.front.reload import check_labels
from workbench.server.supervision.supervisor import Supervisor, SupervisorSpec

_ONCE_SECONDS = 365 * 86400.0

Values = Mapping[str, Any]
"""The value of every flag, by its name."""


def supervisor_spec(values: Values) -> SupervisorSpec:
    """What the flags ask for.

    Raises:
        ServingError: with TensorFlow Serving's text, where it is nothing that can be served.
    """
    defaults = _model_defaults(values)
    rest_port = values["rest_api_port"]
    if rest_port and rest_port == values["port"]:
        print(
            "server_options.http_port cannot be same as grpc_port. Please use different port for "
            "HTTP/REST API. Skipped exporting HTTP/REST API.",
            file=sys.stderr,
        )
        rest_port = 0
    metrics_path = None
    if values["monitoring_config_file"]:
        metrics_path = read_metrics_path(values["monitoring_config_file"])
    poll_seconds = values["file_system_poll_wait_seconds"]
    batching = defaults["batching"] or {}
    return SupervisorSpec(
        name=f"model-server-{values['port'] or rest_port or os.getpid()}",
        host=values["bind"],
        port=rest_port,
        rest=bool(rest_port),
        grpc_port=values["port"] or None,
        token=values["token"] or None,
        num_batch_threads=batching.get("num_batch_threads"),
        poll_seconds=poll_seconds if poll_seconds > 0 else _ONCE_SECONDS,
        models=tuple(model.to_json() for model in _models(values, defaults)),
        foreground=True,
        data_plane={
            "rest_timeout_seconds": values["rest_api_timeout_in_ms"] / 1000,
            "enable_cors": values["rest_api_enable_cors_support"],
            "allowed_hosts": list(host_names(_listed(values["allowed_hosts"]), "--allowed_hosts")),
            "allowed_origins": _listed(values["allowed_origins"]),
            "metrics_path": metrics_path,
            "grpc": {
                "socket_path": values["grpc_socket_path"],
                "health": values["enable_grpc_healthcheck_service"],
                "channel_arguments": _channel_arguments(values["grpc_channel_arguments"]),
                "tls": _tls(values["ssl_config_file"]),
            },
            "model_defaults": defaults,
            "labels_for_unavailable": values["allow_version_labels_for_unavailable_models"],
            "fail_if_zero_versions": values["fail_if_zero_versions_at_startup"],
            "check_method_names": values["enable_signature_method_name_check"],
            "tensor_content": values["enable_serialization_as_tensor_content"],
            "config_file": values["model_config_file"],
            "config_file_seconds": float(values["model_config_file_poll_wait_seconds"]),
        },
    )


def _model_defaults(values: Values) -> dict[str, Any]:
    """The settings that flags give to every model."""
    batching = None
    if values["enable_batching"]:
        file = values["batching_parameters_file"]
        batching = read_batching_parameters(file).to_json() if file else {}
    elif values["batching_parameters_file"]:
        raise invalid_argument(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    threads = values["tensorflow_intra_op_parallelism"] or values["tensorflow_session_parallelism"]
    return {
        "batching": batching,
        "automatic_batching": False,
        "fall_back": False,
        "reload_replaced_versions": False,
        "version_batching": values["enable_batching"]
        and values["enable_per_model_batching_parameters"],
        "max_load_retries": values["max_num_load_retries"],
        "servable_versions_always_present": values["servable_versions_always_present"],
        "retry_all_load_errors": values["retry_all_load_errors"],
        "load_retry_seconds": values["load_retry_interval_micros"] / 1e6,
        "tags": values["saved_model_tags"].split(","),
        "intra_op_threads": threads or None,
        "op_libraries": _op_libraries(values["op_libraries"]),
        "gpu_memory_fraction": values["per_process_gpu_memory_fraction"],
        "transition": values["transition"],
        "probe": values["probe"],
        "enable_model_warmup": values["enable_model_warmup"],
        # As the original, which uses it only where it is positive.
        "num_request_iterations_for_warmup": max(0, values["num_request_iterations_for_warmup"]),
    }


def _models(values: Values, defaults: Values) -> list[ModelConfig]:
    file, base_path = values["model_config_file"], values["model_base_path"]
    if file:
        config = read_text_proto(file, "ModelServerConfig")
        models = model_configs(config, defaults)
        for model in models:
            check_labels(model, None, values["allow_version_labels_for_unavailable_models"])
        return models
    if not base_path:
        raise invalid_argument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    print(
        "Building single TensorFlow model file config:  "
        f"model_name: {values['model_name']} model_base_path: {base_path}",
        file=sys.stderr,
    )
    return [
        ModelConfig.from_json({**defaults, "name": values["model_name"], "base_path": base_path})
    ]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _op_libraries(text: str) -> list[str]:
    """Packages by their names, and libraries by absolute paths: the server works elsewhere."""
    return [
        each if is_package_name(each) else os.path.abspath(os.path.expanduser(each))
        for each in _listed(text)
    ]


def _channel_arguments(text: str) -> dict[str, int | str]:
    arguments: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise invalid_argument(f"--grpc_channel_arguments: {part!r} is not name=value")
        arguments[name] = int(value) if value.lstrip("-").isdigit() else value
    return arguments


def _tls(file: str) -> dict[str, Any] | None:
    if not file:
        return None
    config = read_text_proto(file, "SSLConfig")
    return {
        "server_key": config.server_key,
        "server_cert": config.server_cert,
        "custom_ca": config.custom_ca,
        "client_verify": config.client_verify,
    }


def run(supervisor: Supervisor) -> int:
    """Supervise until a signal comes, or the server has ended for good by itself."""
    wake = threading.Event()
    with contextlib.ExitStack() as cleanup:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            before = signal.signal(number, lambda *_: wake.set())
            cleanup.callback(signal.signal, number, before)
        supervisor.start()

        def end_together() -> None:
            supervisor.ended.wait()
            wake.set()

        threading.Thread(target=end_together, name="end-watch", daemon=True).start()
        wake.wait()
        if not supervisor.ended.is_set():
            supervisor.stop()
            return 0
    if supervisor.exit_code is None:
        print(f"The server process died again and again. {supervisor.gave_up}", flush=True)
        return 1
    return supervisor.exit_code
