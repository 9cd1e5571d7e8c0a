"""TensorFlow Serving's files for a plan, read by its own protos and by our readers; and what they
cannot say."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tests.deploy.export.fleet_plans import KINDS, OWN_IMAGE, documents, exported, planned, shop
from workbench.cli.model_server.flag_options import server_options
from workbench.cli.model_server.flag_reading import read_flags
from workbench.cli.model_server.flag_table import FLAGS
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import MODEL_SETTINGS
from workbench.deploy.export.export_options import ExportOptions
from workbench.deploy.export.not_expressed import not_expressed
from workbench.deploy.export.serving_export import ServingExport
from workbench.deploy.export.tf_serving import MODEL_FLAGS, container_flags
from workbench.deploy.plan.plan import SHARED_OPTIONS, Plan
from workbench.formats.config_files import read_batching_parameters, read_metrics_path

FOUND = BatchingParameters(max_batch_size=16, allowed_batch_sizes=(1, 4, 16))
"""What automatic batching was found to do with a compiled model."""


def config_of(folder: Path) -> Any:
    """The exported list of models, as TensorFlow Serving's own class."""
    text = (folder / "serving" / "models.config").read_text()
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def flags_of(folder: Path) -> dict[str, str]:
    """The flags of a container, by name."""
    deployment = documents(folder / "kubernetes" / "shared-volume.yaml")[0]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = [flag.removeprefix("--").partition("=") for flag in container["args"]]
    assert len({name for name, _, _ in given}) == len(given)
    return {name: value for name, _, value in given}


def test_models_versions_and_labels(tmp_path: Path) -> None:
    plan = shop(
        planned("digits", (3, 5), labels={"stable": 3, "canary": 5}),
        planned("words", (7, 8), version_policy=2),
        planned("old", (1, 4), version_policy=[1, 4]),
    )
    models = config_of(exported(tmp_path / "out", plan).folder).model_config_list.config
    assert [(m.name, m.base_path, m.model_platform) for m in models] == [
        (name, f"/models/{name}", "tensorflow") for name in ("digits", "words", "old")
    ]
    digits, words, old = models
    assert dict(digits.version_labels) == {"stable": 3, "canary": 5}
    assert digits.model_version_policy.WhichOneof("policy_choice") == "all"
    assert words.model_version_policy.latest.num_versions == 2
    assert list(old.model_version_policy.specific.versions) == [1, 4]


def test_a_folder_that_would_give_other_versions_is_pinned(tmp_path: Path) -> None:
    """As after a fall back: the policy wants the latest, which does not serve."""
    for version in (1, 2):
        (tmp_path / "digits" / str(version)).mkdir(parents=True)
    model = planned("digits", (1,), base_path=str(tmp_path / "digits"), version_policy="latest")
    for options, plan in (({}, shop(model)), ({"pin_versions": True}, shop())):
        folder = exported(tmp_path / f"out{len(options)}", plan, **options).folder
        for each in config_of(folder).model_config_list.config:
            assert each.model_version_policy.WhichOneof("policy_choice") == "specific"
        assert "serve exactly the planned versions" in (folder / "README.md").read_text()
    follow = exported(tmp_path / "follow").folder / "README.md"
    assert "Each server loads it within seconds" in follow.read_text()


