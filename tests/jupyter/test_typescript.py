"""What the browser has of Python's lists, words and types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from workbench.jupyter.typescript import FILE, constant, interface, source


def test_the_generated_file_is_up_to_date() -> None:
    assert FILE.read_text() == source(), "run: python -m workbench.jupyter.typescript"


def test_values_become_literals() -> None:
    assert constant("A", "About.", {"a b": None, "c": "it's"}) == (
        "/** About. */\nexport const A = { 'a b': null, c: 'it\\'s' } as const;\n"
    )


@dataclass
class _Sized:
    """A thing. More of it."""

    name: str
    version: int | None

    def size(self) -> float:
        return 1.0


def test_a_dataclass_becomes_an_interface() -> None:
    assert interface(_Sized, "size") == (
        "/** A thing. More of it. */\n"
        "export interface ISized {\n"
        "  readonly name: string;\n"
        "  readonly version: Version | null;\n"
        "  readonly size: number;\n"
        "}\n"
    )


class _Named(TypedDict):
    labels: dict[str, int]
    sizes: list[_Sized]


class _Model(_Named, total=False):
    """A model.

    Attributes:
        rows: of text; there are none before it is
            measured.
    """

    state: str
    rows: list[list[str]]
    about: dict[str, Any]


def test_of_a_typed_dictionary_the_chosen_fields_become_an_interface() -> None:
    assert interface(_Model, only=("sizes", "labels", "state", "rows")) == (
        "/** A model. */\n"
        "export interface IModel {\n"
        "  readonly sizes: readonly ISized[];\n"
        "  readonly labels: Readonly<Record<string, Version>>;\n"
        "  readonly state?: PublicState;\n"
        "  /** Of text; there are none before it is measured. */\n"
        "  readonly rows?: readonly (readonly string[])[];\n"
        "}\n"
    )


def test_a_type_that_typescript_has_no_word_for_is_refused() -> None:
    @dataclass
    class Odd:
        """Odd."""

        when: complex

    with pytest.raises(TypeError, match="when is of type"):
        interface(Odd)
