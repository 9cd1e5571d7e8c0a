"""TensorFlow Serving's own files and flags for a plan.

    models.config              which models, versions and labels
    batching_parameters.txt    how requests are merged, where they are
    monitoring.config          the metrics page
    run.sh                     one server on this machine, with exactly the flags of the others

`workbench model-server` reads the same files and takes the same flags, and a few more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from workbench.core.batching.parameters import BatchingParameters
from workbench.deploy.export.serving_export import (
    CONFIG,
    GRPC_PORT,
    MODELS,
    REST_PORT,
    ServingExport,
)
from workbench.formats.config_files import (
    write_batching_parameters,
    write_model_configs,
    write_monitoring,
)

MODELS_FILE = "models.config"
BATCHING_FILE = "batching_parameters.txt"
MONITORING_FILE = "monitoring.config"
VERSION_FILE = "batching_params.pbtxt"
"""A version's own batching parameters, in its folder."""
TOKEN_FILE = "/run/secrets/workbench/token"
"""Where a container gets the token of `workbench model-server`."""

Flags = list[tuple[str, str]]
_Show = Callable[[Any], str]


class Batching(NamedTuple):
    """How the servers merge requests.

    Attributes:
        shared: the parameters in the file of all models; None if no model is batched.
        by_version: those of a version's own file, by model and version; where there are any, or
            `own_files`, the shared file only says how many batches run at a time.
        own_files: whether some versions bring such a file with them.
        automatic: the servers decide by themselves, as they do in a notebook.
    """

    shared: BatchingParameters | None
    by_version: Mapping[tuple[str, int], BatchingParameters]
    own_files: bool = False
    automatic: bool = False

    @property
    def per_version(self) -> bool:
        """Whether each version is batched by its own file."""
        return bool(self.by_version) or self.own_files


def batching_of(export: ServingExport) -> Batching:
    """How the servers of a plan merge requests."""
    models = export.plan.models
    if export.own_server and all(
        m.config.batching is None and m.config.automatic_batching and not m.config.version_batching
        for m in models
    ):
        return Batching(None, {}, automatic=True)
    own_files = any(model.config.version_batching for model in models)
    different = {model.batching for model in models}
    if len(different) == 1 and not own_files:
        parameters = different.pop()
        if parameters is None:
            return Batching(None, {})
        return Batching(replace(parameters, num_batch_threads=export.threads), {})
    # TensorFlow Serving takes the threads from the shared file alone.
    return Batching(
        BatchingParameters(num_batch_threads=export.threads),
        {
            (model.name, version): replace(model.batching, num_batch_threads=None)
            for model in models
            if model.batching is not None
            for version in model.versions
        },
        own_files,
    )


def serving_files(export: ServingExport, root: str = MODELS) -> dict[str, str]:
    """The text of the server's files by name; models lie below `root`."""
    files = {
        MODELS_FILE: write_model_configs(export.configs(root)),
        MONITORING_FILE: write_monitoring(export.metrics_path),
    }
    shared = batching_of(export).shared
    if shared is not None:
        files[BATCHING_FILE] = write_batching_parameters(shared)
    return files


def version_files(export: ServingExport) -> dict[str, str]:
    """The text of each version's own batching file, by its path below the folder of models."""
    return {
        f"{export.folders[model]}/{version}/{VERSION_FILE}": write_batching_parameters(parameters)
        for (model, version), parameters in sorted(batching_of(export).by_version.items())
    }


# Flags. A value that is the server's own default is given all the same: it is the plan's.


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def _micros(seconds: Any) -> str:
    return str(round(seconds * 1e6))


def _commas(values: Any) -> str:
    return ",".join(values)


OPTION_FLAGS: dict[str, tuple[str, _Show]] = {
    "poll_seconds": ("file_system_poll_wait_seconds", lambda s: str(max(1, round(s)))),
    "rest_timeout_seconds": ("rest_api_timeout_in_ms", lambda s: str(round(s * 1000))),
    "grpc_health": ("enable_grpc_healthcheck_service", _boolean),
    "grpc_channel_arguments": (
        "grpc_channel_arguments",
        lambda given: _commas(f"{name}={value}" for name, value in sorted(given.items())),
    ),
    "enable_cors": ("rest_api_enable_cors_support", _boolean),
    "check_method_names": ("enable_signature_method_name_check", _boolean),
    "tensor_content": ("enable_serialization_as_tensor_content", _boolean),
}
"""TensorFlow Serving's flag for an option of the servers, and how its value is written."""

OWN_OPTION_FLAGS: dict[str, tuple[str, _Show]] = {
    "allowed_origins": ("allowed_origins", _commas),
    "per_version_slots": ("per_version_slots", _boolean),
}
"""The same for flags that only `workbench model-server` has."""

MODEL_FLAGS: dict[str, tuple[str, _Show]] = {
    "max_load_retries": ("max_num_load_retries", str),
    "load_retry_seconds": ("load_retry_interval_micros", _micros),
    "tags": ("saved_model_tags", _commas),
    "enable_model_warmup": ("enable_model_warmup", _boolean),
    "num_request_iterations_for_warmup": ("num_request_iterations_for_warmup", str),
    "intra_op_threads": ("tensorflow_intra_op_parallelism", str),
    "gpu_memory_fraction": ("per_process_gpu_memory_fraction", str),
}
"""TensorFlow Serving's flag for a setting of a model; it holds for all models."""

