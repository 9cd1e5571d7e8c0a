"""The policy stepper's controls."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from matplotlib.colors import to_hex

from workbench.core.status import ServingError
from workbench.core.versions.states import HarnessState
from workbench.experiments.looks import FAILED
from workbench.widgets.stepper.stepper import policy_stepper
from workbench.widgets.stepper.stepper_figure import SHOWN

_WAIT_SECONDS = 30.0


def test_buttons_and_words() -> None:
    stepper = policy_stepper()
    assert "answers requests: <b>1</b>" in stepper._said.value
    stepper.step_button.click()
    stepper.step_button.click()

    assert [step.decided for step in stepper.steps] == [True, False]
    assert repr(stepper) == "<PolicyStepper smooth: 1 ready un-aspired, 2 ready>"
    assert "<li><b>policy</b>: load 2: highest aspired version not loaded yet</li>" in (
        stepper._said.value
    )
    stepper.add_button.click()
    assert repr(stepper) == (
        "<PolicyStepper smooth: 1 ready un-aspired, 2 ready un-aspired, 3 new>"
    )
    stepper.reset_button.click()
    assert repr(stepper) == "<PolicyStepper smooth: 1 ready un-aspired, 2 new>"
    assert stepper.steps == []


def test_what_the_server_does_without_its_policy_is_told_apart() -> None:
    stepper = policy_stepper()
    stepper.step()
    stepper.add_button.click()
    assert stepper.step().why == "cancel 2: not aspired any more, and it does not serve yet"
    assert stepper.moments[-1].by == "server"
    assert "<li><b>server</b>: cancel 2" in stepper._said.value


def test_an_edited_row_and_another_policy() -> None:
    stepper = policy_stepper()
    stepper.policy.value = "unload_first"
    _, wanted = stepper._rows.children[0].children
    wanted.value = True
    assert stepper.step().why == "load 2: highest aspired, and no un-aspired version is left"
    stepper.reset()
    assert stepper.step().why == "unload 1: not aspired: its memory is needed first"


def test_an_unknown_policy() -> None:
    with pytest.raises(ServingError, match=r"Unknown transition 'sideways'"):
        policy_stepper("sideways")


def test_buttons_in_a_subshell_and_steps_in_a_cell_at_once() -> None:
    stepper = policy_stepper()

    def press() -> None:
        for _ in range(10):
            stepper.add_button.click()
            stepper.step_button.click()

    thread = threading.Thread(target=press)
    thread.start()
    for _ in range(10):
        stepper.step()
    thread.join(60)
    assert not thread.is_alive()
    assert len(stepper.steps) == 20
    assert len(stepper._rows.children) == len(stepper.table.rows)
    assert max(stepper.table.rows) == 12


def test_what_outlives_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    stepper = policy_stepper("unload_first")
    published: list[tuple[dict[str, Any], bool]] = []

    def publish(data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        published.append((data, more.get("update", False)))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    monkeypatch.setattr("workbench.widgets.base.durable.in_notebook", lambda: True)
    stepper._ipython_display_()
    assert [update for _, update in published] == [False, False]
    live, first = (data for data, _ in published)
    assert "application/vnd.jupyter.widget-view+json" in live
    assert first["text/plain"] == "<PolicyStepper unload_first: 1 ready un-aspired, 2 new>"

    stepper.step_button.click()
    stepper.step_button.click()
    _, wanted = stepper._rows.children[1].children
    wanted.value = False
    said = [
        "<PolicyStepper unload_first: 1 unloading un-aspired, 2 new un-aspired>",
        "1. unload 1: not aspired: its memory is needed first",
        "2. version 1 has answered its last request",
        "3. version 2 is set: new, not aspired",
    ]
    end = time.monotonic() + _WAIT_SECONDS
    while published[-1][0]["text/plain"] != "\n".join(said):
        assert time.monotonic() < end, published[-1][0]["text/plain"]
        time.sleep(0.01)
    data, update = published[-1]
    assert update
    assert data["image/png"].startswith("iVBOR")
    assert "<td>version 1 has answered its last request</td>" in data["text/html"]
    assert stepper.frame.to_dict("list") == {
        "by": ["you", "policy", "time", "you"],
        "what happened": ["it begins", *(line[3:] for line in said[1:])],
        "version 1": ["ready, not aspired", "quiescing, not aspired"]
        + 2 * ["unloading, not aspired"],
        "version 2": 3 * ["new"] + ["new, not aspired"],
    }


def test_the_figure_shows_the_latest_moments_and_what_failed() -> None:
    stepper = policy_stepper()
    stepper.table.set(2, HarnessState.ERROR)
    stepper.refresh()
    for _ in range(SHOWN):
        stepper.add_button.click()
    (axes,) = stepper.plot().axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == [f"{at}\nyou" for at in range(1, SHOWN + 1)]
    assert len(axes.get_yticklabels()) == SHOWN + 2
    failed = [box for box in axes.patches if to_hex(box.get_edgecolor()) == FAILED]
    assert len(failed) == SHOWN


def test_in_a_terminal_it_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    policy_stepper()._ipython_display_()
    assert capsys.readouterr().out == "<PolicyStepper smooth: 1 ready un-aspired, 2 new>\n"
