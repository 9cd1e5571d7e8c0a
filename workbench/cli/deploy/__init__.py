"""The commands that take models beyond one machine, one file each."""

from workbench.cli.deploy import export_command

COMMANDS = (export_command,)

__all__ = ["COMMANDS"]
