"""The settings of a served model as the control plane takes them: plain data, checked."""

from __future__ import annotations

from typing import Any

from workbench.core.model_settings import MODEL_SETTINGS, check_setting


def plain_setting(name: str, value: Any) -> Any:
    """A model's setting as plain data. It is checked here, so that the error is raised in the
    caller's process before anything is sent.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """
    return MODEL_SETTINGS[name].kind.plain(check_setting(name, value))
