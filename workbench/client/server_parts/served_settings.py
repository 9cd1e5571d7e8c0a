"""The settings of a model that is served, as properties that may be assigned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.client.server_parts.named_server import NamedServer
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import plain_setting


class ServedSettings(NamedServer):
    """Reads each setting from the server, and changes it there at once."""

    @property
    def transition(self) -> str:
        """How one version replaces another: `smooth`, `unload_first` or `staged`; the last two
        also with `+hold`, under which requests wait while no version serves. May be assigned."""
        return self.describe()["transition"]

    @transition.setter
    def transition(self, name: str) -> None:
        self.control.patch_model(self.model, transition=name)

    @property
    def probe(self) -> str:
        """The treatment of a version that fails when each of its signatures is run once before it
        is available: `refuse`, `warn`, or `off` (nothing is run). May be assigned, for versions
        that are loaded from then on."""
        return self.describe()["probe"]

    @probe.setter
    def probe(self, mode: str) -> None:
        self.control.patch_model(self.model, probe=mode)

    @property
    def batching(self) -> BatchingParameters | None:
        """TensorFlow Serving's batching parameters; None means automatic. May be assigned, also a
        dictionary of the parameters to set. Takes effect at once and loses no request."""
        data = self.describe()["batching"]
        return None if data is None else BatchingParameters.from_json(data)

    @batching.setter
    def batching(self, parameters: BatchingParameters | Mapping[str, Any] | None) -> None:
        data = plain_setting("batching", parameters)
        self.control.patch_model(self.model, batching=data)
        if data is not None and data["num_batch_threads"] is not None:
            self.control.set_slots(data["num_batch_threads"])

    @property
    def labels(self) -> dict[str, int]:
        """Names for versions (``{"stable": 1}``). May be assigned."""
        return self.describe()["labels"]

    @labels.setter
    def labels(self, labels: Mapping[str, int]) -> None:
        self.control.patch_model(self.model, labels=plain_setting("labels", labels))

    @property
    def version_policy(self) -> dict[str, Any]:
        """The versions that are served: ``{"latest": n}``, ``{"all": True}`` or
        ``{"specific": [...]}``. May be assigned, also in the forms that `serve` takes."""
        return self.describe()["version_policy"]

    @version_policy.setter
    def version_policy(self, policy: Any) -> None:
        data = plain_setting("version_policy", policy)
        self.control.patch_model(self.model, version_policy=data)