@pytest.mark.parametrize(
    ("models", "shared", "own"),
    [
        # All alike: one file.
        ([{"batching": {"max_batch_size": 8}}] * 2, 8, {}),
        # Automatic, and found to merge: what it was found to do.
        ([{"automatic": FOUND}] * 2, 16, {}),
        # Automatic, and nothing is known: alone.
        ([{}] * 2, None, {}),
        ([{"automatic_batching": False, "automatic": FOUND}] * 2, None, {}),
        # They differ: a file in each version, and the shared one has only the threads.
        ([{"batching": {"max_batch_size": 8}}, {"automatic": FOUND}], 1000, {"m0": 8, "m1": 16}),
        ([{"batching": {"max_batch_size": 8}}, {}], 1000, {"m0": 8}),
        # The versions bring files of their own.
        ([{"version_batching": True}] * 2, 1000, {}),
        ([{"version_batching": True}, {"batching": {"max_batch_size": 8}}], 1000, {"m1": 8}),
    ],
)
def test_batching(
    tmp_path: Path, models: list[dict[str, Any]], shared: int | None, own: dict[str, int]
) -> None:
    plan = shop(*(planned(f"m{n}", (2, 3), **settings) for n, settings in enumerate(models)))
    folder = exported(tmp_path / "out", plan).folder
    file = folder / "serving" / "batching_parameters.txt"
    flags = flags_of(folder)
    if shared is None:
        assert not file.exists()
        assert not any("batching" in name for name in flags)
    else:
        read = read_batching_parameters(file)
        assert (read.max_batch_size, read.num_batch_threads) == (shared, 2)
        assert flags["enable_batching"] == "true"
        assert flags["batching_parameters_file"] == "/etc/serving/batching_parameters.txt"
    by_file = bool(own) or any("version_batching" in m for m in models)
    assert ("enable_per_model_batching_parameters" in flags) == by_file
    found = {
        path.relative_to(folder / "version-files").as_posix(): read_batching_parameters(path)
        for path in (folder / "version-files").rglob("*.pbtxt")
    }
    assert {name: each.max_batch_size for name, each in found.items()} == {
        f"{model}/{version}/batching_params.pbtxt": size
        for model, size in own.items()
        for version in (2, 3)
    }


def test_every_flag_is_tensorflow_servings_and_says_the_plan(tmp_path: Path) -> None:
    options = {
        "num_batch_threads": 2,
        "poll_seconds": 5.0,
        "rest_timeout_seconds": 1.5,
        "metrics_path": "/metrics",
        "grpc_health": False,
        "grpc_channel_arguments": {"grpc.max_concurrent_streams": 9, "grpc.a": "b"},
        "enable_cors": True,
        "check_method_names": True,
        "tensor_content": True,
        "labels_for_unavailable": True,
    }
    model = planned(
        "m", max_load_retries=4, load_retry_seconds=0.5, tags=["serve", "special"],
        intra_op_threads=3, enable_model_warmup=False, num_request_iterations_for_warmup=2,
        gpu_memory_fraction=0.25,
    )  # fmt: skip
    folder = exported(tmp_path / "out", shop(model, options=options)).folder
    flags = flags_of(folder)
    for name in flags:
        assert "Not in TensorFlow Serving" not in FLAGS[name].help, name
    # What the flags say, as our own reader of them has it.
    local = [
        f"--{n}={v.replace('/etc/serving', str(folder / 'serving'))}" for n, v in flags.items()
    ]
    values, remarks = read_flags(local)
    assert remarks == []
    read = server_options(values)
    asked = read.to_json()
    assert {name: asked[name] for name in options if name != "num_batch_threads"} == {
        name: value for name, value in options.items() if name != "num_batch_threads"
    }
    (served,) = read.models
    for name in MODEL_FLAGS:
        assert served[name] == model.config.to_json()[name], name
    assert read_metrics_path(folder / "serving" / "monitoring.config") == "/metrics"


@pytest.mark.parametrize("image", KINDS)
def test_the_script_has_the_flags_of_a_container(tmp_path: Path, image: str | None) -> None:
    folder = exported(tmp_path / "out", workbench_image=image).folder
    script = (folder / "serving" / "run.sh").read_text()
    command = shlex.split(script[script.index("exec $SERVER") :].replace("\\\n", " "))[2:-1]
    names = [flag.partition("=")[0] for flag in command]
    assert sorted(names) == sorted(f"--{name}" for name in flags_of(folder))


def lost(plan: Plan, image: str | None = None) -> dict[str, str]:
    """What is not expressed, by setting."""
    found = not_expressed(ServingExport(plan, ExportOptions(workbench_image=image)))
    return {each.setting: str(each) for each in found}


