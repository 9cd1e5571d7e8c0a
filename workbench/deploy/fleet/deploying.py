"""Deploys a plan on a Ray cluster, and waits until the fleet serves."""

from __future__ import annotations

import filecmp
import os
import secrets
import shutil
import time
from dataclasses import replace
from pathlib import Path

from workbench.client.publishing.saving import version_folders
from workbench.core.status import Code, ServingError, failed_precondition, invalid_argument
from workbench.deploy.fleet.fleet_client import FleetClient
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.fleet_record import FleetRecord, read_record, record_names
from workbench.deploy.fleet.rolling import Note
from workbench.deploy.fleet.serve_config import (
    Placement,
    applications,
    balancers_name,
    check_room,
    servers_name,
)
from workbench.deploy.node.fleet_secret import new_secret
from workbench.deploy.plan.plan import Plan
from workbench.deploy.remote.ray_head import RayHead, message_of, reason_of
from workbench.processes import paths

DEPLOY_SECONDS = 300.0
_PAUSE_SECONDS = 0.5
_KNOWN_SECONDS = 2.0
_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


def deploy(
    plan: Plan,
    address: str,
    *,
    token: str | None = None,
    placement: Placement | None = None,
    fewer_balancers: bool = False,
    folder: str | os.PathLike[str] | None = None,
    timeout: float = DEPLOY_SECONDS,
    note: Note = lambda line: None,
) -> FleetClient:
    """Deploy a fleet, and return it when all its servers serve.

    Args:
        address: the URL of the head's dashboard, such as ``http://10.0.0.2:8265``.
        token: of the cluster; by default that of the environment variable ``RAY_AUTH_TOKEN``.
        placement: how many servers on a node, how many balancers, their ports, the scaling rule.
        fewer_balancers: take fewer balancers if the cluster has fewer nodes, instead of refusing.
        folder: where the versions are copied to, if the models are in the private folder of a
            server of this machine; every node must see it under this path.
        note: called with a line for each step.

    Raises:
        ServingError: ALREADY_EXISTS, the cluster has a fleet of that name; UNAVAILABLE, the head
            does not answer; FAILED_PRECONDITION, too few nodes for so many servers;
            DEADLINE_EXCEEDED or FAILED_PRECONDITION, with what Ray says.
    """
    token = token or os.environ.get("RAY_AUTH_TOKEN") or None
    head = RayHead(address, token)
    version, nodes = head.version(), len(head.nodes())
    note(f"the cluster has Ray {version} and {nodes} nodes")
    if servers_name(plan.name) in head.applications():
        raise ServingError(
            Code.ALREADY_EXISTS,
            f"The cluster has a fleet named {plan.name!r}: delete it first, or publish to it",
        )
    placement = placement or Placement()
    if fewer_balancers:
        placement = replace(placement, balancers=min(placement.balancers, nodes))
    if placement.balancers > nodes:
        raise invalid_argument(
            f"{placement.balancers} balancers need as many nodes, and the cluster has {nodes}; ask "
            "for fewer balancers"
        )
    servers = placement.servers_at_first(plan.servers)
    check_room(servers, placement.servers_a_node, nodes)
    plan = _shared(plan, folder, note)
    secret = new_secret()
    record = FleetRecord(
        plan.name,
        head.address,
        token,
        secret,
        (),
        placement.rest_port,
        placement.grpc_port,
        placement.agent_port,
    )
    record.write()
    orders = Orders(1, plan).noted(time.time(), "deployed", revision=1, servers=servers)
    head.deploy(applications(orders, placement, secret))
    fleet = FleetClient(record, note=note)
    _wait(fleet, head, servers, timeout, note)
    # Those that were found first may have been the only ones that ran.
    note(f"callers ask {', '.join(fleet.addresses)}")
    return fleet


