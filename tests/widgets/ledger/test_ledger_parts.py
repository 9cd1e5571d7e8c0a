"""The ledger's cells as the parts of a bar: order, sums, and words."""

from __future__ import annotations

from typing import Any

from workbench.widgets.ledger.ledger_figure import plot_ledger
from workbench.widgets.ledger.ledger_parts import devices_of, frame_of, text_of

MB = 2**20


def cell(owner: str, kind: str, mega: int, how: str = "measured", **more: Any) -> dict[str, Any]:
    about = {"device": "host", "model": None, "version": None, "pid": 1, **more}
    return {**about, "owner": owner, "kind": kind, "bytes": mega * MB, "how": how}


def account(*cells: dict[str, Any], total: int = 1000) -> dict[str, Any]:
    return {
        "machines": [{"device": "host", "total": total * MB, "free": 0, "scope": "machine"}],
        "budget": {"host": {"limit": 400 * MB, "reserved": 90 * MB, "free": 310 * MB}},
        "cells": list(cells),
        "notes": [],
    }


ACCOUNT = account(
    cell("machine", "free", 520),
    cell("machine", "unattributed", 300),
    cell("machine", "reserved", 20, "estimated"),
    cell("server", "process", 60),
    cell("codec", "process", 10),
    cell("codec", "process", 10, "estimated", pid=2),
    cell("worker", "activations", 15, "estimated", model="m", version=2),
    cell("worker", "weights", 40, "estimated", model="m", version=2),
    cell("worker", "weights", 20, "estimated", model="m", version=1),
    cell("worker", "runtime", 5, model="m", version=1),
    cell("worker", "shared regions", 0, model="m", version=1),
)


def test_versions_first_then_what_is_promised_ours_theirs_and_free() -> None:
    (device,) = devices_of(ACCOUNT)
    assert [(p.label, p.bytes // MB, p.how) for p in device.parts] == [
        ("version 1: weights", 20, "estimated"),
        ("version 1: runtime", 5, "measured"),
        ("version 2: weights", 40, "estimated"),
        ("version 2: activations", 15, "estimated"),
        ("reserved, not taken yet", 20, "estimated"),
        ("codec", 20, "estimated"),
        ("server", 60, "measured"),
        ("not of this server", 300, "measured"),
        ("free", 520, "measured"),
    ]
    assert sum(part.bytes for part in device.parts) == device.total
    assert device.summary == (
        "host, 1000 MB by the machine: versions hold 80 MB, 90 MB reserved of a budget of 400 MB, "
        "the server's own processes 80 MB, reserved and not taken yet 20 MB, "
        "not of this server 300 MB, free 520 MB"
    )


def test_two_models_are_told_apart_and_what_was_counted_twice_is_said() -> None:
    (device,) = devices_of(
        account(
            cell("worker", "weights", 20, model="a", version=1),
            cell("worker", "weights", 30, model="b", version=1),
            cell("machine", "unattributed", -7),
            cell("machine", "free", 957),
        )
    )
    assert [p.label for p in device.parts[:2]] == ["a version 1: weights", "b version 1: weights"]
    lines = text_of([device], ["no GPU was looked at"]).splitlines()
    assert lines[3] == "  not of this server       -7 MB  measured"
    assert lines[-1] == "no GPU was looked at"


def test_as_a_table_and_as_text() -> None:
    devices = devices_of(ACCOUNT)
    frame = frame_of(devices)
    assert frame.columns.tolist() == ["device", "part", "bytes", "share", "how"]
    assert frame["share"].sum() == 1.0
    lines = text_of(devices).splitlines()
    assert lines[1] == "  version 1: weights          20 MB  estimated  ███████"
    assert lines[-1] == "  free                       520 MB  measured"


def test_the_figure_magnifies_what_is_ours_and_the_budget_with_it() -> None:
    (device,) = devices_of(ACCOUNT)
    # 100 are held or promised, and 310 more may be: near enough to be in the picture.
    assert device.budget_at() == 410 * MB
    assert device.magnified_to() == round(410 * MB * 1.04)
    figure = plot_ledger([device], "Memory")
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "budget 400 MB, 310 MB left" in words
    assert [w for w in words if w in ("measured", "estimated")] == [p.how for p in device.parts]
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_device_that_is_mostly_ours_needs_no_magnifying() -> None:
    (device,) = devices_of(account(cell("worker", "weights", 90, model="m", version=1), total=100))
    assert device.magnified_to() is None
    (device,) = devices_of(account(cell("machine", "unattributed", 60), total=100))
    assert device.magnified_to() is None


def test_a_budget_that_is_far_is_not_magnified_and_one_more_version_is() -> None:
    cells = (cell("worker", "weights", 60, model="m", version=1), cell("server", "process", 40))
    (device,) = devices_of(account(*cells, total=10_000))
    assert device.magnified_to() == round(100 * MB * 1.04)
    # Up to 370 versions may grow: near, where 180 are shown.
    assert device.magnified_to(120 * MB) == round(370 * MB * 1.04)
    assert device.magnified_to(10 * MB) == round(100 * MB * 1.04)
