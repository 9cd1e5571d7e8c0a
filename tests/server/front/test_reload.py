"""Replacing a server's configuration: what changes, what is refused, what is waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from tests.servers import Server
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.formats.wire.messages import message_class
from workbench.server.front.reload import (
    Reloader,
    check_labels,
    follow_config_file,
    wait_until_settled,
)


def entry(name: str, base: Path, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}'


def config(*entries: str) -> Any:
    text = "model_config_list { " + " ".join(entries) + " }"
    return text_format.Parse(text, message_class("ModelServerConfig")())


def reloader(server: Server, **settings: Any) -> Reloader:
    defaults = {"load_retry_seconds": 0.0}
    return Reloader(server.core.manager, lambda: None, defaults, **settings)


def refusal(server: Server, message: Any, **settings: Any) -> ServingError:
    with pytest.raises(ServingError) as error:
        server.run(reloader(server, **settings).reload(message))
    return error.value


def served(server: Server) -> list[str]:
    return sorted(n for n, m in server.core.manager.models.items() if not m.removed)


@pytest.fixture(autouse=True)
def _folders_are_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test models are renamed into place, so nobody needs to watch them come to rest."""
    monkeypatch.setattr("workbench.server.engine.versions.source.SETTLE_SECONDS", 0.0)


def test_all_models_are_replaced(server: Server, tmp_path: Path) -> None:
    server.put(tmp_path / "a", 1, "half_plus_two")
    server.put(tmp_path / "b", 1, "half_plus_three")
    server.run(reloader(server).reload(config(entry("a", tmp_path / "a"))))
    assert server.core.manager.find("a").id.version == 1
    server.run(reloader(server).reload(config(entry("b", tmp_path / "b"))))
    assert served(server) == ["b"]
    assert server.core.manager.find("b").id.version == 1
    # Nothing set is no change.
    server.run(reloader(server).reload(message_class("ModelServerConfig")()))
    assert served(server) == ["b"]


def test_what_the_message_cannot_say_of_a_model_stays(server: Server, tmp_path: Path) -> None:
    server.put(tmp_path / "a", 1, "half_plus_two")
    server.run(reloader(server).reload(config(entry("a", tmp_path / "a"))))
    server.core.manager.update("a", transition="staged", labels={"old": 1})
    before = server.core.manager.models["a"].config
    labels = "version_labels { key: 'stable' value: 1 }"
    server.run(reloader(server).reload(config(entry("a", tmp_path / "a", labels))))
    assert server.core.manager.models["a"].config == replace(before, labels={"stable": 1})
    # A model that was away begins anew.
    server.put(tmp_path / "b", 1, "half_plus_two")
    server.run(reloader(server).reload(config(entry("b", tmp_path / "b"))))
    server.run(reloader(server).reload(config(entry("a", tmp_path / "a"))))
    assert server.core.manager.models["a"].config == replace(before, labels={}, transition="smooth")


def test_a_refused_configuration_leaves_no_trace(server: Server, tmp_path: Path) -> None:
    server.put(tmp_path / "a", 1, "half_plus_two")
    good = entry("a", tmp_path / "a")
    server.run(reloader(server).reload(config(good)))
    before = server.core.manager.models["a"].config
    bad = 'config { name: "x" base_path: "/x" }'
    assert refusal(server, config(bad)).code is Code.INVALID_ARGUMENT
    label = entry("a", tmp_path / "a", "version_labels { key: 'x' value: 2 }")
    assert refusal(server, config(label)) == ServingError(
        Code.FAILED_PRECONDITION,
        "Request to assign label to version 2 of model a, which is not currently available for "
        "inference",
    )
    assert served(server) == ["a"]
    assert server.core.manager.models["a"].config == before
    server.run(reloader(server).reload(config(good)))


def test_what_does_not_become_available_is_named(server: Server, tmp_path: Path) -> None:
    server.put(tmp_path / "bad", 2, "bad_graph")
    (tmp_path / "empty").mkdir()
    error = refusal(
        server, config(entry("bad", tmp_path / "bad"), entry("empty", tmp_path / "empty"))
    )
    (failed,) = server.core.manager.models["bad"].listed()
    assert failed.harness.error is not None
    told = failed.harness.error
    assert error == ServingError(
        Code.UNKNOWN,
        "2 model(s) did not become available: {"
        f"{{{{name: bad version: 2}} due to error: {told.code.name}: {told.message}}}, "
        "{{name: empty} due to error: NOT_FOUND: No versions of servable empty found under base "
        f"path {tmp_path}/empty. Did you forget to name your leaf directory as a number "
        "(eg. '/1/')?}, }",
    )
    assert served(server) == ["bad", "empty"]


def test_an_incomplete_version_is_waited_for_but_not_for_ever(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.server.front.reload.FILES_SECONDS", 0.2)
    (tmp_path / "m" / "1" / "variables").mkdir(parents=True)
    assert refusal(server, config(entry("m", tmp_path / "m"))) == ServingError(
        Code.UNKNOWN,
        "1 model(s) did not become available: {{{name: m} due to error: NOT_FOUND: version 1 is "
        "not complete: saved_model.pb is missing}, }",
    )


def test_a_model_that_is_taken_away_is_not_waited_for(server: Server) -> None:
    assert server.run(wait_until_settled(server.core.manager, ["gone"])) == {}


def test_labels(server: Server, tmp_path: Path) -> None:
    server.put(tmp_path / "m", 1, "half_plus_two")
    base = str(tmp_path / "m")

    def wanted(**labels: int) -> ModelConfig:
        return ModelConfig("m", base, labels=labels)

    # A version that the configuration brings itself.
    check_labels(wanted(new=1), None)

    async def serve() -> None:
        server.set_model("m", tmp_path / "m", labels={"old": 1})
        await server.available("m", 1)

    server.run(serve())
    model = server.core.manager.models["m"]
    check_labels(wanted(old=1, new=1), model)
    check_labels(wanted(new=9), model, for_unavailable=True)
    # Only a new label may point at what is not there.
    for label, flag in (("new", False), ("old", True)):
        with pytest.raises(ServingError, match="version 9 of model m, which is not currently"):
            check_labels(wanted(**{label: 9}), model, for_unavailable=flag)
    with pytest.raises(ServingError, match="version 1 of model m, which is not currently"):
        check_labels(ModelConfig("m", "/no/such/folder", labels={"new": 1}), None)


def test_a_file_is_followed(server: Server, tmp_path: Path) -> None:
    server.put(tmp_path / "a", 1, "half_plus_two")
    file = tmp_path / "models.config"
    file.write_text("nonsense")
    complaints: list[str] = []

    async def follow() -> None:
        following = asyncio.ensure_future(
            follow_config_file(str(file), 0.02, reloader(server), complaints.append)
        )
        await server.until(lambda: len(complaints) >= 2, "it complains each time")
        file.write_text(f"model_config_list {{ {entry('a', tmp_path / 'a')} }}")
        await server.available("a", 1)
        following.cancel()

    server.run(follow())
    assert set(complaints) == {
        "PollFilesystemAndReloadConfig failed to ReloadConfig: INVALID_ARGUMENT: Invalid protobuf "
        f"file: '{file}' (1:1 : Message type \"tensorflow.serving.ModelServerConfig\" has no field "
        'named "nonsense".)'
    }