def check_unknown(name: str, address: str | None) -> None:
    """Check that this user has no fleet of that name on another cluster.

    Args:
        address: of the cluster that it is for; None: of one that will be started.

    Raises:
        ServingError: ALREADY_EXISTS, such a fleet answers: its record would be lost.
    """
    if name not in record_names():
        return
    record = read_record(name)
    if address is not None and record.address == address.rstrip("/"):
        return
    try:
        found = RayHead(record.address, record.token, _KNOWN_SECONDS).applications()
    except ServingError:
        return  # The cluster of a program that has ended does not answer.
    if servers_name(name) in found:
        raise ServingError(
            Code.ALREADY_EXISTS,
            f"A fleet named {name!r} runs at {record.address}: delete it first "
            f"(wb.fleet({name!r}).delete()), publish to it, or give this one another name",
        )


def _wait(fleet: FleetClient, head: RayHead, servers: int, timeout: float, note: Note) -> None:
    names = servers_name(fleet.name), balancers_name(fleet.name)
    end, said = time.monotonic() + timeout, ""
    known: set[str] = set()
    while True:
        found = head.applications()
        apps = [found.get(name, {}) for name in names]
        failed = next((app for app in apps if app.get("status") in _FAILED), None)
        if failed is not None:
            raise failed_precondition(
                f"Ray could not start fleet {fleet.name!r}: {reason_of(failed)}"
            )
        serving = _serving(fleet)
        line = f"{serving} of {servers} servers serve"
        if line != said:
            note(line)
            said = line
        for app in apps:
            reason = message_of(app)
            # The figures in a message change from look to look.
            if reason and app.get("status") != "RUNNING" and reason[:60] not in known:
                known.add(reason[:60])
                note(f"Ray says: {reason}")
        if serving >= servers and all(app.get("status") == "RUNNING" for app in apps):
            return
        if time.monotonic() > end:
            waiting = next((a for a in apps if a.get("status") != "RUNNING"), apps[0])
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"Fleet {fleet.name!r} does not serve after {timeout:.0f} s: {reason_of(waiting)}. "
                f"`workbench deploy delete --fleet {fleet.name}` removes it",
            )
        time.sleep(_PAUSE_SECONDS)


def _serving(fleet: FleetClient) -> int:
    try:
        return len(fleet.find())
    except ServingError:
        return 0


def _shared(plan: Plan, folder: str | os.PathLike[str] | None, note: Note) -> Plan:
    """The plan with models in folders that outlive the server they came from."""
    private = paths.runtime_folder()
    root = Path(folder or _models_folder(plan.name)).expanduser().absolute()
    for model in plan.models:
        base = Path(model.config.base_path)
        if folder is None and private not in base.parents:
            continue
        target = root / model.name
        note(f"copying {model.name} to {target}")
        for version, source in version_folders(base).items():
            if version in model.versions:
                _copy(source, target / str(version))
        plan = plan.with_model(replace(model, config=replace(model.config, base_path=str(target))))
    return plan


def _copy(source: Path, target: Path) -> None:
    """Copy a version so that its folder is complete when it appears under its name.

    Raises:
        ServingError: ALREADY_EXISTS, the folder has another version of that number.
    """
    if target.exists():
        if _same_files(source, target):
            return
        raise ServingError(
            Code.ALREADY_EXISTS,
            f"{target} holds another model than version {target.name} of this server: name another "
            "folder, or remove that one",
        )
    beside = target.with_name(f".{target.name}.copying")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside)
    beside.rename(target)


def _same_files(one: Path, other: Path) -> bool:
    """Whether two folders have the same files, byte by byte."""
    names = {p.relative_to(one) for p in one.rglob("*") if p.is_file()}
    if names != {p.relative_to(other) for p in other.rglob("*") if p.is_file()}:
        return False
    return all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def _models_folder(fleet: str) -> Path:
    """A new folder: an earlier fleet of that name may have left other models behind."""
    from jupyter_core.paths import jupyter_data_dir

    name = f"{fleet}-{secrets.token_hex(4)}"
    return Path(jupyter_data_dir()) / "workbench" / "fleet-models" / name
