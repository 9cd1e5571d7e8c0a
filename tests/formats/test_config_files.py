"""TensorFlow Serving's configuration files: what they mean, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.core.versions.version_policy import VersionPolicy
from workbench.formats.config_files import (
    model_configs,
    read_batching_parameters,
    read_metrics_path,
    read_text_proto,
    write_model_configs,
    write_monitoring,
)
from workbench.formats.wire.messages import message_class


def config(text: str) -> Any:
    return text_format.Parse(text, message_class("ModelServerConfig")())


def listed(*entries: str) -> Any:
    return config("model_config_list { " + " ".join(f"config {{ {e} }}" for e in entries) + " }")


def test_models() -> None:
    text = """
    # Colons, commas and comments are fine.
    model_config_list: {
      config: { name: "a", base_path: "/abs/a", model_platform: "tensorflow" },
      config {
        name: "b" base_path: "/abs/b" model_type: TENSORFLOW
        model_version_policy { specific { versions: 42 versions: 43 } }
        version_labels { key: "stable" value: 42 }
      }
      config { name: "c" base_path: "/abs/c" model_platform: "tensorflow"
               model_version_policy { all { } } }
      config { name: "d" base_path: "/abs/d" model_platform: "tensorflow"
               model_version_policy { latest { num_versions: 2 } } }
    }
    """
    assert model_configs(config(text), {"tags": ["serve", "gpu"]}) == [
        ModelConfig("a", "/abs/a", tags=("serve", "gpu")),
        ModelConfig(
            "b",
            "/abs/b",
            VersionPolicy("specific", versions=(42, 43)),
            labels={"stable": 42},
            tags=("serve", "gpu"),
        ),
        ModelConfig("c", "/abs/c", VersionPolicy("all"), tags=("serve", "gpu")),
        ModelConfig("d", "/abs/d", VersionPolicy("latest", 2), tags=("serve", "gpu")),
    ]


_TF = 'model_platform: "tensorflow"'
_BOTH = "ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform"


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([f'name: "m" base_path: "/m" {_TF}'] * 2,
         "Illegal to list model m multiple times in config list"),
        ([f'name: "m" base_path: "m" {_TF}'],
         "Expected model m to have an absolute path or URI; got base_path()=m"),
        ([f'name: "m" base_path: "/m" model_type: TENSORFLOW {_TF}'],
         f"Illegal setting both {_BOTH}, model name is m"),
        (['name: "m" base_path: "/m"'],
         "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
         "ModelServerConfig::model_platform, model name is m"),
        (['name: "m" base_path: "/m" model_platform: "other"'],
         "Model m requests unsupported platform other"),
        (['name: "m" base_path: "/m" model_type: OTHER'],
         "Model m requests unsupported platform other"),
        ([f'name: "m" base_path: "/m" {_TF} logging_config {{ }}'],
         "No request-logger-creator provided."),
        ([f'base_path: "/m" {_TF}'],
         "Setting 'name' must be text that does not begin with a blank and has no control "
             "characters; was ''"),
    ],
)  # fmt: skip
def test_models_that_cannot_be(entries: list[str], text: str) -> None:
    with pytest.raises(ServingError) as error:
        model_configs(listed(*entries), {})
    assert error.value == ServingError(Code.INVALID_ARGUMENT, text)


def test_a_custom_configuration_is_refused() -> None:
    with pytest.raises(ServingError) as error:
        model_configs(config("custom_model_config { }"), {})
    assert error.value == ServingError(
        Code.INVALID_ARGUMENT, "A custom_model_config needs a server that knows its type"
    )


def test_batching_parameters(tmp_path: Path) -> None:
    file = tmp_path / "batching.txt"
    file.write_text("")
    assert read_batching_parameters(file) == BatchingParameters()
    everything = BatchingParameters(
        max_batch_size=128,
        batch_timeout_micros=0,
        max_enqueued_batches=7,
        num_batch_threads=8,
        allowed_batch_sizes=(32, 128),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=64,
    )
    file.write_text(
        "max_batch_size { value: 128 } batch_timeout_micros { value: 0 } "
        "max_enqueued_batches { value: 7 } num_batch_threads { value: 8 } "
        "allowed_batch_sizes: [32, 128] pad_variable_length_inputs: true "
        "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 64 } "
        'thread_pool_name { value: "x" }'
    )
    assert read_batching_parameters(file) == everything
    file.write_text("max_batch_size { value: 2 } allowed_batch_sizes: 3")
    with pytest.raises(ServingError) as error:
        read_batching_parameters(file)
    assert error.value.message == (
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; expected 2"
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ("prometheus_config { }", None),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config: { enable: true, path: "/metrics" }', "/metrics"),
    ],
)
def test_monitoring(tmp_path: Path, text: str, path: str | None) -> None:
    file = tmp_path / "monitoring.txt"
    file.write_text(text)
    assert read_metrics_path(file) == path


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("improperly formatted file\n")
    with pytest.raises(ServingError) as error:
        read_text_proto(file, "ModelServerConfig")
    assert error.value == ServingError(
        Code.INVALID_ARGUMENT,
        f"Invalid protobuf file: '{file}' (1:1 : Message type "
        '"tensorflow.serving.ModelServerConfig" has no field named "improperly".)',
    )
    file.write_bytes(b"\xff")
    for path, reason in ((file, "it is not text"), (tmp_path / "no", "No such file or directory")):
        with pytest.raises(ServingError) as error:
            read_text_proto(path, "SSLConfig")
        assert error.value == ServingError(Code.NOT_FOUND, f"{path} cannot be read: {reason}")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    models = [
        ModelConfig("a", "/m/a"),
        ModelConfig('b "quoted"', "/m/b", VersionPolicy("all"), labels={"stable": 2, "canary": 9}),
        ModelConfig("c", "/m/c", VersionPolicy("latest", num_versions=3)),
        ModelConfig("d", "/m/d", VersionPolicy("specific", versions=(2, 2**63 - 1))),
    ]
    text = write_model_configs(models)
    assert model_configs(config(text), {}) == models
    assert write_model_configs(model_configs(config(text), {})) == text
    (tmp_path / "m").write_text(write_monitoring("/metrics"))
    assert read_metrics_path(tmp_path / "m") == "/metrics"
