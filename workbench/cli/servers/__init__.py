"""The commands that start servers, ask them, and stop them, one file each."""

from workbench.cli.servers import (
    fit_command,
    list_command,
    predict_command,
    serve_command,
    status_command,
    stop_command,
)

COMMANDS = (
    serve_command,
    list_command,
    status_command,
    predict_command,
    fit_command,
    stop_command,
)

__all__ = ["COMMANDS"]
