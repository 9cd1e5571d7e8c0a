"""`Server`: a running server in the hand of a notebook or a script."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.client.asking.asker import Asker, Target
from workbench.client.asking.data_client import DataClient
from workbench.client.changing_settings import plain_setting
from workbench.client.control_client import ControlClient, model_path
from workbench.client.display import card, card_text
from workbench.client.display import memory_tables as memory
from workbench.client.display.memory_tables import Fit
from workbench.client.display.tables import table_of
from workbench.client.display.views import Versions, versions_of
from workbench.client.models.servable import SavedModelFolder, Servable, servable
from workbench.client.outcomes import Failed, Outcome
from workbench.client.publishing import fingerprint, saving
from workbench.client.warmup_recording import WarmupRecording
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import DEFAULT_SIGNATURE, Signature
from workbench.core.status import Code, ServingError, failed_precondition, invalid_argument
from workbench.core.versions.version_policy import VersionPolicy, check_version
from workbench.processes import registry
from workbench.processes.jupyter_launcher import JupyterLauncher
from workbench.processes.launcher import reap_supervisors
from workbench.processes.lifetime import wait_gone

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

EXPERIMENTS = {
    "calibrate": "workbench.experiments.simulator.calibrate",
    "compare_transitions": "workbench.experiments.transitions.compare_transitions",
    "compare_versions": "workbench.experiments.versions.compare_versions",
    "sweep": "workbench.experiments.sweep.sweep",
    "sweep_explorer": "workbench.widgets.sweep_explorer.sweep_explorer",
    "tune": "workbench.experiments.sweep.tune",
    "card": "workbench.widgets.card_widget",
    "ledger": "workbench.widgets.ledger.ledger_widget",
    "timeline": "workbench.widgets.timeline.timeline",
}
"""Methods of `Server` that are experiments or widgets: functions of that name, in these modules,
which take the server first. A client needs none of them: each is imported when it is called."""

logger = logging.getLogger(__name__)

LOAD_TIMEOUT_SECONDS = 300.0
_STOP_SECONDS = 10.0

_WAIT_STEP_SECONDS = 2.0
"""How long, at most, a version's folder is not looked at while the version is waited for."""


