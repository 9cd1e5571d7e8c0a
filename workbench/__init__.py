"""Serving Workbench: serve, measure and teach models from JupyterLab.

import workbench as wb
server = wb.serve(model, name="digits")
server.predict(x)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# It registers what shows results in a notebook, and imports no widget.
from workbench import widgets  # noqa: F401
from workbench.core import status

if TYPE_CHECKING:
    from workbench.core.batching.parameters import BatchingParameters
    from workbench.core.status import ServingError
    from workbench.experiments.fleet.fleet_setting import FleetSetting
    from workbench.experiments.fleet.simulate_fleet import compare_policies, simulate_fleet
    from workbench.experiments.simulator.simulate import simulate
    from workbench.experiments.store.store import history, load_experiment
    from workbench.experiments.traffic.recorded_traffic import Traffic
    from workbench.facade import Server, connect, serve, servers
    from workbench.facade.fleet_entrances import fleet, fleets
    from workbench.facade.notebook_fleet import Fleet
    from workbench.samples import faults
    from workbench.widgets.fleet_explorer.fleet_explorer import fleet_explorer
    from workbench.widgets.guess import PredictThenReveal
    from workbench.widgets.stepper.stepper import policy_stepper

__version__ = "0.1.0"

__all__ = [
    "BatchingParameters",
    "Fleet",
    "FleetSetting",
    "PredictThenReveal",
    "Server",
    "ServingError",
    "Traffic",
    "compare_policies",
    "connect",
    "faults",
    "fleet",
    "fleet_explorer",
    "fleets",
    "history",
    "load_experiment",
    "policy_stepper",
    "serve",
    "servers",
    "simulate",
    "simulate_fleet",
]


def __getattr__(name: str) -> Any:
    # Each is imported when it is first used: `import workbench` itself costs next to nothing.
    where: Any
    match name:
        case "Server" | "connect" | "serve" | "servers":
            from workbench import facade as where
        case "Fleet":
            from workbench.facade import notebook_fleet as where
        case "fleet" | "fleets":
            from workbench.facade import fleet_entrances as where
        case "BatchingParameters":
            from workbench.core.batching import parameters as where
        case "ServingError":
            from workbench.core import status as where
        case "history" | "load_experiment":
            from workbench.experiments.store import store as where
        case "Traffic":
            from workbench.experiments.traffic import recorded_traffic as where
        case "simulate":
            from workbench.experiments.simulator import simulate as where
        case "simulate_fleet" | "compare_policies":
            from workbench.experiments.fleet import simulate_fleet as where
        case "FleetSetting":
            from workbench.experiments.fleet import fleet_setting as where
        case "fleet_explorer":
            from workbench.widgets.fleet_explorer import fleet_explorer as where
        case "policy_stepper":
            from workbench.widgets.stepper import stepper as where
        case "PredictThenReveal":
            from workbench.widgets import guess as where
        case "faults":
            from workbench.samples import faults

            return faults
        case _:
            raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(where, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _traceback_in_a_cell(error: ServingError) -> list[str]:
    from workbench.facade import tracebacks

    return tracebacks.in_a_cell(error)


# IPython asks an exception for its traceback by this name.
status.ServingError._render_traceback_ = _traceback_in_a_cell


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """The folder of the built extension, for JupyterLab's development tools."""
    return [{"src": "labextension", "dest": "serving-workbench-lab"}]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext workbench`: the magics `%serve` and `%%serve`."""
    from workbench.facade import magics

    magics.load_ipython_extension(shell)
