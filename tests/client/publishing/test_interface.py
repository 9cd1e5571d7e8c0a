"""A version that would break callers is published only with a word of consent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import workbench as wb
from tests.client.test_server import refused
from tests.client.trainer import Trainer
from workbench.client.display.orders import ORDERS
from workbench.client.outcomes import Published
from workbench.client.publishing.interface import SignatureChange, check_against
from workbench.core.signature import Signature
from workbench.core.status import Code, Reason
from workbench.formats.saved_model.signature_file import read_signatures

CHANGE = (
    "Version 2 of {} would break the callers of version 1: signature classify_x_to_y is gone, "
    "signature regress_x_to_y is gone, input x is string[?] and was float[?], output y is gone"
)


def test_what_breaks_callers_is_refused_before_anything_is_written(
    server: wb.Server, models: Path
) -> None:
    error = refused(lambda: server.publish(models / "text"))
    change = CHANGE.format(server.model)
    assert error.message == (
        f"{change}: publish it under another name, or with allow_signature_change=True"
    )
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, Reason.SIGNATURE_CHANGE)
    assert sorted(os.listdir(server.base_path)) == ["1"]
    # From a view: first the sentence, then the consent.
    asked = {"path": str(models / "text")}
    assert refused(lambda: ORDERS["publish"](server, asked)).message == (
        f"{change}: confirm it, or cancel"
    )
    allowed = {**asked, "allow_signature_change": True}
    assert ORDERS["publish"](server, allowed) == "Version 2 serves."
    assert isinstance(server.outcome, Published)
    assert "signature classify_x_to_y is gone" in server.outcome.changes
    assert server.predict(["a"])["upper"].tolist() == [b"A"]  # type: ignore[index]


def test_what_breaks_nobody_is_published_and_said(server: wb.Server, models: Path) -> None:
    assert server.publish(models / "half_plus_three") == 2
    assert server.outcome is not None
    assert str(server.outcome).startswith(f"Published version 2 of {server.model} at http://")
    assert server.outcome.changes[0] == "signatures unchanged"
    # Not waited for, there is nothing to compare yet.
    server.publish(models / "half_plus_two", wait=False)
    assert server.outcome == Published(server.model, server.url, 3)
    server.wait_for(3)
    # Nobody asks for a version below the one that serves.
    server.rollback(to=2)
    about = server.describe()
    assert check_against(about, 1) is None
    assert check_against(about, 3) is not None


def test_a_version_that_does_not_fit_has_a_future(
    live: wb.Server, server: wb.Server, models: Path
) -> None:
    live.budget = "1 MB"
    try:
        error = refused(lambda: server.publish(models / "half_plus_three"))
    finally:
        live.budget = None
    assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, Reason.NO_MEMORY)
    assert error.message.startswith(
        f"Version 2 of {server.model} did not load: Insufficient resources to load servable"
    )
    assert error.message.endswith(
        ". It is loaded by itself when it fits; withdraw it with server.rollback(2)"
    )
    # As it says.
    server.wait_for(2)
    assert server.rollback(2) == 1


def test_a_keras_model_is_compared_after_its_export(
    live: wb.Server, trainer: Trainer, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    trainer.put_new("unnamed", str(base), 1)
    server = wb.Server(live.name, "retrained")
    server.control.put_model(server.model, {"base_path": str(base)})
    server.control.poll(server.model, [1])
    server.wait_for(1)
    try:
        # Trained again, and exported by Keras with a name of its own.
        trainer.publish_new(live.name, server.model, "unnamed")
        assert list(server.signature().inputs) == ["input_0"]
        trainer.put_exported("unnamed", str(tmp_path / "exported"), 1)
        assert server.publish(tmp_path / "exported" / "1") == 3
        with pytest.raises(Exception, match=r"input input_0 is float\[\?, 3\] and was"):
            trainer.publish_new(live.name, server.model, "wider")
        assert sorted(os.listdir(base)) == ["1", "2", "3"]
    finally:
        live.control.delete_model(server.model)


def test_signatures_are_read_from_the_file_as_the_worker_reports_them(
    server: wb.Server, models: Path, put: Callable[[Path, int, str], Path]
) -> None:
    exports = ("digits", "lookup", "rows", "multi", "identity", "tables")
    server.version_policy = "all"
    numbers = range(2, 2 + len(exports))
    for number, export in zip(numbers, exports, strict=True):
        put(server.base_path, number, export)
    server.control.poll(server.model, list(numbers))
    for number, export in zip(numbers, exports, strict=True):
        server.wait_for(number)
        told = Signature.all_from_json(server.describe_versions()[number])
        read = read_signatures(models / export)
        assert read is not None
        assert {name: str(told[name]) for name in read} == {n: str(s) for n, s in read.items()}
        assert set(told) - set(read) <= {"__saved_model_init_op"}
        assert all(told[n].defaults == s.defaults for n, s in read.items())


def test_what_cannot_be_read_is_left_to_the_server(models: Path, tmp_path: Path) -> None:
    assert read_signatures(tmp_path) is None
    whole = (models / "digits" / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
    assert read_signatures(tmp_path) is None
    assert read_signatures(models / "composites") is None
    assert read_signatures(models / "digits", ("gpu",)) is None


def test_the_command_line_has_its_own_cure() -> None:
    error = SignatureChange("Version 2 of m would break", "add --allow-signature-change")
    assert error.message == "Version 2 of m would break: add --allow-signature-change"
