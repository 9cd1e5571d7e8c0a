"""Folders that become others under a number that serves: swapped links, and folders made again."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, floats
from workbench.core.status import Code, ServingError
from workbench.server.engine.versions.model import Model
from workbench.server.engine.versions.source import SETTLE_SECONDS

_X = {"x": floats(2.0)}
TWO, THREE = [3.0], [4.0]
"""What `half_plus_two` and `half_plus_three` answer."""


@pytest.fixture(scope="module")
def polling(models: Path) -> Iterator[Server]:
    """Looks at its folders ten times a second, as a server does each second."""
    with Server(models, poll_seconds=0.1) as server:
        yield server


@pytest.fixture
def server(polling: Server) -> Iterator[Server]:
    yield polling
    polling.clear()


def lead(link: Path, target: Path) -> None:
    """Let a link lead elsewhere, at once, as `ln -sfn` and Kubernetes do."""
    beside = link.with_name(link.name + ".beside")
    beside.symlink_to(target)
    beside.rename(link)


async def answers(server: Server, value: list[float], seconds: float = 60.0) -> None:
    """Wait until the model answers so; a request that fails on the way is an error."""
    end = asyncio.get_running_loop().time() + seconds
    while (told := (await server.predict("m", _X))["y"].tolist()) != value:
        assert asyncio.get_running_loop().time() < end, f"still {told}"
        await asyncio.sleep(0.02)


def releases(server: Server, folder: Path) -> Path:
    """Two releases with a version 1 each, and `current`, which leads to the first."""
    server.put(folder / "release-7", 1, "half_plus_two")
    server.put(folder / "release-8", 1, "half_plus_three")
    (folder / "current").symlink_to("release-7")
    return folder / "current"


@pytest.mark.parametrize("transition", ["smooth", "unload_first+hold", "staged+hold"])
def test_a_release_behind_a_swapped_link_is_served_under_its_number(
    server: Server, tmp_path: Path, transition: str
) -> None:
    current = releases(server, tmp_path)
    asked: list[list[float]] = []

    async def swap() -> None:
        model = server.set_model("m", current, transition=transition)
        first = await server.available("m", 1)
        done = asyncio.Event()

        async def ask() -> None:
            while not done.is_set():
                if model.ready is None:  # as the interfaces do, under `+hold`
                    await asyncio.sleep(0.005)
                    continue
                asked.append((await server.predict("m", _X))["y"].tolist())

        askers = [asyncio.create_task(ask()) for _ in range(4)]
        lead(current, tmp_path / "release-8")
        await server.until(lambda: THREE in asked[-4:], "the new release answers")
        done.set()
        await asyncio.gather(*askers)
        assert model.versions[1] is not first
        assert model.versions[1].to_json()["path"] == str(current / "1")
        assert model.versions[1].to_json()["real_path"] == str(tmp_path / "release-8" / "1")
        assert model.warnings == []
        await server.until(lambda: not model.beside, "what served before is gone")
        assert first.worker is None

    server.run(swap())
    # One after the other: no request got the old contents after the new ones served.
    assert asked == sorted(asked)
    told = [e for e in server.events() if e.kind == "folder_replaced"]
    assert [e.data["message"] for e in told if e.data] == [
        f"{current}/1 is another folder now ({tmp_path}/release-8/1, it was "
        f"{tmp_path}/release-7/1): version 1 of m is reloaded"
    ]
    states = [e.data["state"] for e in server.events() if e.kind == "state" and e.data]
    assert ("END" in states) == (transition != "smooth")


def test_files_are_those_of_one_release_while_a_link_is_swapped(
    server: Server, tmp_path: Path
) -> None:
    """A worker that takes another's place loads what its version was, not what lies there now."""
    current = releases(server, tmp_path)

    async def replace() -> None:
        model = server.set_model("m", current, reload_replaced_versions=False)
        served = await server.available("m", 1)
        lead(current, tmp_path / "release-8")
        await server.until(lambda: bool(model.warnings), "it is told")
        before = served.worker
        assert before is not None
        before.kill()
        await server.until(lambda: served.worker not in (None, before), "another worker serves")
        await answers(server, TWO)

    server.run(replace())


