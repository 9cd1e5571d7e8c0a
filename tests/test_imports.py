"""What imports what: the contracts of pyproject.toml, and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("tensorflow", "keras", "numpy", "pandas", "matplotlib", "tornado", "IPython", "psutil")


def loaded(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has after `statement`."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_contracts_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_package_itself_costs_next_to_nothing() -> None:
    assert loaded("import workbench").isdisjoint([*HEAVY, "asyncio", "orjson"])


def test_the_client_brings_no_heavy_library() -> None:
    """Nor does a notebook pay for numpy or pandas before it asks for a prediction or a table."""
    assert loaded("import workbench as wb; wb.serve, wb.connect, wb.servers").isdisjoint(
        {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "tornado"}
    )


@pytest.mark.parametrize(
    "module",
    [
        "workbench.server.supervision.server_process",
        "workbench.server.supervision.supervisor_process",
        "workbench.server.front.codec.codec_process",
        "workbench.server.worker.zygote_main",
        "workbench.cli.main",
    ],
)
def test_no_program_imports_tensorflow_at_its_start(module: str) -> None:
    """The zygote does so when it is told what for; every other process of ours never does."""
    assert loaded(f"import {module}").isdisjoint({"tensorflow", "keras"})


def test_the_supervisor_is_small() -> None:
    assert loaded("import workbench.server.supervision.supervisor_process").isdisjoint(
        {"numpy", "pandas", "tornado", "uvloop", "httptools"}
    )


def test_the_core_needs_nothing_but_python() -> None:
    statement = "import " + ", ".join(
        f"workbench.core.{path.stem}"
        for path in sorted((ROOT / "workbench" / "core").glob("*.py"))
        if path.stem != "__init__"
    )
    ours = loaded(statement) - loaded("pass")
    assert "workbench" in ours
    assert {n for n in ours if n not in sys.stdlib_module_names} == {"workbench"}
