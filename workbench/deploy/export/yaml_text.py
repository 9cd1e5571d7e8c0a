"""Writes YAML in one way: keys in their order, text of several lines as a block, with comments.

A comment is a key that begins with ``# `` and has no value. It becomes a line above what follows.

    {"# One connection sticks to one pod.": None, "clusterIP": "None"}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

_COMMENT = re.compile(r"^(?P<before> *(?:- )*)(?P<quote>['\"]?)(?P<text># .*)(?P=quote): null$")
_LONGEST_KEY = 120
"""YAML writes a longer key in a form of its own, which would not be a comment any more."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        # The entries of a list are set below its key, as most manifests have it.
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(document: Mapping[str, Any]) -> str:
    """One document as text; its keys that begin with ``# `` are comments."""
    plain = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True, indent=2
    )
    lines: list[str] = []
    dash = ""
    for line in plain.splitlines():
        found = _COMMENT.match(line)
        if found is None:
            # The dash of a list's entry that began with a comment goes to its first key.
            lines.append(dash + line[len(dash) :] if dash else line)
            dash = ""
            continue
        text = found["text"].replace("''", "'")
        assert len(text) <= _LONGEST_KEY, text
        dash = found["before"] if "-" in found["before"] else dash
        indent = dash.index("-") if dash else len(found["before"])
        lines.append(" " * indent + text)
    return "\n".join(lines) + "\n"


def yaml_documents(documents: Iterable[Mapping[str, Any]], head: str = "") -> str:
    """Several documents as one text, below a comment."""
    return comment(head) + "---\n".join(yaml_text(document) for document in documents)


def comment(text: str) -> str:
    """The lines of a text as comments of YAML, of a shell or of a Dockerfile; empty for none."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())
