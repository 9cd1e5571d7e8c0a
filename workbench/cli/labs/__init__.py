"""The commands for learning: JupyterLab with the labs, their list, and a demonstration."""

from workbench.cli.labs import demo_command, lab_command, labs_command

COMMANDS = (demo_command, lab_command, labs_command)

__all__ = ["COMMANDS"]
