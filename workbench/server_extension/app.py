"""The extension as Jupyter Server sees it: its name, its settings, its routes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Float, Int, TraitError, Unicode, default, validate

import workbench
from workbench.server_extension.handlers import HANDLERS


class WorkbenchExtension(ExtensionApp):
    """The model-serving workbench: routes over this user's model servers."""

    name = "workbench"

    notebooks_dir = Unicode(
        help="The folder that the quickstart notebook is copied from.", config=True
    )
    control_seconds = Float(
        2.0, help="Seconds that a model server has for an answer about itself.", config=True
    )
    concurrency = Int(
        8, help="How many model servers are asked or stopped at the same time.", config=True
    )

    @default("notebooks_dir")
    def _default_notebooks_dir(self) -> str:
        package = Path(workbench.__file__).parent
        # Part of the package where it is installed; beside it where it is developed.
        inside = package / "notebooks"
        return str(inside if inside.is_dir() else package.parent / "notebooks")

    @validate("control_seconds", "concurrency")
    def _positive(self, proposal: dict[str, Any]) -> float:
        value: float = proposal["value"]
        if value <= 0:
            raise TraitError(f"{proposal['trait'].name} must be positive; was {value}")
        return value

    def initialize_settings(self) -> None:
        self.settings.update(
            workbench_notebooks=Path(self.notebooks_dir),
            workbench_control_seconds=self.control_seconds,
            workbench_slots=asyncio.Semaphore(self.concurrency),
        )

    def initialize_handlers(self) -> None:
        self.handlers.extend(HANDLERS)
