"""The commands that take models beyond one machine, one file each."""

from workbench.cli.deploy import deploy_command, export_command

COMMANDS = (export_command, deploy_command)

__all__ = ["COMMANDS"]
