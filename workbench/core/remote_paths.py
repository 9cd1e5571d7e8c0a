"""Recognises paths that are not on this machine, and says how to get them here."""

from __future__ import annotations

import re

from workbench.core.status import invalid_argument

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_TO_DO = {
    "gs": "copy it with `gcloud storage rsync --recursive {path} FOLDER`, or mount its bucket with "
    "gcsfuse",
    "s3": "copy it with `aws s3 sync {path} FOLDER`, or mount its bucket with mount-s3",
    "hdfs": "copy it with `hdfs dfs -get {path} FOLDER`",
}
_ELSE = "copy it to a folder of this machine, or mount it there"


def scheme_of(path: str) -> str | None:
    """The scheme of a URI (``gs``, ``s3``, ``file`` ...); None for the path of a folder. A URI that
    lost one of its slashes counts too."""
    match = _SCHEME.match(path)
    return None if match is None else match[1].lower()


def check_local(path: str, what: str) -> None:
    """Refuse a URI where the path of a folder is needed.

    Args:
        what: the subject of the error text, for example "The base path of model digits".

    Raises:
        ServingError: INVALID_ARGUMENT, saying what to do.
    """
    scheme = scheme_of(path)
    if scheme is None:
        return
    if scheme == "file":
        raise invalid_argument(f"{what} must be a path without file://; was {path}")
    to_do = _TO_DO.get(scheme, _ELSE).format(path=path)
    raise invalid_argument(
        f"{what}, {path}, is not a folder of this machine, and {scheme}:// is not read here: "
        f"{to_do}, and give the path of that folder"
    )
