"""The control plane is asked through the same planes as the data plane."""

from tests.server.conftest import catalog, planes  # noqa: F401
