"""The Jupyter Server extension: authenticated routes for the browser."""

from __future__ import annotations

from typing import Any

__all__ = ["route_answers"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from workbench.jupyter.server_extension.app import WorkbenchExtension

    return [{"module": "workbench.jupyter.server_extension.app", "app": WorkbenchExtension}]
