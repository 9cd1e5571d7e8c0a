"""Serving Workbench: serve, measure and teach models from JupyterLab.

import workbench as wb
server = wb.serve(model, name="digits")
server.predict(x)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# It registers what shows results in a notebook, and imports no widget.
from workbench import widgets  # noqa: F401

if TYPE_CHECKING:
    from workbench.client import Server, connect, serve, servers
    from workbench.core.batching.parameters import BatchingParameters
    from workbench.core.status import ServingError
    from workbench.experiments.simulator.simulate import simulate
    from workbench.experiments.store.store import history, load_experiment
    from workbench.samples import faults
    from workbench.widgets.guess import PredictThenReveal
    from workbench.widgets.stepper.stepper import policy_stepper

__version__ = "0.1.0"

_WHERE = {
    "Server": "workbench.client",
    "connect": "workbench.client",
    "serve": "workbench.client",
    "servers": "workbench.client",
    "BatchingParameters": "workbench.core.batching.queue",
    "ServingError": "workbench.core.status",
    "history": "workbench.experiments.store.store",
    "load_experiment": "workbench.experiments.store.store",
    "PredictThenReveal": "workbench.widgets.guess",
    "policy_stepper": "workbench.widgets.stepper.stepper",
    "simulate": "workbench.experiments.simulator.simulate",
}

__all__ = [
    "BatchingParameters",
    "PredictThenReveal",
    "Server",
    "ServingError",
    "connect",
    "faults",
    "history",
    "load_experiment",
    "policy_stepper",
    "serve",
    "servers",
    "simulate",
]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where the built extension lies; asked by JupyterLab's development tools."""
    return [{"src": "labextension", "dest": "serving-workbench-lab"}]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext workbench`: the magics `%serve` and `%%serve`."""
    from workbench.client import magics

    magics.load_ipython_extension(shell)


def __getattr__(name: str) -> Any:
    # Imported when used: `import workbench` itself costs next to nothing.
    from importlib import import_module

    if name == "faults":
        return import_module("workbench.samples.faults")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE, "faults"])
