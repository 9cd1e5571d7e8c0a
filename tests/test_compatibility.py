"""`docs/compatibility.md` speaks of every flag, metric, field and route that there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.servers import Server
from tests.shared import beside
from workbench.cli.model_server.flag_reading import read_flags
from workbench.cli.model_server.flag_table import FLAGS, IGNORED, REFUSED
from workbench.server.front.metrics.prometheus import Metrics

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "compatibility.md").read_text()


def flag_rows() -> dict[str, tuple[str, str]]:
    """For each flag of the table its default and whether it is supported."""
    return {
        name: (default.strip("` "), supported)
        for name, default, supported in re.findall(
            r"^\| `--(\w+)` \| ?(.*?) ?\| (.+?) \|", TABLE, re.M
        )
    }


def test_every_flag_is_in_the_table_with_its_default() -> None:
    rows = flag_rows()
    assert rows.keys() == FLAGS.keys() | IGNORED.keys() | REFUSED.keys()
    for name, flag in FLAGS.items():
        default = str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)
        assert rows[name][0].strip('"') == default, name
        assert rows[name][1] in ("yes", "different", "extension")
    for name in IGNORED:
        assert rows[name] == ("", "no effect")
    for name in REFUSED:
        assert rows[name] == ("", "refused")


def test_every_flag_without_effect_says_why_in_the_same_words() -> None:
    for name, why in (IGNORED | REFUSED).items():
        assert re.search(rf"^\| `--{name}` \|.*\| {re.escape(why)} \|$", TABLE, re.M), name


def test_every_metric_is_in_the_table(server: Server) -> None:
    page = Metrics(server.core.manager, server.core.scheduler).page().decode()
    names = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    assert names
    for name in names:
        short = name.rpartition("serving:")[2].partition(":")[0]
        assert name in TABLE or f"`{short}`" in TABLE or f"{short}:*" in TABLE, name


def test_every_batching_parameter_is_taken() -> None:
    from workbench.core.batching.parameters import BatchingParameters

    assert "| `BatchingParameters` | all | yes |" in TABLE
    assert {f.name for f in fields(BatchingParameters)} >= {
        "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads",
        "allowed_batch_sizes", "pad_variable_length_inputs",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        ("port", 8500),
        ("grpc_socket_path", ""),
        ("rest_api_port", 0),
        ("rest_api_timeout_in_ms", 30000),
        ("rest_api_enable_cors_support", False),
        ("model_name", "default"),
        ("model_base_path", ""),
        ("model_config_file", ""),
        ("model_config_file_poll_wait_seconds", 0),
        ("file_system_poll_wait_seconds", 1),
        ("max_num_load_retries", 5),
        ("load_retry_interval_micros", 60_000_000),
        ("allow_version_labels_for_unavailable_models", False),
        ("enable_batching", False),
        ("batching_parameters_file", ""),
        ("enable_per_model_batching_parameters", False),
        ("enable_model_warmup", True),
        ("num_request_iterations_for_warmup", 0),
        ("enable_signature_method_name_check", False),
        ("monitoring_config_file", ""),
        ("saved_model_tags", "serve"),
        ("tensorflow_session_parallelism", 0),
        ("tensorflow_intra_op_parallelism", 0),
        ("ssl_config_file", ""),
        ("grpc_channel_arguments", ""),
        ("enable_grpc_healthcheck_service", False),
        ("version", False),
    ],
)
def test_a_flag_has_the_originals_default(flag: str, default: int | str | bool) -> None:
    values, remarks = read_flags([])
    assert (values[flag], type(values[flag]), remarks) == (default, type(default), [])


def test_every_flag_of_the_original_is_known() -> None:
    specification = beside("tfserving", "SPEC.md").read_text()
    section = specification.partition("## 7. Flags")[2].partition("\n## 8")[0]
    names = {
        name
        for line in section.splitlines()
        if line.startswith("| ")
        for name in re.findall(r"\b[a-z][a-z0-9]+(?:_[a-z0-9]+)+\b|\bport\b|\bversion\b", line)
    }
    missing = sorted(n for n in names if n not in flag_rows())
    # Words of the section that are no flags.
    assert missing == [], missing
