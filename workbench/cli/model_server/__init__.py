"""`workbench model-server`, with the flags of `tensorflow_model_server`.

`flag_table` declares the flags, `flag_reading` reads a command line, `flag_options` makes server
options of it, and `foreground` supervises the server. `model_server_command` is the command.
"""

from workbench.cli.model_server import model_server_command

COMMANDS = (model_server_command,)

__all__ = ["COMMANDS"]
