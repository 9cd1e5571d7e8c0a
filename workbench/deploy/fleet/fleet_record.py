"""Where a fleet is, kept for the next notebook, terminal or script of this user.

One private file for each fleet: it holds the cluster's token and the fleet's secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.core.status import not_found
from workbench.deploy.node.fleet_secret import FleetTokens, tokens_of
from workbench.processes.paths import check_name, make_private, write_private


@dataclass(frozen=True)
class FleetRecord:
    """One fleet. Its `repr` shows no secret.

    Attributes:
        address: the URL of the cluster's head.
        token: of the cluster; None if it asks for none.
        secret: of the fleet (`fleet_secret`).
        balancers: the hosts whose balancers were known last.
        rest_port, grpc_port, agent_port: of each balancer.
    """

    name: str
    address: str
    token: str | None = field(repr=False)
    secret: str = field(repr=False)
    balancers: tuple[str, ...] = ()
    rest_port: int = 8501
    grpc_port: int = 8500
    agent_port: int = 8503

    @property
    def tokens(self) -> FleetTokens:
        """The tokens of the fleet."""
        return tokens_of(self.secret, self.name)

    def write(self) -> None:
        """Keep the record."""
        path = _path(self.name)
        make_private(path.parent)
        write_private(path, json.dumps(vars(self)).encode())

    def remove(self) -> None:
        """Forget the fleet."""
        _path(self.name).unlink(missing_ok=True)


def read_record(name: str | None = None) -> FleetRecord:
    """The record of a fleet, by default of the only one.

    Raises:
        ServingError: NOT_FOUND, with the fleets that are known.
    """
    known = record_names()
    if name is None and len(known) == 1:
        name = known[0]
    if name is None or name not in known:
        named = "No fleet is known" if name is None else f"No fleet named {name!r} is known here"
        if known:
            named = f"{named if name else 'Several fleets are known'}: {', '.join(known)}"
        raise not_found(f"{named}; `workbench deploy ray NAME --address URL` deploys one")
    data: dict[str, Any] = json.loads(_path(name).read_bytes())
    return FleetRecord(**{**data, "balancers": tuple(data["balancers"])})


def record_names() -> list[str]:
    """The names of the fleets that are known here."""
    folder = _folder()
    return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []


def _folder() -> Path:
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "workbench" / "fleets"


def _path(name: str) -> Path:
    return _folder() / f"{check_name(name)}.json"
