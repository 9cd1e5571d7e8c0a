"""Asks a model by its signature, which may change with the next version.

The caller's values become tensors by the model's signature, which is fetched from the server once
and kept. A version that is published, rolled back to or labelled later may have another signature:
the unnamed inputs of a Keras model are called ``keras_tensor`` in one version and
``keras_tensor_4`` in the next. So each request carries a digest of the signature that it was made
for. If the signature has changed, the server refuses the request before anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.client.asking import lookup
from workbench.client.asking.data_client import DataClient, SignatureChanged, Target
from workbench.client.asking.shapes import uneven_rows
from workbench.client.asking.tensors import check_outputs, to_inputs
from workbench.client.control_answers import ModelDescription
from workbench.client.control_client import ControlClient
from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.processes import registry

if TYPE_CHECKING:
    import numpy as np

_ABOUT_THE_QUESTION = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT})


@dataclass(frozen=True)
class _Known:
    signature: Signature
    digest: str

    @classmethod
    def of(cls, signature: Signature) -> _Known:
        return cls(signature, signature.digest())


class Asker:
    """Asks one server. Threads may share it."""

    def __init__(self, control: ControlClient, data: DataClient) -> None:
        self._control = control
        self._data = data
        # Threads replace entries and never change one; at worst two fetch the same.
        self._known: dict[Target, _Known] = {}

    def signature(self, target: Target) -> Signature:
        """The signature as it is now.

        Raises:
            ServingError: NOT_FOUND or INVALID_ARGUMENT, with the models, versions, labels or
                signatures that there are.
        """
        return self._fetch(target).signature

    def predict(
        self, target: Target, x: Any, outputs: Sequence[str], *, check_shapes: bool = True
    ) -> dict[str, np.ndarray]:
        """The outputs by name; without `check_shapes`, `x` is sent in whatever shape it has.

        Raises:
            ServingError: `x` or `outputs` do not fit the signature; or the server's refusal.
        """
        known = self._known.get(target)
        fresh = known is None
        if known is None:
            known = self._fetch(target)
        try:
            inputs = _prepared(known, x, outputs, check_shapes)
        except ServingError:
            if fresh:
                raise
            # It may fit the current signature.
            now = self._fetch(target)
            if now.digest == known.digest:
                raise
            known, fresh = now, True
            inputs = _prepared(known, x, outputs, check_shapes)
        try:
            return self._send(target, known, inputs, outputs)
        except SignatureChanged as changed:
            known = self._known[target] = _Known.of(changed.signature)
        except ServingError as error:
            if not fresh and error.code in _ABOUT_THE_QUESTION:
                # Its version, label or signature may be gone: then this error lists the others.
                self._raise_clearer(target, error)
            raise
        # Only once, and only because nothing has run: a request may have side effects.
        inputs = _prepared(known, x, outputs, check_shapes)
        return self._send(target, known, inputs, outputs)

    def _send(
        self, target: Target, known: _Known, inputs: dict[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        try:
            entry = self._control.entry()
            return self._data.predict(entry, target, inputs, outputs, known.digest)
        except SignatureChanged:
            raise
        except ServingError as error:
            rows = uneven_rows(known.signature, inputs)
            if error.code is not Code.INVALID_ARGUMENT or not rows:
                raise
            raise invalid_argument(f"{rows} The model says: {error.message}") from error

    def _fetch(self, target: Target) -> _Known:
        self._known.pop(target, None)
        data = describe_model(self._control, target.model)
        version = target.version
        if version is None and target.label is not None:
            version = lookup.labelled(data, target.label)
        known = _Known.of(lookup.named(lookup.signatures_of(data, version), target.signature))
        self._known[target] = known
        return known

    def _raise_clearer(self, target: Target, error: ServingError) -> None:
        try:
            self._fetch(target)
        except ServingError as clearer:
            if clearer.code in _ABOUT_THE_QUESTION:
                raise clearer from error


def describe_model(control: ControlClient, model: str) -> ModelDescription:
    """A model's description, by a name that the caller may have mistyped.

    Raises:
        ServingError: NOT_FOUND, with the names of the models that there are.
    """
    try:
        return control.describe_model(model)
    except ServingError as error:
        if error.code is not Code.NOT_FOUND or registry.read(control.name) is None:
            raise
        raise lookup.unknown_model(model, control.describe_server()["models"]) from None


def _prepared(
    known: _Known, x: Any, outputs: Sequence[str], check_shapes: bool
) -> dict[str, np.ndarray]:
    check_outputs(known.signature, outputs)
    return to_inputs(known.signature, x, check_shapes=check_shapes)
