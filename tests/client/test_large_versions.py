"""Version numbers up to 2^63 - 1, to the digit, in everything that a notebook asks and does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import workbench as wb
from workbench.cli.main import main
from workbench.client.display.exact_numbers import exact, version_of
from workbench.client.display.orders import ORDERS
from workbench.client.display.tables import table_of
from workbench.core.status import Code, ServingError

LAST = 2**63 - 1
BEFORE = LAST - 1
BEYOND = 2**53 + 1
ROUNDED = 2**53
Put = Callable[[Path, int, str], Path]


@pytest.fixture(scope="module")
def large(
    runtime: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[wb.Server]:
    """A server of versions that a double could not tell apart: two pairs of neighbours."""
    base = tmp_path_factory.mktemp("large")
    for version, export in ((BEYOND, "half_plus_two"), (LAST, "half_plus_three")):
        shutil.copytree(models / export, base / str(version))
    with wb.serve(base, "large", version_policy="all", labels={"new": LAST}) as server:
        server.wait_for(BEYOND)
        server.wait_for(LAST)
        yield server


def test_what_a_server_says_of_its_versions(
    large: wb.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert large.versions.available == [LAST, BEYOND]
    assert large.versions[LAST].version == LAST
    assert f"version {LAST}: AVAILABLE" in repr(large.versions)
    assert f"{LAST} AVAILABLE, {BEYOND} AVAILABLE" in repr(large)
    assert f">{LAST}<" in large._repr_html_()
    assert large.labels == {"new": LAST}
    with pytest.raises(KeyError):
        large.versions[BEFORE]
    assert main(["status", "large"]) == 0
    assert str(LAST) in capsys.readouterr().out
    assert main(["status", "large", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["models"][0]
    assert [v["version"] for v in told["versions"]] == [LAST, BEYOND]


def test_the_one_that_is_named_answers(
    large: wb.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert large.predict([2.0]).tolist() == [4.0]  # type: ignore[union-attr]
    assert large.predict([2.0], version=LAST).tolist() == [4.0]  # type: ignore[union-attr]
    assert large.predict([2.0], version=BEYOND).tolist() == [3.0]  # type: ignore[union-attr]
    assert large.predict([2.0], label="new").tolist() == [4.0]  # type: ignore[union-attr]
    for neighbour in (ROUNDED, BEFORE, 2**63):
        with pytest.raises(ServingError) as refused:
            large.predict([2.0], version=neighbour)
        assert refused.value.code is Code.NOT_FOUND
        assert f"Specific(large, {neighbour})" in refused.value.message
    assert main(["predict", "large", "-d", "[2.0]", "--model-version", str(BEYOND)]) == 0
    assert json.loads(capsys.readouterr().out) == [3.0]


def test_tables_are_exact(large: wb.Server) -> None:
    for table in (
        large.events(),
        large.memory(),
        large.memory("kind"),
        large.memory_history(),
    ):
        assert str(table["version"].dtype) == "Int64"
        known = set(table["version"].dropna().tolist())
        assert {LAST, BEYOND} <= known
        assert not known & {ROUNDED, BEFORE, LAST + 1}


def test_numbers_that_a_page_would_round_become_text() -> None:
    about = exact({"old": ROUNDED - 1, "new": [BEYOND, None, {"labels": {"a": LAST}}]})
    assert about == {
        "old": ROUNDED - 1,
        "new": [str(BEYOND), None, {"labels": {"a": str(LAST)}}],
    }
    small = {"versions": [1, 2]}
    assert exact(small) is small


def test_what_a_page_means() -> None:
    assert [version_of(v) for v in (0, 3, str(LAST), LAST)] == [0, 3, LAST, LAST]
    for wrong in (
        2**63,
        "3",
        str(2**63),
        -1,
        "-1",
        "+1",
        "1.0",
        "",
        " 1",
        "١",
        1.0,
        True,
        None,
        "9" * 99,
    ):
        with pytest.raises(ServingError) as refused:
            version_of(wrong, "to")
        assert refused.value.message == f"'to' must be a version's number; was {wrong!r}"


def test_orders_of_a_page_mean_the_very_version(
    models: Path, put: Put, tmp_path: Path, runtime: Path
) -> None:
    base = tmp_path / "base"
    for version in (BEYOND, BEFORE):
        put(base, version, "half_plus_two")
    with wb.serve(base, "ordered") as server:
        put(base, LAST, "half_plus_three")
        server.wait_for(LAST)
        said = ORDERS["rollback"](server, {"to": str(BEYOND)})
        assert said.startswith(f"Version {BEYOND} serves again")
        assert server.versions.available == [BEYOND]
        assert server.undo() == LAST
        assert ORDERS["undo"](server, {}) == f"Version {BEFORE} is back."
        assert server.versions.available[0] == LAST
        said = ORDERS["labels"](server, {"value": {"stable": str(LAST), "old": BEYOND}})
        assert said == f"old is version {BEYOND}, stable is version {LAST}."
        assert server.labels == {"stable": LAST, "old": BEYOND}
        server.version_policy = [BEYOND, LAST]
        server.wait_for(BEYOND)
        server.wait_for(LAST)
        assert server.version_policy == {"specific": [BEYOND, LAST]}
        assert server.versions.available == [LAST, BEYOND]

        # There is no number above the last one.
        message = f"A version must be a whole number, at least 0 and at most {LAST}; was {2**63}"
        for publish in (
            lambda: server.publish(models / "half_plus_two"),
            lambda: server.publish(models / "half_plus_two", version=2**63),
        ):
            with pytest.raises(ServingError) as refused:
                publish()
            assert refused.value == ServingError(Code.INVALID_ARGUMENT, message)
        with pytest.raises(ServingError) as refused:
            server.labels = {"no": 2**63}
        assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_table_without_rows() -> None:
    table = table_of([], ["a", "version"])
    assert (len(table), str(table["version"].dtype)) == (0, "Int64")