TENSORFLOW_SERVING_LIKE = {
    "probe": "off",
    "fall_back": False,
    "reload_replaced_versions": False,
    "servable_versions_always_present": False,
    "retry_all_load_errors": True,
    "automatic_batching": False,
}
"""The settings of a model that is served as TensorFlow Serving serves one."""
OTHER_VALUES = {
    "transition": "unload_first",
    "batching": {"max_batch_size": 5},
    "max_load_retries": 9,
    "load_retry_seconds": 7.0,
    "tags": ["other"],
    "intra_op_threads": 3,
    "enable_model_warmup": False,
    "num_request_iterations_for_warmup": 3,
    "automatic_batching": True,
    "version_batching": True,
    "device": "gpu:1",
    "memory_limit_bytes": 123456789,
    "gpu_memory_limit_bytes": 123456789,
    "hang_seconds": 5.0,
    "fall_back": True,
    "probe": "warn",
    "reload_replaced_versions": True,
    "servable_versions_always_present": True,
    "retry_all_load_errors": False,
    "gpu_memory_fraction": 0.5,
    "op_libraries": ["tensorflow_text"],
    "version_policy": [1],
    "labels": {"stable": 1},
}


def test_every_setting_of_a_model_is_expressed_or_said_to_be_lost() -> None:
    """A change of one setting changes the files or what is said to be lost, for both servers."""
    assert OTHER_VALUES.keys() == MODEL_SETTINGS.keys() - {"name", "base_path"}

    def whole(image: str | None, **settings: Any) -> tuple[Any, ...]:
        plan = shop(planned("m", **{**TENSORFLOW_SERVING_LIKE, **settings}))
        export = ServingExport(plan, ExportOptions(workbench_image=image))
        return container_flags(export), [c.to_json() for c in export.configs()], lost(plan, image)

    assert lost(shop(planned("m", **TENSORFLOW_SERVING_LIKE))).keys() == {"hang_seconds"}
    for image in KINDS:
        plain = whole(image)
        for name, value in OTHER_VALUES.items():
            flags, _, said = whole(image, **{name: value})
            told = said != plain[2] or flags != plain[0]
            assert told or name in ("version_policy", "labels", "batching"), (image, name)
            if image is not None:
                assert said == {}, name


def test_every_option_of_the_servers_is_expressed_or_said_to_be_lost() -> None:
    values = {
        "num_batch_threads": 7,
        "per_version_slots": True,
        "poll_seconds": 2.5,
        "rest_timeout_seconds": 7.0,
        "metrics_path": None,
        "grpc_health": False,
        "grpc_channel_arguments": {"a": 1},
        "enable_cors": True,
        "allowed_origins": ["https://lab.example"],
        "check_method_names": True,
        "tensor_content": True,
        "labels_for_unavailable": True,
    }
    assert values.keys() == set(SHARED_OPTIONS)

    def whole(image: str | None, **options: Any) -> tuple[Any, ...]:
        plan = shop(planned("m"), options=options)
        export = ServingExport(plan, ExportOptions(workbench_image=image))
        return container_flags(export), lost(plan, image)

    for image in KINDS:
        for name, value in values.items():
            if (image, name) != (None, "num_batch_threads"):  # it is in the batching file
                assert whole(image, **{name: value}) != whole(image), (image, name)
    assert set(lost(shop(planned("m"), options=values))) >= {
        "per_version_slots", "poll_seconds", "metrics_path", "allowed_origins"
    }  # fmt: skip


def test_settings_that_differ_between_models_are_said_to_be_lost() -> None:
    plan = shop(
        planned("a", max_load_retries=1, hang_seconds=5.0), planned("b", transition="staged")
    )
    assert lost(plan)["max_load_retries"] == (
        "`max_load_retries` (a: 1, b: 2): --max_num_load_retries holds for all models, so it is "
        "left at the server's default"
    )
    assert {"max_load_retries", "hang_seconds", "transition"} == lost(plan, OWN_IMAGE).keys()


def test_the_readme_lists_what_is_lost(tmp_path: Path) -> None:
    result = exported(tmp_path / "out", shop(planned("m", memory_limit_bytes=1 << 30)))
    readme = (result.folder / "README.md").read_text()
    assert result.not_expressed
    for each in result.not_expressed:
        assert f"* {each}." in readme
    assert "`memory_limit_bytes` (1073741824): one process holds all versions" in readme
