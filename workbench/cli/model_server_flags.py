"""The flags of `workbench model-server`: TensorFlow Serving's, with its defaults, and ours."""

from __future__ import annotations

from typing import NamedTuple


class Flag(NamedTuple):
    """A flag; the type of `default` is the type of its values."""

    default: float | str | bool
    help: str


FLAGS: dict[str, Flag] = {
    "port": Flag(8500, "TCP port for gRPC; 0: none."),
    "grpc_socket_path": Flag("", "Unix socket for gRPC as well."),
    "rest_api_port": Flag(0, "TCP port for HTTP/REST; 0: none."),
    "rest_api_timeout_in_ms": Flag(30000, "Time after which a REST request is given up."),
    "rest_api_enable_cors_support": Flag(False, "Let web pages of any origin call the REST API."),
    "bind": Flag("127.0.0.1", "Address to listen on; 0.0.0.0 for all (not in TensorFlow Serving)."),
    "allowed_hosts": Flag(
        "", "Further names that the Host header may have; * for any (not in TensorFlow Serving)."
    ),
    "allowed_origins": Flag(
        "", "Origins of web pages that may call; * for any (not in TensorFlow Serving)."
    ),
    "token": Flag(
        "",
        "Token that callers must send, as Authorization: Bearer TOKEN or X-Workbench-Token: TOKEN "
        "(not in TensorFlow Serving).",
    ),
    "model_name": Flag("default", "Name of the model; not with --model_config_file."),
    "model_base_path": Flag("", "Folder of its versions; not with --model_config_file."),
    "model_config_file": Flag("", "File with a ModelServerConfig: several models."),
    "model_config_file_poll_wait_seconds": Flag(0, "How often to read that file again; 0: never."),
    "file_system_poll_wait_seconds": Flag(1, "How often to look for new versions; 0: once."),
    "servable_versions_always_present": Flag(
        True, "Keep what is served where a base path has become empty (the flag is ours)."
    ),
    "fail_if_zero_versions_at_startup": Flag(
        False, "Do not start where a model has no version (the flag is ours)."
    ),
    "transition": Flag(
        "smooth",
        "How versions follow each other: smooth, unload_first, staged; the last two also with "
        "+hold (ours).",
    ),
    "probe": Flag(
        "refuse",
        "What becomes of a version that cannot answer when each of its signatures is asked once, "
        "before it serves: refuse, warn; off asks nothing, as TensorFlow Serving (ours).",
    ),
    "max_num_load_retries": Flag(5, "Attempts after a first load that failed."),
    "retry_all_load_errors": Flag(
        False, "Try again whatever the failure, as TensorFlow Serving (the flag is ours)."
    ),
    "load_retry_interval_micros": Flag(60_000_000, "The pause before each."),
    "allow_version_labels_for_unavailable_models": Flag(
        False, "Let a new label name a version that is not there."
    ),
    "enable_batching": Flag(False, "Merge requests into batches."),
    "batching_parameters_file": Flag("", "File with BatchingParameters."),
    "enable_per_model_batching_parameters": Flag(
        False, "Batch by each version's own batching_params.pbtxt."
    ),
    "enable_model_warmup": Flag(True, "Run a version's warm-up requests before it serves."),
    "num_request_iterations_for_warmup": Flag(0, "How often each is run; 0: once."),
    "enable_signature_method_name_check": Flag(
        False, "Ask a signature only for the method that it was saved for."
    ),
    "enable_serialization_as_tensor_content": Flag(
        False, "Answer gRPC's Predict with tensor_content instead of typed fields."
    ),
    "monitoring_config_file": Flag("", "File with a MonitoringConfig."),
    "saved_model_tags": Flag("serve", "Tags of the meta graph to load, with commas between."),
    "op_libraries": Flag(
        "",
        "Python packages, and paths of shared libraries, that register further TensorFlow "
        "operations, with commas between (not in TensorFlow Serving).",
    ),
    "tensorflow_session_parallelism": Flag(0, "Threads one operation may use; 0: automatic."),
    "tensorflow_intra_op_parallelism": Flag(0, "The same; goes before the one above."),
    "per_process_gpu_memory_fraction": Flag(
        0.0, "Share of a GPU's memory that each version may take; 0: no limit."
    ),
    "ssl_config_file": Flag("", "File with an SSLConfig, for gRPC."),
    "grpc_channel_arguments": Flag("", "gRPC's own settings: name=value,name=value."),
    "enable_grpc_healthcheck_service": Flag(False, "Offer grpc.health.v1."),
    "version": Flag(False, "Print versions and end."),
}

_TFLITE = "models are served by TensorFlow itself"
_TUNED = "the runtime is tuned by TensorFlow's own environment variables"

IGNORED: dict[str, str] = {
    "rest_api_num_threads": "one event loop answers all connections",
    "grpc_max_threads": "one event loop answers all connections",
    "num_load_threads": "each version loads in a process of its own and blocks no other",
    "num_unload_threads": "unloading is the end of a process and blocks no other",
    "flush_filesystem_caches": "a version's files stay cached as long as the system likes",
    "tensorflow_inter_op_parallelism": "a run uses the thread that asks for it",
    "tensorflow_session_config_file": _TUNED,
    "enable_profiler": "there is no profiler service",
    "remove_unused_fields_from_bundle_metagraph": "a loaded graph is kept by its worker alone",
    "prefer_tflite_model": _TFLITE,
    "num_tflite_pools": _TFLITE,
    "num_tflite_interpreters_per_pool": _TFLITE,
    "xla_cpu_compilation_enabled": _TUNED,
    "xla_gpu_compilation_enabled": _TUNED,
    "thread_pool_factory_config_file": "workers have their own threads",
    "skip_initialize_tpu": "there is no support for TPUs",
}

REFUSED: dict[str, str] = {
    "use_alts_credentials": "without ALTS the connection would not be protected as was meant",
    "platform_config_file": "the only platform is tensorflow",
    "mixed_precision": "models are run in the precision that they were saved in",
}
