"""Where a server keeps its files: all under Jupyter's runtime folder, all private.

<runtime>/workbench-NAME.json    the registry entry, mode 0600
<runtime>/workbench-NAME/        mode 0700: desired state, log, models published from memory
control.sock                     in that folder, or in one of /tmp where its path is too long
"""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from pathlib import Path

from workbench.core.status import failed_precondition, invalid_argument

SOURCE = Path(__file__).resolve().parents[2]
"""The folder that this very package was imported from."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_NAME_CHARACTERS = 64
# sockaddr_un holds 108 bytes with the closing zero (104 on macOS).
_SOCKET_PATH_BYTES = 103


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        ServingError: INVALID_ARGUMENT, it cannot be a file's name everywhere.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        clean = clean_name(name) if isinstance(name, str) else ""
        raise invalid_argument(
            f"Server name {name!r} cannot be used: it needs 1 to 64 letters, digits, '.', '_' or "
            "'-', and must begin with a letter or digit"
            + (f"; {clean!r} can be used" if clean else "")
        )
    return name


def clean_name(text: str) -> str:
    """The closest name to this text that `check_name` takes; empty where nothing of it is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    dashed = re.sub(r"[^A-Za-z0-9._]+", "-", plain).lstrip("._-")
    return dashed[:_NAME_CHARACTERS].rstrip("._-")


def runtime_folder() -> Path:
    """Jupyter's runtime folder, made if need be."""
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def entry_path(name: str) -> Path:
    return runtime_folder() / f"workbench-{name}.json"


def server_folder(name: str) -> Path:
    return runtime_folder() / f"workbench-{name}"


def killed_folder() -> Path:
    """Where it is noted which servers were killed."""
    return runtime_folder() / "workbench-killed"


def killed_path(name: str) -> Path:
    return killed_folder() / f"{name}.json"


def resume_path(folder: str | os.PathLike[str]) -> Path:
    """What a killed Jupyter kernel's server goes on with when Jupyter starts the kernel again;
    there only while that is wanted."""
    return Path(folder) / "resume.json"


def make_private(folder: Path) -> None:
    """Make a folder that only its user can enter.

    Raises:
        ServingError: FAILED_PRECONDITION, it is there and belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stat = folder.lstat()
    if hasattr(os, "getuid") and stat.st_uid != os.getuid():
        raise failed_precondition(
            f"{folder} belongs to another user; remove it or use another name"
        )
    folder.chmod(0o700)


def socket_path(folder: Path) -> Path:
    """Where the control socket of the server with that folder goes."""
    path = folder / "control.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    return Path(tempfile.mkdtemp(prefix="wb-")) / "control.sock"


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's contents at once; only its user can read it, at every moment."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
