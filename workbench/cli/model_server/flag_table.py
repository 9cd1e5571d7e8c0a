"""The flags of `workbench model-server`: TensorFlow Serving's, with its defaults, and ours.

A flag that sets one option of the server (`ServerOptions`) or one setting of every model
(`ModelConfig`) names it, and takes its help from there. `flag_options` combines the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from workbench.cli.arguments import meaning
from workbench.core.model_settings import MODEL_SETTINGS, is_package_name
from workbench.core.status import invalid_argument
from workbench.formats.config_files import read_metrics_path, read_text_proto
from workbench.processes.hosts import host_names
from workbench.processes.server_options import SERVER_OPTIONS

_ONCE_SECONDS = 365 * 86400.0
_OURS = "Not in TensorFlow Serving"
_COMMAS = "Separated by commas"

Read = Callable[[Any], Any]


class Flag(NamedTuple):
    """A flag; the type of `default` is the type of its values.

    Attributes:
        option, setting: the server option or the model setting that it sets, if it sets one.
        read: the value of that, from the value of the flag.
    """

    default: float | str | bool
    help: str
    option: str | None = None
    setting: str | None = None
    read: Read = lambda value: value


def _option(name: str, default: Any, *notes: str, read: Read = lambda value: value) -> Flag:
    return Flag(default, _sentences(meaning(SERVER_OPTIONS[name]), *notes), name, None, read)


def _setting(name: str, default: Any, *notes: str, read: Read = lambda value: value) -> Flag:
    return Flag(default, _sentences(meaning(MODEL_SETTINGS[name]), *notes), None, name, read)


def _sentences(*phrases: str) -> str:
    # "gRPC" keeps its case.
    return " ".join(f"{p if p[1].isupper() else p[0].upper() + p[1:]}." for p in phrases)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _hosts(text: str) -> tuple[str, ...]:
    return host_names(_listed(text), "--allowed_hosts")


def _any(number: int) -> int | None:
    return number or None


def _op_libraries(text: str) -> list[str]:
    """Packages by name, and libraries by absolute path: the server has another working folder."""
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
    names = ("server_key", "server_cert", "custom_ca", "client_verify")
    return {name: getattr(config, name) for name in names}


FLAGS: dict[str, Flag] = {
    "port": Flag(8500, "TCP port for gRPC; 0: none.", "grpc_port", read=_any),
    "grpc_socket_path": _option("grpc_socket_path", ""),
    "rest_api_port": Flag(0, "TCP port for HTTP/REST; 0: none."),
    "rest_api_timeout_in_ms": _option(
        "rest_timeout_seconds", 30000, "In milliseconds", read=lambda ms: max(0, ms) / 1000
    ),
    "rest_api_enable_cors_support": _option("enable_cors", False),
    "bind": _option("host", "127.0.0.1", "0.0.0.0 for all", _OURS),
    "allowed_hosts": _option("allowed_hosts", "", _COMMAS, _OURS, read=_hosts),
    "allowed_origins": _option("allowed_origins", "", _COMMAS, _OURS, read=_listed),
    "token": Flag(
        "",
        "The token that callers must send, as Authorization: Bearer TOKEN or X-Workbench-Token: "
        f"TOKEN. {_OURS}.",
        "token",
        read=lambda token: token or None,
    ),
    "token_file": Flag(
        "", f"File that holds that token, as a container gets it from a secret. {_OURS}."
    ),
    "model_name": Flag("default", "Name of the model; not with --model_config_file."),
    "model_base_path": Flag("", "Folder of its versions; not with --model_config_file."),
    "model_config_file": Flag("", "File with a ModelServerConfig: several models.", "config_file"),
    "model_config_file_poll_wait_seconds": Flag(
        0,
        "Seconds between two looks at that file; 0: never.",
        "config_file_seconds",
        read=lambda seconds: max(0, seconds),
    ),
    "file_system_poll_wait_seconds": Flag(
        1,
        "Seconds between two looks for new versions; 0: once.",
        "poll_seconds",
        read=lambda seconds: seconds if seconds > 0 else _ONCE_SECONDS,
    ),
    "servable_versions_always_present": _setting("servable_versions_always_present", True, _OURS),
    "fail_if_zero_versions_at_startup": Flag(
        False, f"Do not start if a model has no version. {_OURS}.", "fail_if_zero_versions"
    ),
    "transition": _setting("transition", "smooth", _OURS),
    "probe": _setting("probe", "refuse", _OURS),
    "fall_back": _setting("fall_back", False, _OURS),
    "reload_replaced_versions": _setting("reload_replaced_versions", False, _OURS),
    "hang_seconds": _setting("hang_seconds", 60.0, _OURS),
    "device": _setting("device", "auto", _OURS),
    "memory_limit_bytes": _setting("memory_limit_bytes", 0, "0 sets no limit", _OURS, read=_any),
    "gpu_memory_limit_bytes": _setting(
        "gpu_memory_limit_bytes", 0, "0 sets no limit", _OURS, read=_any
    ),
    "max_num_load_retries": _setting("max_load_retries", 5),
    "retry_all_load_errors": _setting("retry_all_load_errors", False, _OURS),
    "load_retry_interval_micros": _setting(
        "load_retry_seconds", 60_000_000, "In microseconds", read=lambda micros: micros / 1e6
    ),
    "allow_version_labels_for_unavailable_models": _option("labels_for_unavailable", False),
    "automatic_batching": _setting("automatic_batching", False, _OURS),
    "num_batch_threads": Flag(
        0,
        "Batches that run at a time, where no batching parameters say it; 0: as many as there are "
        f"CPUs. {_OURS}.",
    ),
    "per_version_slots": _option("per_version_slots", False, _OURS),
    "enable_batching": Flag(False, "Merge requests into batches."),
    "batching_parameters_file": Flag("", "File with BatchingParameters."),
    "enable_per_model_batching_parameters": Flag(
        False, "Batch by each version's own batching_params.pbtxt."
    ),
    "enable_model_warmup": _setting("enable_model_warmup", True),
    # TensorFlow Serving uses it only if it is positive.
    "num_request_iterations_for_warmup": _setting(
        "num_request_iterations_for_warmup", 0, read=lambda count: max(0, count)
    ),
    "enable_signature_method_name_check": _option("check_method_names", False),
    "enable_serialization_as_tensor_content": _option("tensor_content", False),
    "monitoring_config_file": Flag(
        "",
        "File with a MonitoringConfig.",
        "metrics_path",
        read=lambda file: read_metrics_path(file) if file else None,
    ),
    "saved_model_tags": _setting("tags", "serve", _COMMAS, read=lambda tags: tags.split(",")),
    "op_libraries": _setting("op_libraries", "", _COMMAS, _OURS, read=_op_libraries),
    "tensorflow_session_parallelism": Flag(0, "Threads that one operation may use; 0: automatic."),
    "tensorflow_intra_op_parallelism": Flag(0, "The same; takes precedence over the flag above."),
    "per_process_gpu_memory_fraction": _setting("gpu_memory_fraction", 0.0),
    "ssl_config_file": Flag("", "File with an SSLConfig, for gRPC.", "grpc_tls", read=_tls),
    "grpc_channel_arguments": _option(
        "grpc_channel_arguments", "", "As name=value,name=value", read=_channel_arguments
    ),
    "enable_grpc_healthcheck_service": _option("grpc_health", False),
    "version": Flag(False, "Print versions and end."),
}

_TFLITE = "TensorFlow itself serves the models"
_TUNED = "TensorFlow's own environment variables tune the runtime"

IGNORED: dict[str, str] = {
    "rest_api_num_threads": "one event loop answers all connections",
    "grpc_max_threads": "one event loop answers all connections",
    "num_load_threads": "each version loads in a process of its own and blocks no other",
    "num_unload_threads": "unloading ends a process and blocks no other",
    "flush_filesystem_caches": "the system decides how long a version's files stay cached",
    "tensorflow_inter_op_parallelism": "a run uses the thread that requests it",
    "tensorflow_session_config_file": _TUNED,
    "enable_profiler": "there is no profiler service",
    "remove_unused_fields_from_bundle_metagraph": "only the worker keeps a loaded graph",
    "prefer_tflite_model": _TFLITE,
    "num_tflite_pools": _TFLITE,
    "num_tflite_interpreters_per_pool": _TFLITE,
    "xla_cpu_compilation_enabled": _TUNED,
    "xla_gpu_compilation_enabled": _TUNED,
    "thread_pool_factory_config_file": "workers have their own threads",
    "skip_initialize_tpu": "TPUs are not supported",
}

REFUSED: dict[str, str] = {
    "use_alts_credentials": "the connection would not be protected by ALTS",
    "platform_config_file": "the only platform is tensorflow",
    "mixed_precision": "models run in the precision that they were saved in",
}
