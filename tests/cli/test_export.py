"""`workbench export`: its options reach the files, and it says what is next."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.cli.main import main
from workbench.deploy.plan.plan_files import read_plan


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A folder with two models, as links to test models."""
    for name, model in (("digits", "digits"), ("words", "text")):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "3").symlink_to(models / model)
    return tmp_path / "models"


def test_a_folder_of_models(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(out), "--folder", str(folder), "--servers", "4"]) == 0
    printed = capsys.readouterr().out
    assert f"to {out}; README.md says what is next." in printed
    assert f"MODELS/digits must be {folder}/digits: copy or mount it there" in printed
    assert "`" not in printed
    plan = read_plan(out / "plan.json")
    assert (plan.name, plan.servers, len(plan.models)) == ("models", 4, 2)


def test_options(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = [
        "--folder", str(folder / "words"), "--fleet", "shop", "--most-servers", "5",
        "--workbench-image", "wb:1", "--model-image", "shop:2", "--prometheus-image", "prom:3",
        "--grafana-image", "grafana:4", "--pin-versions", "--copy-models",
    ]  # fmt: skip
    assert main(["export", str(out), *arguments]) == 0
    assert f"models/words: a copy of {folder}/words" in capsys.readouterr().out
    assert (out / "models" / "words" / "3" / "saved_model.pb").is_file()
    texts = {p: (out / p).read_text() for p in ("compose.yaml", "kubernetes/common.yaml")}
    for image in ("wb:1", "prom:3", "grafana:4"):
        assert f"image: {image}\n" in texts["compose.yaml"]
    assert "maxReplicas: 5\n" in texts["kubernetes/common.yaml"]
    assert "image: shop:2\n" in (out / "kubernetes" / "image-per-version.yaml").read_text()
    assert "specific" in (out / "serving" / "models.config").read_text()


def test_refusals(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["export", out, "--folder", str(tmp_path / "nothing")]) == 1
    assert "nothing has no numbered version folders" in capsys.readouterr().err
    assert main(["export", out, "--folder", str(folder), "--image", "not an image"]) == 1
    assert "Export option 'image' must be the name of an image" in capsys.readouterr().err
    assert main(["export", str(folder), "--folder", str(folder)]) == 1
    assert "has files and is no earlier export" in capsys.readouterr().err


def test_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert main(["export", str(tmp_path / "out")]) == 1
    assert "No server is running: start one with `workbench serve PATH`" in capsys.readouterr().err
