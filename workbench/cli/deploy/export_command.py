"""`workbench export`: writes what a server or a folder serves as files for other engines."""

from __future__ import annotations

import argparse

from workbench.cli.arguments import Commands, add_command, given, meaning
from workbench.deploy.export.export_options import EXPORT_OPTIONS, ExportOptions
from workbench.facade import connect

_DEFAULT_SERVERS = 2


def add(commands: Commands) -> None:
    """Add `workbench export DIR [NAME]`."""
    one = add_command(
        commands,
        "export",
        "write files for TensorFlow Serving, compose, Kubernetes, KServe and Ray",
        _run,
        example="workbench export out digits --servers 3 --copy-models",
    )
    option = {name: meaning(declared) for name, declared in EXPORT_OPTIONS.items()}
    one.add_argument("dir", help="the folder to write: a new or empty one, or an earlier export")
    one.add_argument("name", nargs="?", help="the server; default: the one started last")
    one.add_argument(
        "--folder",
        metavar="PATH",
        help="export the models of this folder instead of a server: numbered versions, a folder "
        "for each model, or a models.config (default: a server)",
    )
    one.add_argument("--fleet", metavar="NAME", help="name of the fleet (default: the server's)")
    one.add_argument(
        "--servers", type=int, default=_DEFAULT_SERVERS, help="how many servers there will be"
    )
    one.add_argument(
        "--most-servers", type=int, help=f"{option['most_servers']} (default: three times)"
    )
    images = (
        ("image", ExportOptions.image),
        ("workbench_image", "none"),
        ("model_image", "the fleet's name"),
        ("prometheus_image", ExportOptions.prometheus_image),
        ("grafana_image", ExportOptions.grafana_image),
    )
    for name, default in images:
        flag = f"--{name.replace('_', '-')}"
        one.add_argument(flag, metavar="IMAGE", help=f"{option[name]} (default: {default})")
    for name in ("pin_versions", "copy_models"):
        one.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=option[name])


def _run(arguments: argparse.Namespace) -> int:
    # Only this command pays for the libraries of files.
    from workbench.deploy.export.export_folder import export_plan
    from workbench.deploy.plan.plan_sources import plan_of_folder, plan_of_server

    options = ExportOptions(**given(arguments, *EXPORT_OPTIONS))
    name, servers = arguments.fleet, arguments.servers
    if arguments.folder is None:
        plan = plan_of_server(connect(arguments.name), name=name, servers=servers)
    else:
        plan = plan_of_folder(arguments.folder, name=name, servers=servers)
    print(export_plan(plan, arguments.dir, options))
    return 0
