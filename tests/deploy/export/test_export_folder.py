"""The folder of an export as a whole: the same each time, without secrets, and safe to repeat."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deploy.export.fleet_plans import (
    IMAGES,
    KINDS,
    OWN_IMAGE,
    SECRET_HOME,
    contents,
    exported,
    planned,
    shop,
)
from workbench.core.status import Code, ServingError
from workbench.deploy.export.export_options import ExportOptions
from workbench.deploy.plan.plan_files import read_plan
from workbench.deploy.plan.plan_sources import plan_of_folder
from workbench.facade import Server


def refused(*arguments: object, **options: object) -> ServingError:
    with pytest.raises(ServingError) as caught:
        exported(*arguments, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("image", KINDS)
def test_a_second_export_is_the_same(tmp_path: Path, image: str | None) -> None:
    first = exported(tmp_path / "a", workbench_image=image)
    again = exported(tmp_path / "deeper" / "b", workbench_image=image)
    before = contents(first.folder)
    assert contents(again.folder) == before
    assert before.keys() == {*first.files, ".exported"}
    exported(tmp_path / "a", workbench_image=image)
    assert contents(first.folder) == before
    assert all(text.endswith(b"\n") for text in before.values())


@pytest.mark.parametrize("image", KINDS)
def test_no_file_says_where_the_models_were_or_who_exported_them(
    tmp_path: Path, image: str | None
) -> None:
    library = f"{SECRET_HOME}/ops/libwords.so"
    plan = shop(planned("digits"), planned("words", op_libraries=[library, "tensorflow_text"]))
    result = exported(tmp_path / "out", plan, workbench_image=image)
    home = os.path.expanduser("~")
    for name, text in contents(result.folder).items():
        found = re.findall(rb"/home|/Users|someone|lab 1|%s" % re.escape(home.encode()), text)
        assert not found, name
        assert not re.search(
            rb"(?i)(password|token|secret|key): *[\"']?[A-Za-z0-9+/=_-]{16,}", text
        )
    # The user is told in the terminal instead.
    assert result.sources["digits"] == f"{SECRET_HOME}/digits"
    assert f"MODELS/digits must be {SECRET_HOME}/digits" in str(result)


def test_the_plan_in_the_folder_is_the_plan_with_the_paths_of_a_container(tmp_path: Path) -> None:
    plan = shop()
    kept = read_plan(exported(tmp_path / "out", plan).folder / "plan.json")
    assert [m.config.base_path for m in kept.models] == ["/models/digits", "/models/words"]
    for before, after in zip(plan.models, kept.models, strict=True):
        assert replace(after, config=before.config) == before
    assert replace(kept, models=plan.models) == plan


def test_images_are_the_ones_that_were_given(tmp_path: Path) -> None:
    result = exported(tmp_path / "out", **IMAGES)
    texts = b"".join(contents(result.folder).values()).decode()
    assert all(texts.count(image) >= 1 for image in IMAGES.values())
    for default in ("tensorflow/serving:", "prom/prometheus", "grafana/grafana:"):
        assert default not in texts
    own = exported(tmp_path / "own", workbench_image=OWN_IMAGE, **IMAGES)
    readme = (own.folder / "README.md").read_text()
    assert "All images are named by digest." in readme
    assert "tensorflow/serving" not in b"".join(contents(own.folder).values()).decode()


@pytest.mark.parametrize(
    "image", ["", "Serving", "a b", "serving:2.20@sha256:12", "serving;rm", "a/b:", "-x", "a\nb"]
)
def test_an_image_that_cannot_be_one_is_refused(tmp_path: Path, image: str) -> None:
    error = refused(tmp_path / "out", image=image)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith("Export option 'image' must be the name of an image")
    assert not (tmp_path / "out").exists()


def test_what_is_no_longer_exported_is_removed_and_other_files_stay(tmp_path: Path) -> None:
    result = exported(tmp_path / "out")
    stale = [name for name in result.files if name.startswith("version-files/")]
    assert stale == ["version-files/words/7/batching_params.pbtxt"]
    mine = result.folder / "kubernetes" / "kustomization.yaml"
    mine.write_text("resources: [common.yaml]\n")
    alone = exported(result.folder, shop(planned("digits")))
    assert not any((result.folder / name).exists() for name in stale)
    assert {*alone.files, ".exported", "kubernetes/kustomization.yaml"} == (
        contents(result.folder).keys()
    )


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    error = refused(tmp_path)
    assert error.message == (
        f"{tmp_path} has files and is no earlier export: name an empty or a new folder"
    )
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_list_of_files_that_leads_out_of_the_folder_removes_nothing(tmp_path: Path) -> None:
    result = exported(tmp_path / "out")
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    with (result.folder / ".exported").open("a") as listed:
        listed.write(f"../outside.txt\n{outside}\n")
    exported(result.folder)
    assert outside.read_text() == "mine"


def test_models_are_copied_once_and_never_mixed(tmp_path: Path, fleet_folder: Path) -> None:
    plan = plan_of_folder(fleet_folder, version_policy="all")
    result = exported(tmp_path / "out", plan, copy_models=True)
    copied = contents(result.folder / "models")
    assert copied == contents(fleet_folder)
    exported(result.folder, plan, copy_models=True)
    assert contents(result.folder / "models") == copied
    other = tmp_path / "other"
    shutil.copytree(fleet_folder, other)
    shutil.rmtree(other / "pair" / "2")
    shutil.copytree(other / "pair" / "1", other / "pair" / "2")
    error = refused(
        result.folder, plan_of_folder(other, name=plan.name, version_policy="all"), copy_models=True
    )
    assert error.code is Code.FAILED_PRECONDITION
    assert error.message.endswith(
        "models/pair/2 holds other files than version 2 of pair: remove it, and export again"
    )
    assert contents(result.folder / "models") == copied


def test_a_version_that_is_not_there_cannot_be_copied(tmp_path: Path) -> None:
    error = refused(tmp_path / "out", copy_models=True)
    assert error.message == (
        f"Version 3 of digits is not in {SECRET_HOME}/digits, so it cannot be copied: export "
        "without copying the models"
    )


def test_names_that_only_we_allow_become_names_that_all_engines_allow(tmp_path: Path) -> None:
    plan = shop(planned("a/b"), planned("a:b"), planned("Ein Modell"), name="Big_Shop.2")
    result = exported(tmp_path / "out", plan)
    assert len(set(result.sources)) == 3
    for folder in result.sources:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", folder)
    config = (result.folder / "serving" / "models.config").read_text()
    assert all(f'name: "{model.name}"' in config for model in plan.models)
    texts = (result.folder / "kubernetes" / "common.yaml").read_text()
    assert "name: big-shop-2\n" in texts
    readme = (result.folder / "README.md").read_text()
    assert "http://127.0.0.1:8501/v1/models/a%2Fb" in readme


def test_the_method_has_the_defaults_of_the_options() -> None:
    parameters = inspect.signature(Server.export).parameters
    for name, value in vars(ExportOptions()).items():
        assert parameters[name].default == value, name


def test_the_script_is_a_posix_shell_script(tmp_path: Path) -> None:
    """`sh -n` reads it, and a folder with odd characters stays one argument."""
    result = exported(tmp_path / "out", shop(planned("digits")))
    script = result.folder / "serving" / "run.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True, timeout=30)
    odd = "/a b/c&d|e\\f"
    done = subprocess.run(
        [script], env={**os.environ, "SERVER": "echo", "MODELS": odd}, text=True, timeout=30,
        capture_output=True, check=True,
    )  # fmt: skip
    assert f"--model_config_file={script.parent}/run/models.config" in done.stdout
    assert f'base_path: "{odd}/digits"' in (script.parent / "run" / "models.config").read_text()
