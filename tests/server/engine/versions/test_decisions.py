"""The server decides exactly as a table that is stepped by hand."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.engine.versions.test_model import found
from workbench.core.events import EventLog
from workbench.core.model_settings import ModelConfig
from workbench.core.status import ServingError
from workbench.core.versions.policies import TRANSITIONS, Act, Version
from workbench.core.versions.reconcile import reconcile
from workbench.core.versions.states import Harness, HarnessState, ServableId
from workbench.core.versions.table import EDITABLE, PolicyTable
from workbench.server.engine.versions.decisions import Decisions
from workbench.server.engine.versions.directory import Directory, view_of
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model, Served

S = HarnessState
NUMBERS = range(1, 5)


class FakeExecution:
    """Begins the actions, and notes them; time passes only when the test says so."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int]] = []
        states = {
            Act.LOAD: S.LOADING,
            Act.STAGE: S.STAGING,
            Act.UNLOAD: S.QUIESCING,
            Act.CANCEL: S.UNLOADING,
        }
        self.begin = {act: partial(self._begin, act, state) for act, state in states.items()}

    def refuse(self, model: Model, served: Served, error: ServingError | None, /) -> None:
        raise AssertionError("there is room for everything")

    def _begin(self, act: Act, state: HarnessState, model: Model, served: Served) -> None:
        self.taken.append((act.value, served.id.version))
        served.harness.state = state


class FakeReservations:
    """There is memory for everything."""

    def refusal(self, model: Model, served: Served) -> None:
        return None

    def release(self, served: Served) -> None:
        pass


class Fakes:
    """A model whose versions are decided about by the server's loop."""

    def __init__(self, table: list[Version], transition: str) -> None:
        self.execution = FakeExecution()
        directory = Directory()
        shared = Shared(
            events=EventLog(lambda: (0.0, 0.0)),
            directory=directory,
            loader=cast(Any, None),
            scheduler=cast(Any, None),
            reservations=cast(Any, FakeReservations()),
            decide=lambda model: None,
            freed=lambda model: None,
        )
        self.decisions = Decisions(shared, cast(Any, self.execution))
        self.model = directory.models["m"] = Model(ModelConfig("m", "/models/m"))
        self.set_transition(transition)
        for row in table:
            self.put(row)

    def set_transition(self, transition: str) -> None:
        self.model.config = ModelConfig("m", "/models/m", transition=transition)

    def put(self, row: Version) -> None:
        served = self.model.versions.get(row.version)
        if served is None:
            served = Served(Harness(ServableId("m", row.version)), found(row.version))
            self.model.versions[row.version] = served
        served.harness.state, served.harness.aspired = row.state, row.aspired

    def decide(self) -> list[tuple[str, int]]:
        self.execution.taken = []
        self.decisions.decide(self.model)
        return self.execution.taken


def by_hand(table: PolicyTable) -> list[tuple[str, int]]:
    """Step until only time would change anything; the actions, but for what is forgotten."""
    taken = []
    while reconcile(list(table.rows.values()), table.transition):
        act, _, rest = table.step().why.partition(" ")
        if act != "forget":
            taken.append((act, int(rest.partition(":")[0])))
    return taken


rows = st.builds(
    Version,
    st.sampled_from(NUMBERS),
    st.sampled_from(EDITABLE),
    st.booleans(),
    refused=st.just(False),
)
transitions = st.sampled_from(sorted(TRANSITIONS))
events = st.one_of(
    rows,  # somebody edits a row: a folder appears or disappears, a load ends or fails
    transitions,
    st.none(),  # time passes: something that has begun goes on
)


@settings(max_examples=300, deadline=None)
@given(
    table=st.lists(rows, max_size=4, unique_by=lambda row: row.version),
    transition=transitions,
    changes=st.lists(events, max_size=8),
)
def test_the_server_decides_as_the_table_does(
    table: list[Version], transition: str, changes: list[Version | str | None]
) -> None:
    async def compare() -> None:
        server, stepped = Fakes(table, transition), PolicyTable(table, transition)
        for change in [transition, *changes]:
            if isinstance(change, Version):
                server.put(change)
                stepped.rows[change.version] = change
            elif isinstance(change, str):
                server.set_transition(change)
                stepped.transition = change
            else:
                step = stepped.step()
                assert step.by == "time"
                if step.version is not None:
                    server.put(stepped.rows[step.version])
            assert server.decide() == by_hand(stepped)
            assert view_of(server.model) == list(stepped.rows.values())

    asyncio.run(compare())
