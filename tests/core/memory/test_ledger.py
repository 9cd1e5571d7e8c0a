"""The ledger's arithmetic: cells add up to the machine's own number, whatever was measured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.core.memory.ledger import Cell, Holding, Machine, reconcile

SIZES = st.integers(0, 2**40)
DEVICES = st.sampled_from(["host", "gpu:0", "gpu:1"])


@st.composite
def holdings(draw: st.DrawFn) -> Holding:
    version = draw(st.none() | st.integers(1, 9))
    return Holding(
        device=draw(DEVICES),
        owner="server" if version is None else "worker",
        total=draw(st.integers(-(2**20), 2**40)),
        measured=draw(st.booleans()),
        model=None if version is None else "m",
        version=version,
        weights=draw(SIZES),
        shared=draw(SIZES),
        common=draw(SIZES),
        overhead=draw(SIZES),
        overhead_measured=draw(st.booleans()),
        reserved=draw(SIZES),
    )


@st.composite
def machines(draw: st.DrawFn) -> list[Machine]:
    found = []
    for device in draw(st.lists(DEVICES, unique=True)):
        total = draw(SIZES)
        found.append(Machine(device, total, draw(st.integers(0, total))))
    return found


@given(machines(), st.lists(holdings()), st.lists(st.tuples(DEVICES, SIZES)))
def test_cells_of_a_device_add_up_to_its_own_number(
    there: list[Machine], held: list[Holding], waiting: list[tuple[str, int]]
) -> None:
    cells = reconcile(there, held, waiting)
    for machine in there:
        mine = [cell for cell in cells if cell.device == machine.device]
        assert sum(cell.bytes for cell in mine) == machine.total
        assert [c.kind for c in mine if c.bytes < 0] in ([], ["unattributed"])
        assert [c.kind for c in mine[-3:]] == ["unattributed", "reserved", "free"]
        assert mine[-2].bytes + mine[-1].bytes == machine.free
    assert {cell.device for cell in cells} == {machine.device for machine in there}
    assert {cell.how for cell in cells} <= {"measured", "estimated"}


def test_a_worker_is_split_and_the_rest_is_named() -> None:
    server = Holding("host", "server", 30, pid=1, shared=4)
    worker = Holding(
        "host", "worker", 500, True, "m", 2, 7,
        weights=400, shared=10, common=60, overhead=3, reserved=600,
    )  # fmt: skip
    cells = reconcile([Machine("host", 2000, 900)], [server, worker], [("host", 50)])
    assert cells == [
        Cell("host", "server", "shared regions", 4, "measured", pid=1),
        Cell("host", "server", "process", 26, "measured", pid=1),
        Cell("host", "worker", "shared regions", 10, "measured", "m", 2, 7),
        Cell("host", "worker", "shared runtime", 60, "measured", "m", 2, 7),
        Cell("host", "worker", "runtime", 3, "measured", "m", 2, 7),
        Cell("host", "worker", "weights", 400, "estimated", "m", 2, 7),
        Cell("host", "worker", "activations", 27, "estimated", "m", 2, 7),
        Cell("host", "machine", "unattributed", 570, "measured"),
        # 160 that the worker may still take, as what all have in common is not reserved for it,
        # and 50 for a version without a process.
        Cell("host", "machine", "reserved", 210, "estimated"),
        Cell("host", "machine", "free", 690, "estimated"),
    ]
    assert cells[2].to_json() == {
        "device": "host", "owner": "worker", "kind": "shared regions", "bytes": 10,
        "how": "measured", "model": "m", "version": 2, "pid": 7,
    }  # fmt: skip


def test_a_gpu_has_contexts_and_an_allocator() -> None:
    told = Holding("gpu:0", "worker", 900, True, "m", 1, 7, 300, overhead=450)
    guessed = Holding(
        "gpu:0", "worker", 700, False, "n", 1, 8, 200, overhead=450, overhead_measured=False
    )
    cells = reconcile([Machine("gpu:0", 4000, 2000)], [told, guessed])
    assert [(c.model, c.kind, c.bytes, c.how) for c in cells] == [
        ("m", "context", 450, "measured"),
        ("m", "weights", 300, "estimated"),
        ("m", "allocator", 150, "estimated"),
        ("n", "context", 450, "estimated"),
        ("n", "weights", 200, "estimated"),
        ("n", "allocator", 50, "estimated"),
        (None, "unattributed", 400, "estimated"),
        (None, "reserved", 0, "estimated"),
        (None, "free", 2000, "measured"),
    ]


def test_what_is_not_there_yet_is_not_counted_twice() -> None:
    """A worker that still loads holds less than its weights; more is counted than is used."""
    worker = Holding("host", "worker", 100, True, "m", 1, 7, weights=400, overhead=30)
    cells = reconcile([Machine("host", 1000, 950)], [worker])
    assert [(c.kind, c.bytes) for c in cells] == [
        ("shared regions", 0),
        ("shared runtime", 0),
        ("runtime", 30),
        ("weights", 70),
        ("activations", 0),
        ("unattributed", -50),
        ("reserved", 0),
        ("free", 950),
    ]
