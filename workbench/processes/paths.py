"""The paths of a server's files: all private, and below Jupyter's runtime folder.

<runtime>/workbench-NAME.json    the registry entry, mode 0600
<runtime>/workbench-NAME/        mode 0700: settings, log, models published from memory
control.sock                     in that folder, or in a folder of /tmp if its path is too long
"""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from pathlib import Path

from workbench.core.status import failed_precondition, invalid_argument

SOURCE = Path(__file__).resolve().parents[2]
"""The folder that this package was imported from."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_NAME_CHARACTERS = 64
# sockaddr_un holds 108 bytes with the closing zero (104 on macOS).
_SOCKET_PATH_BYTES = 103


def check_name(name: str) -> str:
    """Check a server's name, and return it.

    Raises:
        ServingError: INVALID_ARGUMENT, it cannot be a file's name on every system.
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
    """The closest name to this text that `check_name` accepts; empty if there is none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    dashed = re.sub(r"[^A-Za-z0-9._]+", "-", plain).lstrip("._-")
    return dashed[:_NAME_CHARACTERS].rstrip("._-")


def runtime_folder() -> Path:
    """Jupyter's runtime folder. It is made if it does not exist."""
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def entry_path(name: str) -> Path:
    """The file of a server's registry entry."""
    return runtime_folder() / f"workbench-{name}.json"


def server_folder(name: str) -> Path:
    """A server's private folder."""
    return runtime_folder() / f"workbench-{name}"


def killed_folder() -> Path:
    """The folder with a note for each server that was killed."""
    return runtime_folder() / "workbench-killed"


def killed_path(name: str) -> Path:
    """The note about a killed server."""
    return killed_folder() / f"{name}.json"


def resume_path(folder: str | os.PathLike[str]) -> Path:
    """The file that a Jupyter kernel's server is continued with when Jupyter starts the kernel
    again. It exists only while the server is to be continued."""
    return Path(folder) / "resume.json"


def make_private(folder: Path) -> None:
    """Make a folder that only its user can enter.

    Raises:
        ServingError: FAILED_PRECONDITION, it exists and belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stat = folder.lstat()
    if hasattr(os, "getuid") and stat.st_uid != os.getuid():
        raise failed_precondition(
            f"{folder} belongs to another user; remove it or use another name"
        )
    folder.chmod(0o700)


def socket_path(folder: Path) -> Path:
    """The path for the control socket of the server with that folder."""
    path = folder / "control.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    return Path(tempfile.mkdtemp(prefix="wb-")) / "control.sock"


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's contents atomically. Only its user can read it, at every moment."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