def test_as_the_original_a_number_is_loaded_once_and_a_warning_tells(
    server: Server, tmp_path: Path
) -> None:
    current = releases(server, tmp_path)

    async def swap() -> None:
        model = server.set_model("m", current, reload_replaced_versions=False)
        await server.available("m", 1)
        lead(current, tmp_path / "release-8")
        await server.until(lambda: bool(model.warnings), "it is told")
        assert model.warnings == [
            "Version 1 of servable m keeps serving what was loaded: "
            f"{current}/1 is another folder now ({tmp_path}/release-8/1, it was "
            f"{tmp_path}/release-7/1), and a version number is loaded once. To serve what is there "
            "now, give it a higher number."
        ]
        await answers(server, TWO)
        lead(current, tmp_path / "release-7")
        await server.until(lambda: not model.warnings, "all is as it was")

    server.run(swap())


@pytest.mark.parametrize("reload", [True, False])
def test_a_folder_removed_and_made_again_between_two_looks(
    server: Server, tmp_path: Path, reload: bool
) -> None:
    base = tmp_path / "m"

    async def again() -> None:
        server.put(base, 1, "half_plus_two")
        server.put(base, 2, "half_plus_two")
        model = server.set_model("m", base, reload_replaced_versions=reload)
        await server.available("m", 2)
        # What is removed keeps its inode until it is gone: the new folder has another one.
        (base / "2").rename(base / "2.old")
        server.put(base, 2, "half_plus_three")
        shutil.rmtree(base / "2.old")
        if reload:
            await answers(server, THREE)
            return
        await server.until(lambda: bool(model.warnings), "it is told")
        assert model.warnings == [
            f"Version 2 of servable m keeps serving what was loaded: {base}/2 is another folder "
            "now, and a version number is loaded once. To serve what is there now, give it a "
            "higher number."
        ]
        await answers(server, TWO)

    server.run(again())


