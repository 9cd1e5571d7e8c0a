"""The extension application of the Jupyter Server: its name, settings and routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Float, Int, List, TraitError, Unicode, default, validate

from workbench.jupyter.server_extension.base_handler import ThreadPools
from workbench.jupyter.server_extension.lifecycle_events import SCHEMA_FILE, Lifecycle
from workbench.jupyter.server_extension.listing import Lister
from workbench.jupyter.server_extension.server_routes import HANDLERS
from workbench.jupyter.server_extension.stream import Hub
from workbench.processes.lifetime import ProcessId
from workbench.processes.registry import Entry
from workbench.samples import labs


class WorkbenchExtension(ExtensionApp):
    """The model-serving workbench: routes over this user's model servers."""

    name = "workbench"

    notebooks_dir = Unicode(help="The folder that the labs are copied from.", config=True)
    model_folders = List(
        Unicode(),
        help="Folders beside the Jupyter Server's own files whose models may be served from the "
        "browser.",
        config=True,
    )
    open_dashboard = Bool(
        False, help="Whether JupyterLab opens with the dashboard of model servers.", config=True
    )
    open_welcome = Bool(
        False, help="Whether JupyterLab opens with the page of the labs.", config=True
    )
    control_seconds = Float(
        2.0, help="Seconds that a model server has to answer a question about itself.", config=True
    )
    watch_seconds = Float(
        1.0,
        help="Seconds between two looks at all model servers, while a page watches them.",
        config=True,
    )
    concurrency = Int(
        8,
        help="How many questions to model servers may run at a time, and how many long operations "
        "(starting, loading, stopping).",
        config=True,
    )

    @default("notebooks_dir")
    def _default_notebooks_dir(self) -> str:
        return str(labs.shipped())

    @validate("control_seconds", "watch_seconds", "concurrency")
    def _positive(self, proposal: dict[str, Any]) -> float:
        value: float = proposal["value"]
        if value <= 0:
            raise TraitError(f"{proposal['trait'].name} must be positive; was {value}")
        return value

    def initialize_settings(self) -> None:
        """Make what the routes share, and put it into their `settings`."""
        server: Any = self.serverapp
        server.event_logger.register_event_schema(SCHEMA_FILE)
        lifecycle = Lifecycle(server.event_logger)
        self._pools = ThreadPools(self.concurrency)
        self._lister = lister = Lister(
            self._pools, self.control_seconds, self._is_given_up, lifecycle.tell
        )
        self._hub = Hub(lister, self.watch_seconds)
        # The page's configuration, which the front end reads.
        page: dict[str, Any] = server.web_app.settings.setdefault("page_config_data", {})
        if self.open_dashboard:
            page["workbenchDashboard"] = "open"
        if self.open_welcome:
            page["workbenchWelcome"] = "open"
        self.settings.update(
            workbench_notebooks=Path(self.notebooks_dir),
            workbench_labs_read={},
            workbench_folders=list(self.model_folders),
            workbench_pools=self._pools,
            workbench_lister=lister,
            workbench_hub=self._hub,
        )

    def initialize_handlers(self) -> None:
        """Add the routes."""
        self.handlers.extend(HANDLERS)

    async def stop_extension(self) -> None:
        """Stop polling, and accept no more calls."""
        self._hub.close()
        self._pools.close()

    def _is_given_up(self, entry: Entry) -> bool:
        kernels: Any = getattr(self.serverapp, "kernel_manager", None)
        if entry.kernel_id in kernels:
            return bool(kernels.kernel_model(entry.kernel_id)["execution_state"] == "dead")
        # A kernel of ours that is gone is not started again. Others we do not know.
        return entry.keeper == ProcessId.me()
