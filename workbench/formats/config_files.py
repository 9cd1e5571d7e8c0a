"""TensorFlow Serving's configuration files: protocol buffers in text format.

models.config            ModelServerConfig     which models to serve
batching parameters      BatchingParameters    how requests are merged
monitoring               MonitoringConfig      where metrics are shown
SSL                      SSLConfig             keys and certificates of gRPC
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.wire.messages import message_class

logger = logging.getLogger(__name__)

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Where metrics are shown unless a monitoring file names another path."""

STATED = ("base_path", "version_policy", "labels")
"""The settings of a model that a `ModelServerConfig` states beside its name."""

_OUR_PLATFORM = "tensorflow"


def read_text_proto(path: str | os.PathLike[str], name: str) -> Any:
    """The message `name` that a file holds in text format.

    Raises:
        ServingError: NOT_FOUND, there is no such file; INVALID_ARGUMENT, with TensorFlow
            Serving's text and where in the file the mistake is.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ServingError(Code.NOT_FOUND, f"{path} cannot be read: {reason}") from error
    try:
        return text_format.Parse(text, message_class(name)())
    except text_format.ParseError as error:
        logger.error("Error parsing text-format tensorflow.serving.%s: %s", name, error)
        raise invalid_argument(f"Invalid protobuf file: '{path}' ({error})") from error


def model_configs(config: Any, defaults: Mapping[str, Any]) -> list[ModelConfig]:
    """The models of a `ModelServerConfig` message.

    Args:
        defaults: settings (`ModelConfig.to_json`) that the message does not state.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's text.
    """
    kind = config.WhichOneof("config")
    if kind == "custom_model_config":
        raise invalid_argument("A custom_model_config needs a server that knows its type")
    models: list[ModelConfig] = []
    for entry in config.model_config_list.config:
        if any(entry.name == before.name for before in models):
            raise invalid_argument(
                f"Illegal to list model {entry.name} multiple times in config list"
            )
        _check_platform(entry)
        if entry.HasField("logging_config"):
            raise invalid_argument("No request-logger-creator provided.")
        policy, labels = _version_policy(entry.model_version_policy), dict(entry.version_labels)
        settings = dict(zip(STATED, (entry.base_path, policy, labels), strict=True))
        models.append(ModelConfig.from_json({**defaults, "name": entry.name, **settings}))
    return models


def write_model_configs(models: Iterable[ModelConfig]) -> str:
    """The text of a file with a `ModelServerConfig`: what `model_configs` reads of each model."""
    message = message_class("ModelServerConfig")()
    for model in models:
        entry = message.model_config_list.config.add()
        entry.name, entry.base_path = model.name, model.base_path
        entry.model_platform = _OUR_PLATFORM
        policy, chosen = model.version_policy, entry.model_version_policy
        if policy.kind == "all":
            chosen.all.SetInParent()
        elif policy.kind == "specific":
            chosen.specific.versions.extend(policy.versions)
        else:
            chosen.latest.num_versions = policy.num_versions
        for label, version in sorted(model.labels.items()):
            entry.version_labels[label] = version
    return _text_of(message)


def _check_platform(entry: Any) -> None:
    both = "ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform"
    if entry.model_type and entry.model_platform:
        raise invalid_argument(f"Illegal setting both {both}, model name is {entry.name}")
    if not entry.model_type and not entry.model_platform:
        neither = both.replace(" and ", " nor ")
        raise invalid_argument(f"Illegal setting neither {neither}, model name is {entry.name}")
    # ModelType: TENSORFLOW is 1.
    platform = entry.model_platform or (_OUR_PLATFORM if entry.model_type == 1 else "other")
    if platform != _OUR_PLATFORM:
        raise invalid_argument(f"Model {entry.name} requests unsupported platform {platform}")


def _version_policy(policy: Any) -> dict[str, Any]:
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return {"all": True}
    if kind == "specific":
        return {"specific": list(policy.specific.versions)}
    return {"latest": policy.latest.num_versions or 1}


def read_batching_parameters(path: str | os.PathLike[str]) -> BatchingParameters:
    """The parameters in a file; what it leaves out has TensorFlow Serving's default."""
    message = read_text_proto(path, "BatchingParameters")
    settings: dict[str, Any] = {}
    for each in fields(BatchingParameters):
        value = getattr(message, each.name)
        if each.name == "allowed_batch_sizes":
            settings[each.name] = list(value)
        elif isinstance(value, bool):
            settings[each.name] = value
        elif message.HasField(each.name):
            settings[each.name] = value.value
    return BatchingParameters.from_json(settings)


def write_batching_parameters(parameters: BatchingParameters) -> str:
    """The text of a file with these parameters, for `--batching_parameters_file`."""
    message = message_class("BatchingParameters")()
    for name, value in parameters.to_json().items():
        if name == "allowed_batch_sizes":
            message.allowed_batch_sizes.extend(value)
        elif name == "pad_variable_length_inputs":
            message.pad_variable_length_inputs = value
        elif value is not None and value is not False:  # An absent flag is false.
            getattr(message, name).value = value
    return _text_of(message)


def write_monitoring(path: str) -> str:
    """The text of a file that shows metrics at this path, for `--monitoring_config_file`."""
    message = message_class("MonitoringConfig")()
    message.prometheus_config.enable = True
    message.prometheus_config.path = path
    return _text_of(message)


def _text_of(message: Any) -> str:
    text: str = text_format.MessageToString(message)
    return text


def read_metrics_path(file: str | os.PathLike[str]) -> str | None:
    """The path of the metrics page that a monitoring file names; None where it is not enabled."""
    prometheus = read_text_proto(file, "MonitoringConfig").prometheus_config
    path: str = prometheus.path or METRICS_PATH
    return path if prometheus.enable else None
