"""How the house stands: faces, circles, sizes and names (`docs/design.md` says why)."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "workbench"

LONGEST_FILE = 500
LARGEST_FOLDER = 12

LONG_FILES: dict[str, str] = {}
"""Files of more lines, each with its reason."""

CIRCLES: dict[frozenset[str], str] = {}
"""Modules that import each other, each group with its reason."""


def _files() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "labextension" in path.parts:
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = _files()
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def _imports(path: Path) -> Iterator[str]:
    """The modules and names of ours that a file imports, inside functions and for types included:
    ``workbench.core.status.ServingError``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if (node.module or "").split(".")[0] == "workbench":
                for alias in node.names:
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "workbench":
                    yield alias.name


def _face(package: str) -> list[str]:
    """What `__all__` of a package lists."""
    for node in ast.parse(FILES[package].read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def test_every_package_says_what_it_is_for_and_what_others_may_use() -> None:
    for package in PACKAGES:
        tree = ast.parse(FILES[package].read_text())
        docstring = ast.get_docstring(tree) or ""
        assert len(docstring.split()) >= 8, f"{package} does not introduce itself"
        for part in _face(package):
            named = f"{package}.{part}" in FILES
            assert named or part in FILES[package].read_text().replace(f'"{part}"', ""), (
                f"{package}.__all__ lists {part}, which is not there"
            )


def test_only_what_a_package_lists_is_imported_from_outside() -> None:
    users = dict(FILES)
    for folder in ("benchmarks", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            users[f"{folder}.{path.stem}"] = path
    faces = {package: _face(package) for package in PACKAGES}
    strangers = []
    for user, path in users.items():
        for target in _imports(path):
            parts = target.split(".")
            for at in range(2, len(parts)):
                package, part = ".".join(parts[:at]), parts[at]
                inside = user == package or user.startswith(f"{package}.")
                if package in PACKAGES and not inside and part not in faces[package]:
                    strangers.append(f"{user} imports {target}: {package} does not list {part}")
    assert strangers == []


def test_no_module_imports_another_in_a_circle() -> None:
    graph = defaultdict(set)
    for name, path in FILES.items():
        for target in _imports(path):
            module = target if target in FILES else target.rpartition(".")[0]
            # A package's own face may name its parts.
            if module in FILES and module != name:
                graph[name].add(module)
    found = {frozenset(circle) for circle in _circles(graph)}
    assert found == set(CIRCLES)


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph.get(name, ()):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            group, stack[at:] = stack[at:], []
            if len(group) > 1:
                circles.append(group)

    for name in list(graph):
        if name not in index:
            visit(name)
    return circles


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    assert [sorted(circle) for circle in _circles(graph)] == [["a", "b", "c"]]


def test_files_and_folders_hold_one_idea() -> None:
    folders = Counter(path.parent for path in FILES.values() if path.name != "__init__.py")
    assert {str(f) for f, count in folders.items() if count > LARGEST_FOLDER} == set()
    long = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES.values()
        if len(path.read_text().splitlines()) > LONGEST_FILE
    }
    assert long == set(LONG_FILES)


def test_no_two_files_have_one_name() -> None:
    names = Counter(path.name for path in FILES.values() if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_import_goes_through_a_literal_string() -> None:
    found = [
        f"{name}, line {node.lineno}: {ast.unparse(node)}"
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
        if not isinstance(node.args[0], ast.Name)
    ]
    assert found == []