OWN_MODEL_FLAGS: dict[str, tuple[str, _Show]] = {
    "transition": ("transition", str),
    "probe": ("probe", str),
    "fall_back": ("fall_back", _boolean),
    "reload_replaced_versions": ("reload_replaced_versions", _boolean),
    "hang_seconds": ("hang_seconds", str),
    "device": ("device", str),
    "memory_limit_bytes": ("memory_limit_bytes", str),
    "gpu_memory_limit_bytes": ("gpu_memory_limit_bytes", str),
    "servable_versions_always_present": ("servable_versions_always_present", _boolean),
    "retry_all_load_errors": ("retry_all_load_errors", _boolean),
    "op_libraries": ("op_libraries", _commas),
}
"""The same for flags that only `workbench model-server` has."""


def shared_setting(export: ServingExport, name: str) -> tuple[bool, Any]:
    """Whether all models have the same value of a setting, and that of the first."""
    values = [getattr(config, name) for config in export.configs()]
    return all(value == values[0] for value in values), values[0]


def server_flags(export: ServingExport, config: str = CONFIG) -> Flags:
    """The flags of each server, but for its ports; its files lie in the folder `config`."""
    settings, batching = export.server_settings, batching_of(export)
    flags: Flags = [
        ("model_config_file", f"{config}/{MODELS_FILE}"),
        ("monitoring_config_file", f"{config}/{MONITORING_FILE}"),
    ]
    # At its start no version is available yet, and TensorFlow Serving would refuse the labels.
    labels = not export.own_server and any(model.config.labels for model in export.plan.models)
    if settings["labels_for_unavailable"] or labels:
        flags.append(("allow_version_labels_for_unavailable_models", "true"))
    if batching.shared is not None:
        flags.append(("enable_batching", "true"))
        flags.append(("batching_parameters_file", f"{config}/{BATCHING_FILE}"))
    if batching.per_version:
        flags.append(("enable_per_model_batching_parameters", "true"))
    for option, (flag, show) in OPTION_FLAGS.items():
        if settings[option] != {}:
            flags.append((flag, show(settings[option])))
    for setting, (flag, show) in MODEL_FLAGS.items():
        same, value = shared_setting(export, setting)
        if same and value is not None:
            flags.append((flag, show(value)))
    return flags + (_own_flags(export, settings, batching) if export.own_server else [])


def _own_flags(export: ServingExport, settings: Mapping[str, Any], batching: Batching) -> Flags:
    flags: Flags = []
    if batching.automatic:
        flags.append(("automatic_batching", "true"))
        flags.append(("num_batch_threads", str(export.threads)))
    for option, (flag, show) in OWN_OPTION_FLAGS.items():
        if settings[option]:
            flags.append((flag, show(settings[option])))
    for setting, (flag, show) in OWN_MODEL_FLAGS.items():
        same, value = shared_setting(export, setting)
        if same and value not in (None, ()):
            flags.append((flag, show(value)))
    return flags


def container_flags(
    export: ServingExport, rest_port: int = REST_PORT, grpc_port: int = GRPC_PORT
) -> list[str]:
    """The arguments of the server's program in a container."""
    flags: Flags = [("port", str(grpc_port)), ("rest_api_port", str(rest_port))]
    flags += server_flags(export)
    if export.own_server:
        # TensorFlow Serving listens on all addresses without being asked.
        flags += [("bind", "0.0.0.0"), ("token_file", TOKEN_FILE)]
    return [f"--{name}={value}" for name, value in flags]


_RUN = """\
#!/bin/sh
# Starts one server on this machine, with the flags that it has in a container.
#
#   SERVER      its program, by default {program};
#               "workbench model-server" takes the same flags and files
#   MODELS      the absolute path of the folder with a folder for each model (see ../README.md)
#   GRPC_PORT, REST_PORT
{more_variables}set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
SERVER=${{SERVER:-{program}}}
MODELS=${{MODELS:-${{here%/*}}/models}}
# The server wants absolute paths, so its list of models is written anew for this machine.
run=${{RUN:-$here/run}}
mkdir -p "$run"
escaped=$(printf '%s' "$MODELS" | sed 's/[\\&|"]/\\\\&/g')
sed "s|{models}/|$escaped/|" "$here/{models_file}" >"$run/{models_file}"
cp {files} "$run/"
# $SERVER may be several words.
# shellcheck disable=SC2086
exec $SERVER \\
{flags} \\
  "$@"
"""


def run_script(export: ServingExport) -> str:
    """The text of `run.sh`."""
    flags = ['--port="${GRPC_PORT:-8500}"', '--rest_api_port="${REST_PORT:-8501}"']
    more = ""
    if export.own_server:
        more = (
            "#   BIND        the address to listen on\n"
            "#   TOKEN_FILE  a file that holds the token that callers must send\n"
        )
        flags.append('--bind="${BIND:-127.0.0.1}"')
        flags.append('--token_file="${TOKEN_FILE:-${here%/*}/token}"')
    for name, value in server_flags(export, "$run"):
        flags.append(f'--{name}="{value}"' if value.startswith("$run/") else _quoted(name, value))
    others = sorted(serving_files(export).keys() - {MODELS_FILE})
    return _RUN.format(
        program=" ".join(export.command),
        more_variables=more,
        models=MODELS,
        models_file=MODELS_FILE,
        files=" ".join(f'"$here/{name}"' for name in others),
        flags=" \\\n".join(f"  {flag}" for flag in flags),
    )


def _quoted(name: str, value: str) -> str:
    return shlex.quote(f"--{name}={value}")
