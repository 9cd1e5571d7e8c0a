"""Requests that disagree with their signature, and the kinds of them that a version died of.

TensorFlow Serving does not compare shapes with the signature, and many graphs answer a request that
disagrees with it. Others end the process: TensorFlow's convolutions abort on a tensor of another
rank. That is the request's fault and not the version's. So the *form* of such a request is refused
after one crash, with the sentence that names the mistake, and the crash does not count against the
version.

A form is the rank of each tensor that has a wrong one, and the sizes after the first of each that
has a wrong size: the number of rows plays no part. After `MOST_FORMS` different forms the version
refuses every request that disagrees with its signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from workbench.core.shape_mistakes import Shape, fits, misfit_text
from workbench.core.signature import Signature

MOST_FORMS = 3


class Form(NamedTuple):
    """What requests have in common that disagree with a signature in the same way: for each tensor
    that does, its rank, or its sizes after the first; sorted by name."""

    signature: str
    tensors: tuple[tuple[str, int | tuple[int, ...]], ...]

    def __str__(self) -> str:
        kinds = (
            f"{name}: rank {kind}"
            if isinstance(kind, int)
            else f"{name}: [{', '.join(['?', *map(str, kind)])}]"
            for name, kind in self.tensors
        )
        return f"{self.signature}({', '.join(kinds)})"


def form_of(name: str, signature: Signature, shapes: Mapping[str, Shape]) -> Form | None:
    """How a request's shapes disagree with its signature; None if they do not.

    Args:
        name: the signature's name.
        shapes: of the request's tensors, by input. Others than the signature's are left out.
    """
    tensors = sorted(
        (each, _kind(shape, wanted))
        for each, shape in shapes.items()
        if (wanted := _wanted(signature, each)) is not None and not fits(shape, wanted)
    )
    return Form(name, tuple(tensors)) if tensors else None


def sentence(signature: Signature, shapes: Mapping[str, Shape]) -> str:
    """What is wrong with the shapes of a request that disagrees with its signature, and the cure:
    the same sentence that the Python client raises."""
    for name, shape in sorted(shapes.items()):
        wanted = _wanted(signature, name)
        if wanted is not None and not fits(shape, wanted):
            original = signature.originals.get(name, name)
            code = "x" if len(signature.inputs) == 1 else f"x[{original!r}]"
            return misfit_text(signature.inputs[name], shape, f"Input {original!r}", code)
    raise ValueError("these shapes fit")


def _wanted(signature: Signature, name: str) -> Shape | None:
    info = signature.inputs.get(name)
    return None if info is None else info.shape


def _kind(shape: Shape, wanted: Shape) -> int | tuple[int, ...]:
    return len(shape) if len(shape) != len(wanted) else tuple(shape[1:])


class MisfitTable:
    """The forms of requests that one version died of."""

    def __init__(self) -> None:
        self._forms: set[Form] = set()

    def __bool__(self) -> bool:
        return bool(self._forms)

    def refuse(self, form: Form) -> None:
        """The version has died of a request of this form."""
        self._forms.add(form)

    @property
    def full(self) -> bool:
        """Whether every request that disagrees with its signature is refused."""
        return len(self._forms) >= MOST_FORMS

    def is_refused(self, form: Form) -> bool:
        """Whether requests of this form are refused."""
        return self.full or form in self._forms