def test_files_changed_in_place_are_told_and_not_loaded(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def change() -> None:
        model, _ = await server.serve(base, "half_plus_two")
        (base / "1" / "assets.extra").mkdir()
        (base / "1" / "assets.extra" / "tf_serving_warmup_requests").touch()
        server.poll("m")
        await asyncio.sleep(0.3)
        assert model.warnings == []
        graph = base / "1" / "saved_model.pb"
        graph.write_bytes((server._models / "half_plus_three" / "saved_model.pb").read_bytes())
        await server.until(lambda: bool(model.warnings), "it is told")
        assert model.warnings == [
            "Version 1 of servable m keeps serving what was loaded: files in "
            f"{base}/1 were changed since, and a version number is loaded once. To serve what is "
            "there now, give it a higher number."
        ]
        await answers(server, TWO)

    server.run(change())


def test_a_release_that_cannot_be_loaded_leaves_the_one_before(
    server: Server, tmp_path: Path
) -> None:
    current = releases(server, tmp_path)
    server.put(tmp_path / "release-9", 1, "bad_graph")

    async def swap() -> None:
        model = server.set_model("m", current)
        await server.available("m", 1)
        lead(current, tmp_path / "release-9")
        await server.until(lambda: bool(model.warnings), "it is told")
        (warning,) = model.warnings
        assert warning.startswith(
            "Version 1 of servable m keeps serving what was loaded: "
            f"{current}/1 is another folder now ({tmp_path}/release-9/1, it was "
            f"{tmp_path}/release-7/1), which cannot be loaded: Op type not registered"
        )
        assert model.beside == []
        await answers(server, TWO)
        failed = [e for e in server.events() if e.kind == "renewal_failed"]
        assert [e.data["code"] for e in failed if e.data] == ["NOT_FOUND"]
        # The next release is another matter.
        lead(current, tmp_path / "release-8")
        await answers(server, THREE)
        assert model.warnings == []

    server.run(swap())


def test_a_release_that_is_still_copied_is_waited_for(server: Server, tmp_path: Path) -> None:
    current = releases(server, tmp_path)
    index = tmp_path / "release-8" / "1" / "variables" / "variables.index"
    index.rename(tmp_path / "index")

    async def swap() -> None:
        model = server.set_model("m", current)
        await server.available("m", 1)
        lead(current, tmp_path / "release-8")
        await server.until(lambda: bool(model.warnings), "it is told")
        assert model.warnings == [
            f"Version 1 of servable m stays as it is: its folder is {tmp_path}/release-8/1 now, "
            "where variables/variables.index is missing"
        ]
        await answers(server, TWO)
        (tmp_path / "index").rename(index)
        await answers(server, THREE)

    server.run(swap())


def test_a_removal_ends_a_renewal(server: Server, tmp_path: Path) -> None:
    current = releases(server, tmp_path)
    shutil.rmtree(tmp_path / "release-8")
    server.put(tmp_path / "release-8", 1, "never_loads")

    async def remove() -> None:
        model = server.set_model("m", current)
        await server.available("m", 1)
        lead(current, tmp_path / "release-8")
        await server.until(lambda: bool(model.beside), "it is being renewed")
        server.core.manager.remove_model("m")
        await server.until(lambda: "m" not in server.core.manager.models, "all of it is gone")
        assert model.beside == []
        assert server.core.reservations.budget.reserved("host") == 0

    server.run(remove())


def config_map(server: Server, folder: Path, stamp: str, export: str) -> None:
    """As Kubernetes mounts one: files in a dated folder, `..data` leads there, links lead on."""
    server.put(folder / stamp, 1, export)
    for name in os.listdir(folder / stamp / "1"):
        (folder / stamp / "1" / name).rename(folder / stamp / name)
    (folder / stamp / "1").rmdir()
    lead(folder / "..data", Path(stamp))
    for name in os.listdir(folder / stamp):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)


def test_a_config_map_as_a_version_folder(server: Server, tmp_path: Path) -> None:
    """The folder stays; what its links lead to is swapped all at once."""
    version = tmp_path / "m" / "1"
    config_map(server, version, "..2026_01_01", "half_plus_two")

    async def swap() -> None:
        model = server.set_model("m", tmp_path / "m")
        served = await server.available("m", 1)
        whole = sum(p.stat().st_size for p in (version / "..2026_01_01").rglob("*") if p.is_file())
        assert served.found.size_bytes == whole
        config_map(server, version, "..2026_01_02", "half_plus_three")
        shutil.rmtree(version / "..2026_01_01")
        await answers(server, THREE)
        assert model.warnings == []

    server.run(swap())