class Server:
    """One running server. It holds no connection that could break: it finds the server by its
    name each time, also after the server process was replaced.

    `model` names the model that methods are about where they are not told otherwise.
    """

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model
        self.outcome: Outcome | None = None
        """How `serve` came by this server; None where it was only connected to."""
        self._control = ControlClient(name)
        self._data = DataClient()
        self._asker = Asker(self._control, self._data)

    # Where it is.

    @property
    def url(self) -> str:
        """Where requests go: the model's address over REST."""
        return f"{self._control.entry().url}/v1/models/{quote(self.model, safe='')}"

    @property
    def address(self) -> str:
        """The data plane's `http://host:port`."""
        return self._control.entry().url

    @property
    def grpc_address(self) -> str | None:
        """What a gRPC channel connects to (`host:port`); the token goes into the metadata
        ``authorization: Bearer <token>``. None where the server has no gRPC."""
        return self._control.entry().grpc_address

    @property
    def token(self) -> str | None:
        """The bearer token that requests must carry; never shown by `repr`."""
        return self._control.entry().token

    @property
    def running(self) -> bool:
        return registry.read(self.name) is not None

    def status(self) -> dict[str, Any]:
        """Everything the server tells of itself and its models, as plain data."""
        about: dict[str, Any] = self._control.request("GET", "/server")
        about["models"] = self._control.request("GET", "/models")["models"]
        return about

    # Asking it.

    def predict(
        self,
        x: Any,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = DEFAULT_SIGNATURE,
        outputs: list[str] | None = None,
        model: str | None = None,
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Ask the model.

        Args:
            x: an array or (nested) list, or what numpy can read as one (a tensor, a series); a
                dictionary of them where there are several inputs; a data frame or a list of
                records, whose columns are the inputs or the features of the only one; a
                `RaggedTensor` or `SparseTensor` where the model takes one.
            version, label: which version answers; without, the highest available one.
            outputs: names of the outputs wanted; without, all.

        Returns:
            The output, or a dictionary where the signature has several. A ragged or sparse output
            is several: ``name/flat_values``, ``name/row_splits_0`` ..., or ``name/indices``,
            ``name/values`` and ``name/dense_shape``.

        Raises:
            ServingError: INVALID_ARGUMENT, `x` or `outputs` do not fit the signature: nothing was
                sent; else with the server's own code and words.
        """
        wanted = [outputs] if isinstance(outputs, str) else list(outputs or ())
        target = Target(model or self.model, version, label, signature)
        tensors = self._asker.predict(target, x, wanted)
        if len(tensors) == 1:
            return next(iter(tensors.values()))
        return tensors

    def _signature(
        self, model: str, version: int | None, label: str | None, name: str
    ) -> Signature:
        """A signature as it is now."""
        return self._asker.signature(Target(model, version, label, name))

    # Its versions.

    @property
    def versions(self) -> Versions:
        """The model's versions now, highest first, with their measured memory."""
        samples = self._control.request("GET", "/memory")["samples"]
        return versions_of(self._describe(self.model), samples)

    @property
    def base_path(self) -> Path:
        """The folder whose numbered subfolders are the model's versions."""
        return Path(self._describe(self.model)["base_path"])

    def publish(
        self,
        model: Any,
        *,
        version: int | None = None,
        wait: bool = True,
        timeout: float = LOAD_TIMEOUT_SECONDS,
    ) -> int:
        """Make `model` the next version: written beside, then renamed into place.

        Args:
            model: as `serve` takes it, except a folder of numbered versions.
            version: its number; without, one above all that the server ever had.
            wait: until it is available.

        Returns:
            The version's number.

        Raises:
            ServingError: why it could not be saved, or why it failed to load; what served
                before goes on serving then.
        """
        return self._publish(servable(model), version, wait, timeout)

    def _publish(self, model: Servable, version: int | None, wait: bool, timeout: float) -> int:
        # Whatever keeps it from being served is known before a number is given away.
        model.prepare()
        base = self.base_path
        number = check_version(self._next_version(base) if version is None else version)
        if version is not None:
            self._check_unused(version)
        path = saving.put_version(model, base, number)
        self._control.request("POST", model_path(self.model, "poll"), {"complete": [number]})
        self._remember(model, number, path)
        self.outcome = None
        if wait:
            self._wait_for(number, timeout, there=True)
        return number

    def _next_version(self, base: Path) -> int:
        """Above every number that the server ever had: what answered under it may be cached
        somewhere, or still serve though its folder is gone."""
        had = [v["version"] for v in self._describe(self.model)["versions"]]
        published = fingerprint.numbers(self._control.entry().folder, self.model)
        return saving.next_version(base, [*had, *published])

    def _check_unused(self, version: int) -> None:
        """Refuse a number under which other contents have answered."""
        for v in self._describe(self.model)["versions"]:
            if v["version"] == version and v["error"] is None:
                raise invalid_argument(
                    f"Version {version} of {self.model} was served already, though its folder is "
                    "gone: a version never changes its contents; publish the next one"
                )

    def _remember(self, model: Servable, version: int, path: Path) -> None:
        """What a version was made from, so that `serve` knows it again. Where that cannot be
        said, the version is there all the same, and is told from others by its files."""
        folder = self._control.entry().folder
        try:
            copied = isinstance(model, SavedModelFolder)
            digest = fingerprint.of_path(path) if copied else model.digest()
        except Exception:
            logger.warning("Version %s of %s has no digest", version, self.model, exc_info=True)
            digest = ""
        fingerprint.remember(folder, self.model, version, path, digest)

    def wait_for(self, version: int, timeout: float = LOAD_TIMEOUT_SECONDS) -> None:
        """Wait until a version is available.

        Raises:
            ServingError: it failed, with its own error; DEADLINE_EXCEEDED, it took too long;
                CANCELLED, its folder was taken away meanwhile.
        """
        self._wait_for(version, timeout, version in saving.version_folders(self.base_path))

    def _wait_for(self, version: int, timeout: float, there: bool) -> None:
        """`there`: whether its folder is known to have been there, however soon it is gone."""
        end = time.monotonic() + timeout
        base = self.base_path
        while True:
            left = end - time.monotonic()
            step = max(0.0, min(_WAIT_STEP_SECONDS, left))
            data = self._control.request(
                "GET",
                model_path(self.model, "wait"),
                timeout=step + 30,
                version=version,
                wait_seconds=step,
            )
            for v in data["versions"]:
                if v["version"] == version and v["error"] is not None:
                    raise ServingError(
                        Code[v["error"]["code"]],
                        f"Version {version} of {self.model} did not load: {v['error']['message']}",
                    )
                if v["version"] == version and v["state"] == "AVAILABLE":
                    return
            if there and base.is_dir() and version not in saving.version_folders(base):
                raise ServingError(
                    Code.CANCELLED,
                    f"Version {version} of {self.model} is not there any more: its folder was "
                    f"rolled back, or removed from {base}, before it was available",
                )
            if left <= 0:
                reason = data["waiting"].get(str(version), "it is still loading")
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"Version {version} of {self.model} is not available after {timeout:.0f} s: "
                    f"{reason}",
                )

    def rollback(
        self,
        version: int | None = None,
        timeout: float = LOAD_TIMEOUT_SECONDS,
        *,
        to: int | None = None,
    ) -> int:
        """Go back: move the folder of `version` (the latest) aside, as removing it would do; or
        those of all versions after `to`. Of several, `undo` brings back the latest first.

        Returns:
            The version that serves now.

        Raises:
            ServingError: FAILED_PRECONDITION, no earlier version is left to go back to;
                INVALID_ARGUMENT, there is no version `to`, or none after it.
        """
        base = self.base_path
        folders = saving.version_folders(base)
        if to is not None:
            return self._roll_back_to(base, folders, version, to, timeout)
        if version is None:
            version = max(folders, default=0)
        earlier = [v for v in folders if v != version]
        if not earlier:
            raise failed_precondition(
                f"{self.model} has no other version than {version} in {base}, so there is nothing "
                "to roll back to"
            )
        saving.roll_back(base, version)
        self.outcome = None
        self._control.request("POST", model_path(self.model, "poll"), {"complete": sorted(earlier)})
        self._wait_gone(version, timeout)
        return self._latest_available()

    def _roll_back_to(
        self,
        base: Path,
        folders: Mapping[int, Path],
        version: int | None,
        to: int,
        timeout: float,
    ) -> int:
        if version is not None:
            raise invalid_argument("Name either the version to move aside or the one to go back to")
        if to not in folders:
            raise invalid_argument(f"There is no version {to} in {base} to go back to")
        later = sorted(v for v in folders if v > to)
        if not later:
            raise invalid_argument(f"Version {to} of {self.model} is the latest already")
        # The latest goes last, so that none between is loaded for a moment.
        for each in later:
            saving.roll_back(base, each)
        self.outcome = None
        kept = sorted(v for v in folders if v <= to)
        self._control.request("POST", model_path(self.model, "poll"), {"complete": kept})
        for each in later:
            self._wait_gone(each, timeout)
        return self._latest_available()

    def undo(self, timeout: float = LOAD_TIMEOUT_SECONDS) -> int:
        """Bring back the version that was rolled back last, and wait until it is available, where
        the version policy wants it: not beside a later one, if only the latest is served."""
        version, _ = saving.undo_roll_back(self.base_path)
        self.outcome = None
        self._control.request("POST", model_path(self.model, "poll"), {"complete": [version]})
        policy = VersionPolicy.parse(self.version_policy)
        if version in policy.aspired(saving.version_folders(self.base_path)):
            self._wait_for(version, timeout, there=True)
        return version

    def _wait_gone(self, version: int, timeout: float) -> None:
        end = time.monotonic() + timeout
        done = False
        while not done:
            left = end - time.monotonic()
            if left <= 0:
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"Version {version} of {self.model} still serves after {timeout:.0f} s: no "
                    "other version has become available",
                )
            step = min(20.0, left)
            done = self._control.request(
                "GET",
                model_path(self.model, "wait"),
                timeout=step + 30,
                gone=version,
                wait_seconds=step,
            )["done"]
        # Under unload_first the one before loads only now.
        self._control.request(
            "GET",
            model_path(self.model, "wait"),
            timeout=60,
            wait_seconds=max(0.0, min(30.0, left)),
        )

    def _latest_available(self) -> int:
        available = [
            v["version"]
            for v in self._describe(self.model)["versions"]
            if v["state"] == "AVAILABLE"
        ]
        if not available:
            raise ServingError(Code.NOT_FOUND, f"No version of {self.model} is available")
        return int(max(available))

    def record_warmup(self, n: int, version: int | None = None) -> WarmupRecording:
        """Record the next `n` requests that a version (the highest) answers well, and write them
        into its folder: it will run them whenever it is loaded, before it becomes available.

        Raises:
            ServingError: INVALID_ARGUMENT, `n` is not between 1 and 1000; NOT_FOUND, there is no
                such version.
        """
        path = model_path(self.model, "warmup")
        self._control.request("POST", path, {"requests": n, "version": version})
        return WarmupRecording(lambda method: self._control.request(method, path))

    # Its settings.

    @property
    def transition(self) -> str:
        """How one version replaces another: `smooth`, `unload_first` or `staged`; the last two
        also with `+hold`, under which requests wait while no version serves. May be assigned."""
        return str(self._describe(self.model)["transition"])

    @transition.setter
    def transition(self, name: str) -> None:
        self._control.request("PATCH", model_path(self.model), {"transition": name})

    @property
    def probe(self) -> str:
        """What becomes of a version that cannot answer when each of its signatures is asked once
        before it is available: `refuse`, `warn`, or `off` (nothing is asked). May be assigned; for
        versions that are loaded from then on."""
        return str(self._describe(self.model)["probe"])

    @probe.setter
    def probe(self, mode: str) -> None:
        self._control.request("PATCH", model_path(self.model), {"probe": mode})

    @property
    def batching(self) -> BatchingParameters | None:
        """Batching as TensorFlow Serving's; None means automatic. May be assigned, also a
        dictionary of the parameters to set; takes effect at once, losing no request."""
        data = self._describe(self.model)["batching"]
        return None if data is None else BatchingParameters.from_json(data)

    @batching.setter
    def batching(self, parameters: BatchingParameters | Mapping[str, Any] | None) -> None:
        data = plain_setting("batching", parameters)
        self._control.request("PATCH", model_path(self.model), {"batching": data})
        if data is not None and data["num_batch_threads"] is not None:
            self._control.request(
                "PATCH", "/server", {"num_batch_threads": data["num_batch_threads"]}
            )

    @property
    def labels(self) -> dict[str, int]:
        """Names for versions (``{"stable": 1}``). May be assigned."""
        return dict(self._describe(self.model)["labels"])

    @labels.setter
    def labels(self, labels: Mapping[str, int]) -> None:
        self._control.request(
            "PATCH", model_path(self.model), {"labels": plain_setting("labels", labels)}
        )

    @property
    def version_policy(self) -> dict[str, Any]:
        """Which versions are served: ``{"latest": n}``, ``{"all": True}`` or
        ``{"specific": [...]}``. May be assigned, also as `serve` takes it."""
        return dict(self._describe(self.model)["version_policy"])

    @version_policy.setter
    def version_policy(self, policy: Any) -> None:
        data = plain_setting("version_policy", policy)
        self._control.request("PATCH", model_path(self.model), {"version_policy": data})

    # What it knows.

    def memory(self, by: str = "process") -> pd.DataFrame:
        """What the server holds now, in bytes.

        Args:
            by: ``"process"``: PSS and USS, measured, one row a process; ``"kind"``: the whole
                ledger, one row for each device, owner and kind of memory (weights, activations,
                reserved, free, unattributed ...), where the bytes of a device add up to all that
                it has, and `how` says of each whether it is measured or estimated.
        """
        return memory.frame(self._control, by)

    def memory_history(self, since: float = 0.0, points: int | None = None) -> pd.DataFrame:
        """Memory over time: one row a process and sample; `monotonic` is in seconds, and
        `measured` is False for what was not read exactly. With `points`, about so many rows of
        each process at most."""
        return memory.history(self._control, since, points)

    def will_it_fit(self, path: str | os.PathLike[str]) -> Fit:
        """What a SavedModel would take as the model's next version, and whether that fits, under
        each transition; nothing is loaded. True where it fits under the model's own.

        Raises:
            ServingError: INVALID_ARGUMENT, there is no SavedModel.
        """
        return memory.will_it_fit(self._control, self.model, path)

    @property
    def budget(self) -> dict[str, Any]:
        """Memory that versions may have together, by device, with what is reserved of it and
        free, in bytes. May be assigned: a number of bytes or text like ``"4 GB"`` for the host,
        or a dictionary with `host_memory_bytes` and `gpu_memory_bytes`; None stands for 90 % of
        what there is. A version that was refused and fits now is loaded."""
        return dict(self._control.request("GET", "/server")["budget"])

    @budget.setter
    def budget(self, limits: int | str | Mapping[str, Any] | None) -> None:
        self._control.request("PATCH", "/server", {"budget": memory.budget_json(limits)})

    def events(self, since: int = 0) -> pd.DataFrame:
        """What happened, oldest first: one row an event, with its log line where it has one."""
        import pandas as pd

        events = self._control.request("GET", "/events", since=since)["events"]
        columns = ["seq", "monotonic", "wall", "kind", "model", "version", "data", "line"]
        frame = table_of(events, columns)
        frame["time"] = pd.to_datetime(frame["wall"], unit="s", utc=True)
        return frame

    # Its end.

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """End the server and all that belongs to it; requests in progress are answered.

        Stopping a server that has ended already does nothing.
        """
        self._data.close()
        entry = registry.read(self.name)
        if entry is None:
            return
        if not self._shut_kernel_down(entry):
            try:
                self._control.request("POST", "/shutdown")
            except ServingError:
                # The server process may be dead just now; its supervisor ends all the same.
                entry.supervisor.kill(signal.SIGTERM)
        end = time.monotonic() + timeout
        while registry.read(self.name) is not None and time.monotonic() < end:
            time.sleep(0.02)
        if registry.read(self.name) is not None:
            entry.server.kill()
            entry.supervisor.kill(signal.SIGTERM)
        if entry.keeper is None and entry.supervisor.pid != os.getpid():
            wait_gone(entry.supervisor, timeout)
        reap_supervisors()

    def _shut_kernel_down(self, entry: registry.Entry) -> bool:
        """Ask Jupyter to end the serving kernel, which it would start again otherwise."""
        if entry.kernel_id is None or entry.keeper is None:
            return False
        try:
            JupyterLauncher.of_server(entry.keeper.pid).shut_down(entry.kernel_id)
        except ServingError:
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        # Experiments (`server.sweep(...)`) stand above the client and are imported when used.
        if name not in EXPERIMENTS:
            raise AttributeError(f"'Server' object has no attribute {name!r}")
        return MethodType(getattr(import_module(EXPERIMENTS[name]), name), self)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *EXPERIMENTS])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        entry = registry.read(self.name)
        if entry is None:
            return f"<Server {self.name}: stopped>"
        try:
            versions = self._describe(self.model)["versions"]
        except ServingError as error:
            return f"<Server {self.name} at {entry.url}: {error}>"
        states = ", ".join(f"{v['version']} {v['state']}" for v in versions) or "no versions"
        came = "" if self.outcome is None else f"; {self.outcome.brief}"
        return f"<Server {self.name} at {entry.url}: {self.model} {states}{came}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        try:
            printer.text(self._drawn(card_text.server_text))
        except ServingError:
            printer.text(repr(self))

    def _ipython_display_(self) -> None:
        # The live card stands above the client, as experiments do.
        import_module("workbench.widgets.card_widget").show(self)

    def _repr_html_(self) -> str:
        if not self.running:
            return card.stopped_card(self.name)
        try:
            return self._drawn(card.server_card)
        except ServingError as error:
            return Failed(self.name, error)._repr_html_()

    def _drawn(self, draw: Callable[..., str]) -> str:
        samples = self._control.request("GET", "/memory")["samples"]
        models = self._control.request("GET", "/models")["models"]
        shown = [(about, versions_of(about, samples)) for about in models]
        return draw(self.name, self._control.entry().url, shown, self.outcome)

    def _describe(self, model: str) -> dict[str, Any]:
        data: dict[str, Any] = self._control.request("GET", model_path(model))
        return data
