"""`workbench deploy`: serves on many servers of a Ray cluster, and changes them there."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from typing import TYPE_CHECKING, Any

from workbench.cli.arguments import Command, Commands, add_command, add_json
from workbench.facade import connect

if TYPE_CHECKING:
    from workbench.facade.notebook_fleet import Fleet

_ADDRESS = (
    "URL of the dashboard of the cluster's head, such as http://10.0.0.2:8265 (default: none)"
)


def add(commands: Commands) -> None:
    """Add `workbench deploy ray | status | publish | scale | rollback | resume | delete`."""
    group = commands.add_parser(
        "deploy",
        help="serve on many servers of a Ray cluster, and change them there",
        description="Serve on many servers of a Ray cluster, and change them there.",
    )
    verbs = group.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_ray(verbs)
    status = _verb(verbs, "status", "show the servers of a fleet", _status, "")
    shown = status.add_mutually_exclusive_group()
    add_json(shown)
    shown.add_argument("--token", action="store_true", help="print the callers' token alone")
    publish = _verb(verbs, "publish", "bring a new version to one server, then to all", _publish,
                    " models/new")  # fmt: skip
    publish.add_argument("path", help="a SavedModel, or a .keras file")
    publish.add_argument("--model", help="of the fleet's models (default: the first)")
    publish.add_argument("--version", type=int, help="its number (default: the next)")
    publish.add_argument(
        "--look", type=float, default=5.0, metavar="SECONDS",
        help="how long changed servers are compared with the others after each step",
    )  # fmt: skip
    scale = _verb(verbs, "scale", "change the number of servers", _scale, " 4")
    scale.add_argument("servers", type=int, help="how many")
    back = _verb(verbs, "rollback", "go back to an earlier version on all servers", _rollback, "")
    back.add_argument("--to", type=int, help="the version (default: the one before)")
    back.add_argument("--model", help="of the fleet's models (default: the first)")
    resume = _verb(verbs, "resume", "go on with a rollout that was broken off", _resume, "")
    resume.add_argument("--back", action="store_true", help="take it back instead")
    _verb(verbs, "delete", "end all servers and balancers of a fleet", _delete, "")


def _add_ray(verbs: Commands) -> None:
    one = add_command(
        verbs,
        "ray",
        "deploy what a server or a folder serves",
        _ray,
        example="workbench deploy ray digits --address http://10.0.0.2:8265 --servers 4",
    )
    one.add_argument("name", nargs="?", help="the server; default: the one started last")
    one.add_argument(
        "--folder",
        metavar="PATH",
        help="deploy the models of this folder instead of a server's (default: a server's)",
    )
    where = one.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", metavar="URL", help=_ADDRESS)
    where.add_argument(
        "--local-nodes",
        type=int,
        metavar="N",
        help="start a cluster of N nodes on this machine, which ends with this command "
        "(default: none; this or --address is required)",
    )
    one.add_argument("--fleet", metavar="NAME", help="name of the fleet (default: the server's)")
    one.add_argument("--servers", type=int, default=2, help="how many servers")
    one.add_argument("--most-servers", type=int, help="let the load decide, up to so many "
                     "(default: the number is fixed)")  # fmt: skip
    one.add_argument("--balancers", type=int, help="nodes with a balancer (default: 2)")
    one.add_argument("--port", type=int, default=8501, help="of the balancers, for REST; the two "
                     "after it are taken as well")  # fmt: skip
    one.add_argument("--grpc-port", type=int, default=8500, help="of the balancers, for gRPC")
    one.add_argument(
        "--models-folder",
        metavar="PATH",
        help="where versions are copied to that are in a server's private folder; all nodes must "
        "see it (default: the user's data folder)",
    )


def _verb(
    verbs: Commands, name: str, what: str, run: Command, example: str
) -> argparse.ArgumentParser:
    one = add_command(verbs, name, what, run, example=f"workbench deploy {name}{example}")
    one.add_argument("--fleet", metavar="NAME", help="the fleet (default: the only one)")
    return one


def _fleet(arguments: argparse.Namespace) -> Fleet:
    from workbench.facade.fleet_entrances import fleet

    return fleet(arguments.fleet, getattr(arguments, "model", None))


def _ray(arguments: argparse.Namespace) -> int:
    from workbench.core.fleet.autoscaling import ScalingRule
    from workbench.deploy.plan.plan_sources import plan_of_folder, plan_of_server
    from workbench.facade.fleet_entrances import deploy

    name, servers = arguments.fleet, arguments.servers
    if arguments.folder is None:
        plan = plan_of_server(connect(arguments.name), name=name, servers=servers)
    else:
        plan = plan_of_folder(arguments.folder, name=name, servers=servers)
    print(plan)
    most = arguments.most_servers
    fleet = deploy(
        plan,
        "ray",
        address=arguments.address,
        local_nodes=arguments.local_nodes,
        balancers=arguments.balancers,
        scaling=None if most is None else ScalingRule(min_servers=1, max_servers=most),
        ports=(arguments.port, arguments.grpc_port),
        folder=arguments.models_folder,
    )
    print(f"Fleet {fleet.name} serves at {', '.join(fleet.addresses)}")
    token = f"$(workbench deploy status --fleet {fleet.name} --token)"
    url = f"{fleet.address}/v1/models/{fleet.model}"
    print(f'  curl -H "Authorization: Bearer {token}" {url}')
    if fleet.cluster is None:
        print(f"  workbench deploy status --fleet {fleet.name}")
        return 0
    print("The cluster runs until Ctrl-C.")
    wake = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: wake.set())
    wake.wait()
    fleet.delete()
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """0 if every server serves as planned, 1 if not."""
    fleet = _fleet(arguments)
    if arguments.token:
        print(fleet.token)
        return 0
    found, orders = fleet.status(), fleet.orders
    if arguments.json:
        rows: list[dict[str, Any]] = json.loads(found.to_json(orient="records"))
        print(json.dumps({"plan": orders.plan.to_json(), "servers": rows}, indent=2))
    else:
        print(orders.plan)
        print(found.to_string(index=False) if len(found) else "no server serves")
        if orders.next is not None:
            print(
                f"revision {orders.next.revision} has reached {len(orders.next.servers)} servers, "
                "and its rollout has not ended: `workbench deploy resume`"
            )
    good = len(found) > 0 and not found["differs"].astype(bool).any() and orders.next is None
    return 0 if good else 1


def _publish(arguments: argparse.Namespace) -> int:
    from workbench.core.fleet.rollout import RolloutRule

    fleet, rule = _fleet(arguments), RolloutRule(look_s=arguments.look)
    number = fleet.publish(arguments.path, version=arguments.version, rule=rule)
    print(f"All servers serve version {number} of {fleet.model}")
    return 0


def _scale(arguments: argparse.Namespace) -> int:
    _fleet(arguments).scale(arguments.servers)
    print(f"{arguments.servers} servers serve")
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    fleet = _fleet(arguments)
    print(f"All servers serve version {fleet.rollback(arguments.to)} of {fleet.model}")
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    fleet = _fleet(arguments)
    if arguments.back:
        fleet.take_back()
    else:
        fleet.resume()
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    fleet = _fleet(arguments)
    fleet.delete()
    print(f"Fleet {fleet.name} is deleted; the folders of its models stay")
    return 0