def test_a_config_map_above_the_version_folders(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"
    server.put(base / "..2026_01_01", 1, "half_plus_two")
    (base / "..data").symlink_to("..2026_01_01")
    (base / "1").symlink_to("..data/1")

    async def swap() -> None:
        server.set_model("m", base)
        await server.available("m", 1)
        server.put(base / "..2026_01_02", 1, "half_plus_three")
        lead(base / "..data", Path("..2026_01_02"))
        shutil.rmtree(base / "..2026_01_01")
        await answers(server, THREE)

    server.run(swap())


def test_a_version_folder_and_a_base_path_that_are_links(server: Server, tmp_path: Path) -> None:
    server.put(tmp_path / "elsewhere", 1, "half_plus_two")
    server.put(tmp_path / "builds", 77, "half_plus_three")
    (tmp_path / "models").symlink_to(tmp_path / "elsewhere")

    async def publish() -> None:
        model = server.set_model("m", tmp_path / "models")
        await server.available("m", 1)
        (tmp_path / "elsewhere" / "2").symlink_to(tmp_path / "builds" / "77")
        await answers(server, THREE)
        assert model.ready is not None
        assert model.ready.to_json()["path"] == str(tmp_path / "models" / "2")
        # For a moment it leads nowhere: nothing changes, and it is told.
        (tmp_path / "models").unlink()
        (tmp_path / "models").symlink_to(tmp_path / "nowhere")
        await server.until(lambda: bool(model.warnings), "it is told")
        assert model.warnings == [
            f"Could not find base path {tmp_path}/models for servable m with error NOT_FOUND: "
            f"{tmp_path}/models not found. It is a link to {tmp_path}/nowhere: point it to an "
            "existing folder."
        ]
        await answers(server, THREE)

    server.run(publish())


def renamed_behind_its_link(model: Model) -> bool:
    return bool(model.warnings or model.beside)


def test_a_folder_that_is_only_renamed_is_the_same(server: Server, tmp_path: Path) -> None:
    current = releases(server, tmp_path)

    async def rename() -> None:
        model = server.set_model("m", current)
        first = await server.available("m", 1)
        (tmp_path / "release-7").rename(tmp_path / "release-7.1")
        lead(current, tmp_path / "release-7.1")
        await asyncio.sleep(SETTLE_SECONDS + 0.5)
        assert not renamed_behind_its_link(model)
        assert model.versions[1] is first
        # It has not been lost: a worker that takes another's place finds it there.
        worker = first.worker
        assert worker is not None
        worker.kill()
        await server.until(lambda: first.worker not in (None, worker), "another worker serves")
        await answers(server, TWO)

    server.run(rename())


def test_a_damaged_release_is_told_with_its_damage(server: Server, tmp_path: Path) -> None:
    current = releases(server, tmp_path)
    (tmp_path / "release-8" / "1" / "saved_model.pb").write_text("<!DOCTYPE html>")

    async def swap() -> None:
        model = server.set_model("m", current)
        await server.available("m", 1)
        lead(current, tmp_path / "release-8")
        await server.until(
            lambda: any("cannot be loaded" in w for w in model.warnings), "it is told"
        )
        assert model.warnings[0].endswith(
            f"which cannot be loaded: {tmp_path}/release-8/1/saved_model.pb is not a SavedModel: "
            "field 7 has the wire type 4 (it is an HTML page: a download saved an error page "
            "instead of the file); copy this version here again, or export it again"
        )
        await answers(server, TWO)

    server.run(swap())


def test_two_numbers_at_once_do_not_fit(server: Server, tmp_path: Path) -> None:
    """Under smooth the memory is needed twice; where it is not there, what serves goes on."""
    current = releases(server, tmp_path)

    async def swap() -> None:
        model = server.set_model("m", current)
        served = await server.available("m", 1)
        memory = served.memory
        assert memory is not None
        # Until then what was estimated is reserved, which is more than it takes.
        await server.until(lambda: memory.measured is not None, "it was measured")
        budget = server.core.reservations.budget
        limits = dict(budget.limits)
        budget.limits["host"] = budget.reserved("host") + 1
        try:
            lead(current, tmp_path / "release-8")
            await server.until(lambda: bool(model.warnings), "it is told")
            assert "which cannot be loaded: Insufficient resources to load" in model.warnings[0]
            assert model.versions[1] is served
            await answers(server, TWO)
        finally:
            budget.limits.update(limits)

    server.run(swap())


def test_what_cannot_be_a_setting(tmp_path: Path) -> None:
    from workbench.core.model_settings import ModelConfig

    with pytest.raises(ServingError) as raised:
        ModelConfig.from_json(
            {"name": "m", "base_path": str(tmp_path), "reload_replaced_versions": "no"}
        )
    assert raised.value == ServingError(
        Code.INVALID_ARGUMENT,
        "Setting 'reload_replaced_versions' must be true or false; was 'no'",
    )
