"""`ServerClient`: a running server in the hands of a program."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from workbench.client.asking.asker import Asker
from workbench.client.asking.data_client import DataClient, Target
from workbench.client.outcomes import Outcome
from workbench.client.server_parts.served_settings import ServedSettings
from workbench.client.server_parts.served_versions import ServedVersions
from workbench.client.server_parts.server_reports import ServerReports
from workbench.core.signature import DEFAULT_SIGNATURE, Signature
from workbench.core.status import ServingError
from workbench.processes import registry
from workbench.processes.jupyter_launcher import JupyterLauncher
from workbench.processes.launcher import reap_supervisors
from workbench.processes.lifetime import wait_gone

if TYPE_CHECKING:
    from typing import Self

    import numpy as np

_STOP_SECONDS = 10.0


class ServerClient(ServedSettings, ServedVersions, ServerReports):
    """One running server: asks its models, changes them, reports on them, and stops it."""

    def __init__(self, name: str, model: str, outcome: Outcome | None = None) -> None:
        super().__init__(name, model, outcome)
        self._data = DataClient()
        self._asker = Asker(self.control, self._data)

    def predict(
        self,
        x: Any,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = DEFAULT_SIGNATURE,
        outputs: list[str] | None = None,
        model: str | None = None,
        check_shapes: bool = True,
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Ask the model.

        Args:
            x: an array or (nested) list, or anything numpy can read as one (a tensor, a series); a
                dictionary of them if there are several inputs, or a list if these have only
                numbers (``input_0``, ``input_1``); a data frame or a list of records,
                whose columns are the inputs or the features of the only input; a `RaggedTensor` or
                `SparseTensor` if the model takes one.
            version, label: the version to ask; by default the highest available one.
            outputs: names of the outputs wanted; by default all.
            check_shapes: compare the shape of `x` with the signature before anything is sent. False
                sends it as it is, to a model that takes more shapes than its signature says.

        Returns:
            The output, or a dictionary if the signature has several. A ragged or sparse output
            counts as several: ``name/flat_values``, ``name/row_splits_0`` ..., or
            ``name/indices``, ``name/values`` and ``name/dense_shape``.

        Raises:
            ServingError: INVALID_ARGUMENT, `x` or `outputs` do not fit the signature, and nothing
                was sent; else with the server's own code and words.
        """
        wanted = [outputs] if isinstance(outputs, str) else list(outputs or ())
        target = Target(model or self.model, version, label, signature)
        tensors = self._asker.predict(target, x, wanted, check_shapes=check_shapes)
        if len(tensors) == 1:
            return next(iter(tensors.values()))
        return tensors

    def signature(
        self,
        name: str = DEFAULT_SIGNATURE,
        *,
        version: int | None = None,
        label: str | None = None,
        model: str | None = None,
    ) -> Signature:
        """A signature of the model as it is now, by default of the highest available version.

        Raises:
            ServingError: NOT_FOUND or INVALID_ARGUMENT, with the models, versions, labels or
                signatures that there are.
        """
        return self._asker.signature(Target(model or self.model, version, label, name))

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """End the server and all its processes. Requests in progress are answered.

        Stopping a server that has ended already does nothing.
        """
        self._data.close()
        entry = registry.read(self.name)
        if entry is None:
            return
        if not _shut_kernel_down(entry):
            try:
                self.control.shut_down()
            except ServingError:
                # The server process may be dead just now; its supervisor ends all the same.
                entry.supervisor.kill(signal.SIGTERM)
        end = time.monotonic() + timeout
        while self.running and time.monotonic() < end:
            time.sleep(0.02)
        if self.running:
            entry.server.kill()
            entry.supervisor.kill(signal.SIGTERM)
        if entry.keeper is None and entry.supervisor.pid != os.getpid():
            wait_gone(entry.supervisor, timeout)
        reap_supervisors()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        entry = registry.read(self.name)
        if entry is None:
            return f"<Server {self.name}: stopped>"
        try:
            versions = self.describe()["versions"]
        except ServingError as error:
            return f"<Server {self.name} at {entry.url}: {error}>"
        states = ", ".join(f"{v['version']} {v['state']}" for v in versions) or "no versions"
        outcome = "" if self.outcome is None else f"; {self.outcome.brief}"
        return f"<Server {self.name} at {entry.url}: {self.model} {states}{outcome}>"


def _shut_kernel_down(entry: registry.Entry) -> bool:
    """Ask Jupyter to end the serving kernel, which it would start again otherwise."""
    if entry.kernel_id is None or entry.keeper is None:
        return False
    try:
        JupyterLauncher.of_server(entry.keeper.pid).shut_down(entry.kernel_id)
    except ServingError:
        return False
    return True
