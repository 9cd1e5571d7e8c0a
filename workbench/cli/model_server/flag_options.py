"""Converts the flags of `workbench model-server` to the options of a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.cli.model_server.flag_table import FLAGS
from workbench.core.model_settings import ModelConfig
from workbench.core.status import invalid_argument
from workbench.formats.config_files import (
    model_configs,
    read_batching_parameters,
    read_text_proto,
)
from workbench.processes.server_options import ServerOptions
from workbench.server.front.reload import check_labels

Values = Mapping[str, Any]
"""The value of every flag, by its name."""


def server_options(values: Values) -> ServerOptions:
    """The server that the flags ask for.

    Raises:
        ServingError: it cannot be served; with TensorFlow Serving's text if it has one.
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
    options = {flag.option: flag.read(values[name]) for name, flag in FLAGS.items() if flag.option}
    if values["token_file"]:
        options["token"] = _token_in(values["token_file"])
    return ServerOptions(
        name=f"model-server-{values['port'] or rest_port or os.getpid()}",
        port=rest_port,
        rest=bool(rest_port),
        num_batch_threads=(defaults["batching"] or {}).get("num_batch_threads")
        or values["num_batch_threads"]
        or None,
        models=tuple(model.to_json() for model in _models(values, defaults)),
        model_defaults=defaults,
        foreground=True,
        **options,
    )


def _token_in(file: str) -> str:
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise invalid_argument(f"--token_file={file} cannot be read: {reason}") from error
    if not token:
        # An empty token stands for a random one, which no caller could know.
        raise invalid_argument(f"--token_file={file} is empty: write the token into it")
    return token


def _model_defaults(values: Values) -> dict[str, Any]:
    """The settings that the flags give to every model."""
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
        "version_batching": values["enable_batching"]
        and values["enable_per_model_batching_parameters"],
        "intra_op_threads": threads or None,
        **{flag.setting: flag.read(values[name]) for name, flag in FLAGS.items() if flag.setting},
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
