"""Reading the flags of `workbench model-server`, and what they ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from workbench.cli.model_server.flag_options import server_options
from workbench.cli.model_server.flag_reading import read_flags, usage
from workbench.cli.model_server.flag_table import FLAGS, IGNORED, REFUSED
from workbench.core.status import Code, ServingError
from workbench.processes.server_options import ServerOptions


def spec(*flags: str) -> ServerOptions:
    return server_options(read_flags(flags)[0])


def refusal(*flags: str) -> ServingError:
    with pytest.raises(ServingError) as error:
        spec(*flags)
    return error.value


def test_every_flag_is_known_once_and_explained() -> None:
    assert not FLAGS.keys() & IGNORED.keys()
    assert not (FLAGS.keys() | IGNORED.keys()) & REFUSED.keys()
    text = usage()
    for name in (*FLAGS, *IGNORED, *REFUSED):
        assert f"  --{name}" in text


def test_values() -> None:
    values, remarks = read_flags(
        ["--port=1", "--enable_batching", "--enable_model_warmup=false", "--model_name=a=b",
         "--allow_version_labels_for_unavailable_models=1"]
    )  # fmt: skip
    assert remarks == []
    changed = {name: value for name, value in values.items() if value != FLAGS[name].default}
    assert changed == {
        "port": 1,
        "enable_batching": True,
        "enable_model_warmup": False,
        "model_name": "a=b",
        "allow_version_labels_for_unavailable_models": True,
    }


def test_remarks() -> None:
    _, remarks = read_flags(
        ["stray", "--rest_api_prot=1", "--zzz", "--num_unload_threads=2",
         "--use_alts_credentials=false"]
    )  # fmt: skip
    assert remarks == [
        "unknown argument: stray",
        "unknown argument: --rest_api_prot=1 (did you mean --rest_api_port?)",
        "unknown argument: --zzz",
        "--num_unload_threads has no effect here: unloading ends a process and blocks no other",
    ]


def test_settings_that_restore_the_original() -> None:
    names = ("servable_versions_always_present", "retry_all_load_errors", "gpu_memory_fraction")

    def model(*flags: str) -> list[Any]:
        (one,) = spec("--model_base_path=/m", *flags).models
        return [one[name] for name in names]

    assert model() == [True, False, 0.0]
    assert model(
        "--servable_versions_always_present=false",
        "--retry_all_load_errors",
        "--per_process_gpu_memory_fraction=0.25",
    ) == [False, True, 0.25]
    assert refusal("--model_base_path=/m", "--per_process_gpu_memory_fraction=2") == ServingError(
        Code.INVALID_ARGUMENT,
        "Setting 'gpu_memory_fraction' must be a number, at least 0 and at most 1; was 2.0",
    )
    asked = spec(
        "--model_base_path=/m",
        "--allowed_hosts=a.example, b.example",
        "--allowed_origins=*",
        "--fail_if_zero_versions_at_startup",
        "--enable_serialization_as_tensor_content",
    )
    assert asked.allowed_hosts == ("a.example", "b.example")
    assert asked.allowed_origins == ("*",)
    assert (asked.fail_if_zero_versions, asked.tensor_content) == (True, True)


def test_what_is_asked_for_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    asked = spec("--model_base_path=/m")
    assert capsys.readouterr().err == (
        "Building single TensorFlow model file config:  model_name: default model_base_path: /m\n"
    )
    assert (asked.name, asked.host, asked.rest, asked.grpc_port, asked.token) == (
        "model-server-8500",
        "127.0.0.1",
        False,
        8500,
        None,
    )
    (model,) = asked.models
    assert {
        key: model[key]
        for key in ("batching", "automatic_batching", "max_load_retries", "load_retry_seconds")
    } == {
        "batching": None,
        "automatic_batching": False,
        "max_load_retries": 5,
        "load_retry_seconds": 60.0,
    }
    grpc = (asked.grpc_socket_path, asked.grpc_health, asked.grpc_channel_arguments)
    assert (*grpc, asked.grpc_tls) == ("", False, {}, None)
    assert (asked.metrics_path, asked.poll_seconds, asked.foreground) == (None, 1, True)


def test_what_flags_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batching, monitoring = tmp_path / "b", tmp_path / "m"
    batching.write_text("num_batch_threads { value: 3 } max_batch_size { value: 9 }")
    monitoring.write_text("prometheus_config { enable: true }")
    asked = spec(
        "--model_base_path=/m",
        "--port=0",
        "--rest_api_port=8501",
        "--bind=0.0.0.0",
        "--token=t",
        "--enable_batching",
        f"--batching_parameters_file={batching}",
        f"--monitoring_config_file={monitoring}",
        "--grpc_channel_arguments=grpc.max_concurrent_streams=5,grpc.name=x",
        "--tensorflow_intra_op_parallelism=2",
        "--saved_model_tags=serve,gpu",
        "--op_libraries=tensorflow_text, my/ops.so",
        "--file_system_poll_wait_seconds=0",
        "--rest_api_timeout_in_ms=1500",
    )
    assert (asked.name, asked.host, asked.rest, asked.port, asked.grpc_port, asked.token) == (
        "model-server-8501",
        "0.0.0.0",
        True,
        8501,
        None,
        "t",
    )
    assert asked.num_batch_threads == 3
    assert asked.poll_seconds == 365 * 86400
    (model,) = asked.models
    assert model["batching"]["max_batch_size"] == 9
    assert (model["intra_op_threads"], model["tags"]) == (2, ["serve", "gpu"])
    assert model["op_libraries"] == ["tensorflow_text", os.path.abspath("my/ops.so")]
    assert asked.metrics_path == "/monitoring/prometheus/metrics"
    assert asked.rest_timeout_seconds == 1.5
    assert asked.grpc_channel_arguments == {
        "grpc.max_concurrent_streams": 5,
        "grpc.name": "x",
    }
    capsys.readouterr()
    assert not spec("--model_base_path=/m", "--rest_api_port=8500").rest
    assert capsys.readouterr().err.splitlines()[-1] != ""


def test_tls(tmp_path: Path) -> None:
    file = tmp_path / "ssl"
    file.write_text('server_key: "k" server_cert: "c" client_verify: true')
    asked = spec("--model_base_path=/m", f"--ssl_config_file={file}")
    assert asked.grpc_tls == {
        "server_key": "k",
        "server_cert": "c",
        "custom_ca": "",
        "client_verify": True,
    }


def test_refusals() -> None:
    assert refusal("--mixed_precision=bfloat16", "--model_base_path=/m") == ServingError(
        Code.FAILED_PRECONDITION,
        "--mixed_precision is not supported: models run in the precision that they were saved in",
    )
    assert refusal("--model_base_path=/m", "--grpc_channel_arguments=x").message == (
        "--grpc_channel_arguments: 'x' is not name=value"
    )
    assert refusal("--model_base_path=/m", "--port=1.5").message == (
        "Couldn't interpret value 1.5 for flag port."
    )


def test_our_own_flags_say_what_a_notebooks_server_can_do() -> None:
    asked = spec(
        "--model_base_path=/m",
        "--automatic_batching",
        "--num_batch_threads=3",
        "--per_version_slots",
        "--fall_back",
        "--reload_replaced_versions",
        "--hang_seconds=5",
        "--device=cpu",
        "--memory_limit_bytes=1000",
        "--gpu_memory_limit_bytes=2000",
    )
    assert (asked.num_batch_threads, asked.per_version_slots) == (3, True)
    (model,) = asked.models
    expected = {
        "automatic_batching": True, "fall_back": True, "reload_replaced_versions": True,
        "hang_seconds": 5.0, "device": "cpu", "memory_limit_bytes": 1000,
        "gpu_memory_limit_bytes": 2000,
    }  # fmt: skip
    assert {name: model[name] for name in expected} == expected
    (plain,) = spec("--model_base_path=/m").models
    assert [plain[name] for name in expected] == [False, False, False, 60.0, "auto", None, None]


def test_a_token_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-a-secret\n")
    assert spec("--model_base_path=/m", f"--token_file={file}").token == "from-a-secret"
    assert spec("--model_base_path=/m").token is None
    file.write_text(" \n")
    empty = refusal("--model_base_path=/m", f"--token_file={file}")
    assert empty.message == f"--token_file={file} is empty: write the token into it"
    absent = refusal("--model_base_path=/m", "--token_file=/nothing/here")
    assert absent.message == "--token_file=/nothing/here cannot be read: No such file or directory"
