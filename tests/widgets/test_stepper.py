"""The policy stepper's controls."""

from __future__ import annotations

import threading

import pytest

from workbench.core.status import ServingError
from workbench.widgets.stepper import policy_stepper


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
    assert len(stepper._rows.children) == len(stepper.table.rows) == 12
