"""The widget of a comparison: what it shows of it, and that its handles act on the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import workbench as wb
from tests.widgets.pages import Page
from workbench.core.status import Code, ServingError
from workbench.experiments.versions.agreement import output_difference, paired_latency
from workbench.experiments.versions.version_comparison import VersionComparison, VersionFacts
from workbench.widgets.comparison import PAGE, ComparisonWidget


def made(labels: bool = True, images: bool = True, server: str | None = None) -> VersionComparison:
    """30 examples of three classes: version 1 is always right, version 2 never on class 2."""
    truth = np.arange(30) % 3
    one = np.eye(3)[truth]
    two = np.eye(3)[np.where(truth == 2, 0, truth)]
    random = np.random.default_rng(0)
    x = random.random((30, 16 if images else 3)).astype(np.float32)
    seconds = 0.001 * (1 + random.random((40, 2)))
    return VersionComparison(
        model="m",
        versions=(1, 2),
        inputs={"x": x},
        answers=({"scores": one}, {"scores": two}),
        labels=truth if labels else None,
        outputs=(output_difference("scores", one, two, 1e-5, 1e-6),),
        output=None,
        latency=paired_latency(seconds[:, 0], seconds[:, 1], 0.05, 0.05),
        seconds=seconds,
        facts=(VersionFacts(1, 100, 2**20, 0.5), VersionFacts(2, 200, None, 0.7)),
        changes=("signatures unchanged",),
        rtol=1e-5,
        atol=1e-6,
        server=server,
    )


def test_class_by_class() -> None:
    table = made().by_class
    assert table.index.name == "label"
    assert table.columns.tolist() == [
        "examples",
        "same answer",
        "version 1 right",
        "version 2 right",
    ]
    assert table.to_numpy().tolist() == [[10, 1, 1, 1], [10, 1, 1, 1], [10, 0, 1, 0]]
    table = made(labels=False).by_class
    assert table.index.name == "class of version 1"
    assert table["same answer"].tolist() == [1, 1, 0]


def test_the_gallery_by_pages_and_by_class() -> None:
    widget = ComparisonWidget(made())
    first = widget.gallery()
    assert (first["total"], len(first["items"])) == (10, 10)
    item = first["items"][0]
    assert (item["said"], item["label"], item["right"]) == (["2", "0"], "2", [True, False])
    assert item["png"].startswith("iVBOR")
    assert widget.gallery(0, 1)["total"] == 0
    assert [i["example"] for i in widget.gallery(0, 2)["items"]] == [
        i["example"] for i in first["items"]
    ]
    assert widget.gallery(1)["items"] == []
    assert widget.about["pageSize"] == PAGE


def test_inputs_that_are_no_images_are_told_as_numbers() -> None:
    (item, *_) = ComparisonWidget(made(labels=False, images=False)).gallery()["items"]
    assert item["input"].startswith("x [0.")
    assert "png" not in item
    assert (item["label"], item["right"]) == (None, None)


def test_what_the_browser_is_told_is_plain_and_names_what_is_missing() -> None:
    about = ComparisonWidget(made()).about
    measures = {m["name"]: m["values"] for m in about["measures"]}
    assert measures["accuracy"] == pytest.approx([1.0, 2 / 3])
    assert measures["memory of its worker (MB)"] == [1.0, None]
    assert about["slices"]["rows"][2]["values"] == [10, 0, 1, 0]
    for times in about["latency"]:
        assert times == sorted(times)
    assert about["sentences"] == made().sentences()


def test_without_a_server_nothing_can_be_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(ComparisonWidget(made()), monkeypatch)
    page.say(op="hello")
    page.wait(lambda m: m["kind"] == "ended")
    page.say(op="seen", value=False)
    assert page.order("promote", version=1) == (
        False,
        "The server of this comparison has stopped",
    )
    assert page.order("gallery", page=0, slice=2) == (True, "")
    assert [m["total"] for m in page.sent if m["kind"] == "gallery"] == [10]


def test_outside_a_notebook_it_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.lib.pretty import pretty

    found = made()
    with pytest.raises(NotImplementedError):
        found._ipython_display_()
    assert pretty(found) == str(found)
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def compared(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[wb.Server, VersionComparison]]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        with wb.serve(models / "half_plus_two", "half") as server:
            server.publish(models / "half_plus_three")
            x = np.linspace(-4, 4, 20, dtype=np.float32)
            found = server.compare_versions(1, 2, x, pairs=11, keep=False, progress=False)
            yield server, found


def test_promote_undo_and_labels_act_on_the_server(
    compared: tuple[wb.Server, VersionComparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, found = compared
    assert found.server == "half"
    page = Page(ComparisonWidget(found), monkeypatch)
    page.say(op="hello")
    page.wait(lambda m: m["kind"] == "serving" and 2 in m["available"] and not m["undo"])

    ok, text = page.order("promote", version=1)
    assert (ok, text) == (
        True,
        "Version 1 serves, pinned by its number. Versions published later do not serve until "
        "version_policy is 'latest' again (Undo).",
    )
    assert server.version_policy == {"specific": [1]}
    page.wait(lambda m: m["kind"] == "serving" and m["available"] == [1] and m["undo"])
    assert server.predict([2.0]).tolist() == [3.0]

    assert page.order("label", version=1, label=" stable ") == (
        True,
        "Requests for the label stable go to version 1.",
    )
    assert server.labels == {"stable": 1}
    assert page.order("label", version=1, label=" ")[0] is False
    server.labels = {}

    assert page.order("promote", version=2) == (
        True,
        "Version 2 serves. The next version that is published replaces it.",
    )
    assert server.version_policy == {"latest": 1}
    assert server.predict([2.0]).tolist() == [4.0]
    # Undo is of all that was promoted here.
    assert page.order("undo") == (True, "The version policy is latest 1 again.")
    assert page.order("undo") == (
        False,
        "Nothing was promoted here, so there is nothing to undo",
    )
    page.say(op="seen", value=False)


def test_a_version_that_is_gone_cannot_be_promoted(
    compared: tuple[wb.Server, VersionComparison],
) -> None:
    server, found = compared
    server.rollback(2)
    try:
        with pytest.raises(ServingError) as caught:
            ComparisonWidget(found).promote(2)
    finally:
        server.undo()
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert caught.value.message == (
        f"Version 2 is not in {server.base_path} any more: publish it again"
    )
