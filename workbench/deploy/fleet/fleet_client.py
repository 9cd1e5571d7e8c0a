"""`FleetClient`: a fleet in the hands of a program, with the verbs of a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.client.asking.data_client import Target
from workbench.client.models.servable import servable
from workbench.client.publishing import interface, saving
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.fleet.rollout import RolloutRule
from workbench.core.signature import DEFAULT_SIGNATURE, Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.versions.version_policy import check_version
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.fleet_record import read_record
from workbench.deploy.fleet.fleet_reports import FleetReports
from workbench.deploy.fleet.serve_config import balancers_name, check_room, servers_name
from workbench.deploy.plan.plan import PlannedModel
from workbench.deploy.remote.ray_head import reason_of

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = RolloutRule(look_s=0.0, growth=1000.0)
"""Back to what served before: one server after the other, without a look at each step."""
_SCALE_SECONDS = 300.0
_DELETE_SECONDS = 60.0


class FleetClient(FleetReports):
    """A fleet of servers behind balancers, all of which serve the same plan.

    Every change is declared to the cluster and brought to one server first; see `RolloutRule`. What
    is asked goes to a balancer; if it does not answer, to the next one.

    Attributes:
        note: called with a line for each step of a change.
    """

    _noted: int | None = None

    # Asking.

    def predict(
        self,
        x: Any,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = DEFAULT_SIGNATURE,
        outputs: list[str] | None = None,
        model: str | None = None,
        check_shapes: bool = True,
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Ask the model, through a balancer; see `Server.predict`.

        Raises:
            ServingError: as `Server.predict`; UNAVAILABLE, no balancer answers.
        """
        wanted = [outputs] if isinstance(outputs, str) else list(outputs or ())
        target = Target(model or self.model, version, label, signature)
        tries = max(len(self._servers.record.balancers), 1)
        for left in range(tries - 1, -1, -1):
            try:
                tensors = self._asker.predict(target, x, wanted, check_shapes=check_shapes)
                return next(iter(tensors.values())) if len(tensors) == 1 else tensors
            except ServingError as error:
                if error.code is not Code.UNAVAILABLE or not left:
                    raise
                self._control.next_balancer()
        raise AssertionError("unreachable")

    def signature(
        self,
        name: str = DEFAULT_SIGNATURE,
        *,
        version: int | None = None,
        label: str | None = None,
        model: str | None = None,
    ) -> Signature:
        """A signature of the model; see `Server.signature`."""
        return self._asker.signature(Target(model or self.model, version, label, name))

    # Versions.

    @property
    def base_path(self) -> Path:
        """The folder whose numbered subfolders are the model's versions, on every node."""
        return Path(self.plan.model(self.model).config.base_path)

    def publish(
        self,
        model: Any,
        *,
        version: int | None = None,
        rule: RolloutRule | None = None,
        allow_signature_change: bool = False,
    ) -> int:
        """Make `model` the next version of the fleet: write it into the model's folder, bring it to
        one server, look at it there, then bring it to the others.

        Args:
            model: as `Server.publish` takes it.
            version: its number; by default one above all that are there.
            rule: how fast it goes, and what stops it.
            allow_signature_change: also if it breaks the callers of the version that serves.

        Returns:
            The version's number.

        Raises:
            SignatureChange: FAILED_PRECONDITION, it would break them; nothing was published.
            ServingError: ABORTED, the rollout was taken back, with the reason; every server serves
                what it served before. Or it could not be saved.
        """
        given = servable(model)
        given.prepare()
        planned = self.plan.model(self.model)
        base = Path(planned.config.base_path)
        if version is None:
            version = saving.next_version(base, planned.versions)
        number = check_version(version)
        about = self._control.describe_model(self.model)
        check = None if allow_signature_change else interface.check_against(about, number)
        saving.put_version(given, base, number, check)
        self.serve_versions(_with_newest(planned, number), rule=rule)
        return number

    def serve_versions(
        self,
        versions: list[int] | tuple[int, ...],
        *,
        labels: Mapping[str, int] | None = None,
        rule: RolloutRule | None = None,
    ) -> None:
        """Serve exactly these versions, whose folders are there already.

        Args:
            labels: by default those of now whose versions still serve.

        Raises:
            ServingError: as `publish`.
        """
        plan = self.plan
        planned = plan.model(self.model)
        if labels is None:
            labels = {n: v for n, v in planned.config.labels.items() if v in versions}
        changed = planned.with_versions(tuple(versions), labels)
        what = f"{self.model} serves {', '.join(map(str, sorted(versions)))}"
        self._rolling.roll(plan.with_model(changed), rule or RolloutRule(), what)

    def rollback(self, to: int | None = None) -> int:
        """Go back to an earlier version on all servers. The folders of the later ones stay.

        Args:
            to: the version; by default those of the plan before, or the highest earlier one.

        Returns:
            The highest version that serves now.

        Raises:
            ServingError: INVALID_ARGUMENT, there is no such version, or no earlier one.
        """
        orders = self.orders
        planned = orders.plan.model(self.model)
        there = saving.version_folders(Path(planned.config.base_path))
        wanted = [to] if to is not None else _earlier(orders, planned, list(there))
        missing = [v for v in wanted if v not in there]
        if missing or not wanted:
            known = ", ".join(map(str, there)) or "there are none"
            raise invalid_argument(
                f"{self.model} has no version {missing[0] if missing else 'before this one'} to go "
                f"back to; its folder has {known}"
            )
        self.serve_versions(wanted, rule=_AT_ONCE)
        return max(wanted)

    def resume(self, rule: RolloutRule | None = None) -> None:
        """Go on with a rollout that was broken off, because the process that drove it ended.

        Raises:
            ServingError: FAILED_PRECONDITION, there is none; ABORTED, it was taken back.
        """
        self._rolling.resume(rule or RolloutRule())

    def take_back(self) -> None:
        """Take a rollout back that was broken off; raises FAILED_PRECONDITION if there is none."""
        self._rolling.take_back("somebody took it back")

    # Settings.

    @property
    def labels(self) -> dict[str, int]:
        """Names for versions. May be assigned."""
        return dict(self.plan.model(self.model).config.labels)

    @labels.setter
    def labels(self, labels: Mapping[str, int]) -> None:
        self._set(labels=dict(labels))

    @property
    def batching(self) -> BatchingParameters | None:
        """TensorFlow Serving's batching parameters; None means automatic. May be assigned."""
        return self.plan.model(self.model).config.batching

    @batching.setter
    def batching(self, parameters: BatchingParameters | Mapping[str, Any] | None) -> None:
        self._set(batching=parameters)

    @property
    def transition(self) -> str:
        """How one version replaces another in each server. May be assigned."""
        return self.plan.model(self.model).config.transition

    @transition.setter
    def transition(self, name: str) -> None:
        self._set(transition=name)

    def _set(self, **settings: Any) -> None:
        plan = self.plan
        planned = plan.model(self.model)
        changed = replace(planned, config=replace(planned.config, **settings))
        what = ", ".join(f"{name} of {self.model} changes" for name in settings)
        self._rolling.roll(plan.with_model(changed), RolloutRule(), what)

    # Size and end.

    def scale(self, servers: int, *, wait: bool = True, timeout: float = _SCALE_SECONDS) -> None:
        """Change the number of servers.

        Args:
            wait: until so many serve. Without, there may be more than the nodes have place for:
                they start on nodes that come later.

        Raises:
            ServingError: INVALID_ARGUMENT, fewer than one; FAILED_PRECONDITION, they have no place;
                DEADLINE_EXCEEDED, they do not serve in time, with what Ray says.
        """
        orders, app = self._rolling.read()
        if "autoscaling_config" in app["deployments"][0]:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"The load decides how many servers fleet {self.name!r} has: deploy it without a "
                "scaling rule to decide it by hand",
            )
        plan = replace(orders.plan, servers=servers)
        if wait:
            servers_a_node = app["deployments"][0].get("max_replicas_per_node") or servers
            check_room(servers, servers_a_node, len(self.head.nodes()))
        changed = replace(orders, plan=plan).noted(time.time(), "scaled", servers=servers)
        self._rolling.write(changed, num_replicas=servers)
        self.note(f"{servers} servers wanted")
        if wait:
            self._wait_until(lambda: self._serving() == servers, timeout, f"{servers} servers")

    def _serving(self) -> int:
        found = len(self._servers.find(True))
        if found != self._noted:
            self.note(f"{found} servers serve")
            self._noted = found
        return found

    def _wait_until(self, reached: Callable[[], bool], timeout: float, what: str) -> None:
        end = time.monotonic() + timeout
        while not reached():
            if time.monotonic() > end:
                app = self.head.applications().get(servers_name(self.name), {})
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"Fleet {self.name!r} does not have {what} after {timeout:.0f} s: "
                    f"{reason_of(app)}",
                )
            time.sleep(0.25)

    def delete(self, timeout: float = _DELETE_SECONDS) -> None:
        """End all servers and balancers of the fleet. The folders of its models stay."""
        names = servers_name(self.name), balancers_name(self.name)
        self._data.close()
        self.head.delete(*names)
        self._wait_until(
            lambda: not set(names) & self.head.applications().keys(), timeout, "no process"
        )
        self._servers.record.remove()

    def __repr__(self) -> str:
        return f"<Fleet {self.name} at {self._servers.record.address}>"


def _with_newest(planned: PlannedModel, number: int) -> list[int]:
    """The versions that serve after one more: as many as now, the latest of them."""
    return sorted({*planned.versions, number})[-max(len(planned.versions), 1) :]


def _earlier(orders: Orders, planned: PlannedModel, there: list[int]) -> list[int]:
    """The versions to go back to: those of the plan before if they are earlier ones."""
    if orders.previous is not None:
        before = list(orders.previous.model(planned.name).versions)
        if max(before, default=0) < max(planned.versions, default=0):
            return before
    return sorted(v for v in there if v < min(planned.versions, default=0))[-1:]


def connect_fleet(name: str | None = None) -> FleetClient:
    """A fleet that was deployed before; by default the only one.

    Raises:
        ServingError: NOT_FOUND, with the fleets that are known here.
    """
    return FleetClient(read_record(name))
