"""`workbench model-server`: serves as `tensorflow_model_server` does, with its flags.

One supervisor runs in the foreground. The server process and the workers are its children and end
with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata

import workbench
from workbench.cli.arguments import Commands
from workbench.core.status import ServingError

_EXIT_REFUSED = 255


def add(commands: Commands) -> None:
    """Add `workbench model-server --FLAG=VALUE ...`."""
    one = commands.add_parser(
        "model-server",
        help="serve as tensorflow_model_server does, with its flags",
        # Every argument is passed on: `read_flags` knows them.
        prefix_chars="\0",
        add_help=False,
    )
    one.add_argument("flags", nargs="*")
    one.set_defaults(command=lambda arguments: model_server(arguments.flags))


def model_server(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; returns 0 then, and 255 if the server cannot start."""
    # Only this command imports the server's code.
    from workbench.cli.model_server.flag_options import server_options
    from workbench.cli.model_server.flag_reading import read_flags, usage
    from workbench.cli.model_server.foreground import run
    from workbench.processes.server_options import StartRequest
    from workbench.server.supervision.supervisor import Supervisor

    if "--help" in arguments:
        print(usage(), end="")
        return 0
    try:
        values, remarks = read_flags(arguments)
        for remark in remarks:
            print(remark, file=sys.stderr)
        if values["version"]:
            print(f"TensorFlow ModelServer: serving-workbench {workbench.__version__}")
            print(f"TensorFlow Library: {metadata.version('tensorflow')}")
            return 0
        return run(Supervisor(StartRequest(server_options(values))))
    except ServingError as error:
        print(f"Failed to start server. Error: {error.code.name}: {error.message}", flush=True)
        return _EXIT_REFUSED
