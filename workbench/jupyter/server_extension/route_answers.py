"""The types of the routes' answers; `jupyter.typescript` gives them to the page."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from workbench.client.control_answers import LogEvent, ModelDescription
from workbench.experiments.store.store import Experiment, RunningExperiment
from workbench.samples import labs


class Version(TypedDict):
    """A version in the list of servers.

    Attributes:
        error: why it failed to load; null where it did not.
        memory_bytes: its private memory (USS); null if it was not measured.
    """

    version: int
    state: str
    error: str | None
    memory_bytes: int | None


class Model(TypedDict):
    """A model in the list of servers.

    Attributes:
        versions: highest first.
    """

    name: str
    versions: list[Version]


class _Server(TypedDict):
    name: str
    url: str
    kernel_id: str | None
    state: Literal["running", "unreachable", "dead"]
    memory_bytes: int | None
    budget_bytes: int | None
    requests_per_second: float
    models: list[Model]


class Server(_Server, total=False):
    """A server in the list of servers.

    Attributes:
        url: the data plane's address; requests to it need a token that is not sent to the page.
        kernel_id: the Jupyter kernel that supervises it; null where none does.
        state: the supervisor of an unreachable one restarts it; a dead one was killed with its own.
        memory_bytes: of all its processes (PSS); null where that is not known.
        budget_bytes: the host memory for all of its versions; null where that is not known.
        requests_per_second: since the last poll.
        cannot_restart: of a dead one: why it cannot be started again; null where it can.
    """

    cannot_restart: str | None


class _Done(TypedDict):
    message: str


class Done(_Done, total=False):
    """The outcome in a sentence.

    Attributes:
        name: of the server that was started.
        path: the absolute path of the folder that was published.
    """

    name: str
    path: str


class Folder(TypedDict):
    """A folder of the user's files, and the versions that can be served from it.

    Attributes:
        kind: `versions` is a folder of numbered versions.
        name: a possible name for its server.
        foreign: why the folder may not be the user's own; null if it is.
    """

    kind: Literal["saved_model", "versions"] | None
    name: str
    versions: list[int]
    foreign: str | None


class ModelAbout(ModelDescription):
    """A model's address, and code that sends it requests, by language."""

    address: str
    snippets: dict[str, str]


class Ledger(TypedDict):
    """The memory of each device by owner."""

    devices: list[dict[str, Any]]
    notes: list[str]


class Log(TypedDict):
    """A part of a server's event log.

    Attributes:
        missed: the number of events that were left out before these.
    """

    last_seq: int
    missed: int
    events: list[LogEvent]


class Experiments(TypedDict):
    """The experiments of all models, or of one.

    Attributes:
        experiments: the saved ones, latest first.
        running: oldest first.
    """

    experiments: list[Experiment]
    running: list[RunningExperiment]


class Lab(TypedDict):
    """A lab and the user's progress in it.

    Attributes:
        name: the file's name, which begins with the lab's number.
        idea: in a few words; empty where there are none.
        path: where the user has it; null where it was never opened.
        state: how far it was run, according to its saved outputs.
    """

    name: str
    title: str
    idea: str
    path: str | None
    state: labs.State
