"""Guesses how a file of a model was damaged, and names the cure."""

from __future__ import annotations

import os

DAMAGED = "copy this version here again, or export it again"
"""The cure."""
_HEAD_BYTES = 256


def clue(path: str | os.PathLike[str]) -> str:
    """A hint at how a file was damaged, in brackets, to append to an error; "" if there is none."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return ""
    if not head:
        return " (the file is empty)"
    if head.startswith(b"version https://git-lfs.github.com/"):
        return " (it is a pointer of Git LFS: `git lfs pull` fetches the file itself)"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return " (it is an HTML page: a download saved an error page instead of the file)"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        return " (it is an archive: unpack it first)"
    return ""
