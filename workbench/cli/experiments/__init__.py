"""The commands that measure servers and compare versions and policies, one file each.

`result_printing` prints and draws what they find.
"""

from workbench.cli.experiments import (
    compare_transitions_command,
    compare_versions_command,
    history_command,
    load_command,
    record_traffic_command,
    sweep_command,
    tune_command,
)

COMMANDS = (
    sweep_command,
    tune_command,
    load_command,
    record_traffic_command,
    history_command,
    compare_versions_command,
    compare_transitions_command,
)

__all__ = ["COMMANDS"]
