"""Operations that TensorFlow has not itself: real ones, of `tensorflow_text`."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.client.trainer import Trainer
from tests.conformance.model_server import ModelServer
from workbench.client.models import op_packages
from workbench.core.status import Code, ServingError
from workbench.formats.saved_model.version_record import VersionRecord

pytestmark = pytest.mark.timeout(180)

TEXT = ["a  b", "c"]
WORDS = [[b"a", b"b"], [b"c", b""]]


@pytest.fixture(scope="module")
def plain(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with such an operation, and no record of it."""
    return Path(trainer.save_plainly("text_splitter", str(tmp_path_factory.mktemp("plain") / "1")))


@pytest.fixture
def library() -> str:
    """The shared library with its operation."""
    spec = importlib.util.find_spec("tensorflow_text")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0])
    return str(folder / "python" / "ops" / "_whitespace_tokenizer_v2.so")


@pytest.fixture
def text(live: wb.Server, tmp_path: Path) -> Iterator[wb.Server]:
    server = wb.Server(live.name, "text")
    server.control.put_model("text", {"base_path": str(tmp_path / "base")})
    yield server
    server.control.delete_model("text")


def record(version: str | Path) -> dict[str, object]:
    data: dict[str, object] = json.loads(
        (Path(version) / "assets.extra" / "workbench.json").read_bytes()
    )
    return data


def load(server: wb.Server) -> None:
    server.control.poll(server.model, [1])
    server.wait_for(1)


def test_the_package_is_recorded_and_loaded(
    trainer: Trainer, text: wb.Server, tmp_path: Path
) -> None:
    version = trainer.put("text_splitter", str(tmp_path / "base"), 1)
    assert record(version) == {"format": 1, "columns": {}, "packages": ["tensorflow_text"]}
    load(text)
    assert text.predict(TEXT).tolist() == WORDS  # type: ignore[union-attr]


def test_a_saved_model_is_looked_through_where_the_package_is_imported(
    trainer: Trainer, plain: Path, text: wb.Server, tmp_path: Path
) -> None:
    version = trainer.put_path(str(plain), str(tmp_path / "base"), 1)
    assert record(version)["packages"] == ["tensorflow_text"]
    assert not (plain / "assets.extra").exists()
    load(text)
    assert text.predict(TEXT).tolist() == WORDS  # type: ignore[union-attr]


def test_a_package_that_the_server_has_not(
    text: wb.Server, put: Callable[[Path, int, str], Path], tmp_path: Path
) -> None:
    version = put(tmp_path / "base", 1, "half_plus_two")
    VersionRecord(packages=("no_such_package",)).write(version)
    with pytest.raises(ServingError) as refused:
        load(text)
    assert refused.value == ServingError(
        Code.FAILED_PRECONDITION,
        "Version 1 of text did not load: The model needs the operations of package "
        f"'no_such_package', which the server's Python ({sys.executable}) cannot import: No module "
        "named 'no_such_package'; install the package there",
    )


def test_operations_of_no_package_are_refused_before_they_are_lost(
    runtime: Path, library: str, tmp_path: Path
) -> None:
    """A library that a notebook has loaded by its path: no worker could find it."""
    own = shutil.copy(library, tmp_path / "my_ops.so")
    # A process of its own: one can register an operation once.
    alone = Trainer()
    try:
        with pytest.raises(ServingError) as refused:
            alone.put_with_library(str(own), str(tmp_path / "base"))
    finally:
        alone.close()
    assert refused.value == ServingError(
        Code.INVALID_ARGUMENT,
        "The model uses the TensorFlow operation 'TFText>WhitespaceTokenizeWithOffsetsV2' of "
        f"{own}, which belongs to no Python package: make a package that loads the library, for "
        "the process that serves to import (workbench model-server also takes --op_libraries)",
    )
    assert not (tmp_path / "base").exists()


def test_a_library_is_known_by_the_package_that_it_lies_in(
    runtime: Path, library: str, tmp_path: Path
) -> None:
    alone = Trainer()
    try:
        version = alone.put_with_library(library, str(tmp_path / "base"))
    finally:
        alone.close()
    assert record(version)["packages"] == ["tensorflow_text"]


def test_a_package_is_found_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where an environment's folder is a link: the system names the file that is mapped."""
    library = tmp_path / "real" / "own_ops" / "ops.so"
    library.parent.mkdir(parents=True)
    library.touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "link")])
    assert op_packages._installed_package(library) == "own_ops"


@pytest.mark.parametrize("by", ["package", "path"])
def test_model_server_loads_libraries_for_all_models(
    plain: Path, library: str, tmp_path: Path, by: str
) -> None:
    libraries = "tensorflow_text" if by == "package" else library
    server = ModelServer(
        tmp_path,
        "--model_name=text",
        f"--model_base_path={plain.parent}",
        f"--op_libraries={libraries}",
    )
    try:
        server.wait_for("Exporting HTTP/REST API")
        status, body = server.rest("/v1/models/text:predict", json.dumps({"instances": TEXT}))
        assert (status, json.loads(body)) == (
            200,
            {"predictions": [["a", "b"], ["c", ""]]},
        )
    finally:
        server.stop()


def test_without_it_the_operation_is_not_known(plain: Path, tmp_path: Path) -> None:
    """So that the tests above show something."""
    server = ModelServer(
        tmp_path,
        "--model_name=text",
        f"--model_base_path={plain.parent}",
        "--max_num_load_retries=0",
    )
    try:
        server.wait_for("Op type not registered 'TFText>WhitespaceTokenizeWithOffsetsV2'")
    finally:
        server.stop()


def test_a_library_that_is_not_there(plain: Path, tmp_path: Path) -> None:
    server = ModelServer(
        tmp_path,
        "--model_name=text",
        f"--model_base_path={plain.parent}",
        "--op_libraries=/nowhere/ops.so",
        "--max_num_load_retries=0",
    )
    try:
        server.wait_for(
            "The library of operations /nowhere/ops.so cannot be loaded: /nowhere/ops.so: cannot "
            "open shared object file: No such file or directory; correct --op_libraries"
        )
    finally:
        server.stop()
