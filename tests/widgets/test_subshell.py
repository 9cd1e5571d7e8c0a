"""While a cell runs, a widget's message is taken in a subshell, and acts on the server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

import workbench as wb

_WAIT_SECONDS = 60.0
_WIDGET = """
import time
import workbench as wb
server = wb.connect("half")
card = server.card()
print(card.comm.comm_id)
"""
_CELL = """
print("the cell runs")
end = time.monotonic() + 60
while server.transition != "staged" and time.monotonic() < end:
    time.sleep(0.02)
print("the cell saw", server.transition)
"""
_STEPPER = """
import time
import workbench as wb
stepper = wb.policy_stepper()
stepper._ipython_display_()
print(stepper.step_button.comm.comm_id)
"""
_STEPPED = """
print("the cell runs")
end = time.monotonic() + 60
while not stepper.steps and time.monotonic() < end:
    time.sleep(0.02)
print("the cell saw", stepper.steps[0].why)
"""


@pytest.fixture
def kernel(live: wb.Server) -> Iterator[BlockingKernelClient]:
    """A notebook's kernel that finds `live` by its name."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=_WAIT_SECONDS)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(kernel: BlockingKernelClient, pattern: str) -> str:
    """What the kernel prints from now on, up to the first match of `pattern`, which is returned.
    A kernel sends a line in as many messages as it likes."""
    text, end = "", time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            message = kernel.get_iopub_msg(timeout=max(0.0, end - time.monotonic()))
        except Empty:
            raise AssertionError(f"{pattern!r} was not printed, but {text!r}") from None
        content = message["content"]
        text += content.get("text", "") + "\n".join(content.get("traceback", []))
        match = re.search(pattern, text)
        if match:
            return match[0]


def subshell_of(kernel: BlockingKernelClient) -> str:
    kernel.control_channel.send(kernel.session.msg("create_subshell_request"))
    subshell: str = kernel.get_control_msg(timeout=_WAIT_SECONDS)["content"]["subshell_id"]
    return subshell


def send(kernel: BlockingKernelClient, comm: str, content: dict[str, Any], subshell: str) -> None:
    """A widget's own message, as the page sends it."""
    data = {"comm_id": comm, "data": {"method": "custom", "content": content}}
    message = kernel.session.msg("comm_msg", data)
    message["header"]["subshell_id"] = subshell
    kernel.shell_channel.send(message)


def test_a_button_acts_while_a_cell_waits_for_it(
    live: wb.Server, kernel: BlockingKernelClient
) -> None:
    kernel.execute(_WIDGET)
    comm = printed(kernel, r"[0-9a-f]{32}(?=\n)")
    subshell = subshell_of(kernel)
    kernel.execute(_CELL)
    printed(kernel, "the cell runs\n")
    send(kernel, comm, {"op": "transition", "value": "staged", "id": 7}, subshell)
    try:
        printed(kernel, "the cell saw staged\n")
    finally:
        live.transition = "smooth"


def test_the_policy_is_stepped_while_a_cell_waits_for_it(kernel: BlockingKernelClient) -> None:
    kernel.execute(_STEPPER)
    comm = printed(kernel, r"[0-9a-f]{32}(?=\n)")
    subshell = subshell_of(kernel)
    kernel.execute(_STEPPED)
    printed(kernel, "the cell runs\n")
    send(kernel, comm, {"event": "click"}, subshell)
    printed(kernel, "the cell saw load 2: highest aspired version not loaded yet\n")
