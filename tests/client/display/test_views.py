from __future__ import annotations

from typing import Any

import pytest

from workbench.client.display.version_view import VersionView
from workbench.client.display.views import Versions
from workbench.core.signature import Signature, TensorInfo

SIGNATURE = Signature({"x": TensorInfo("float", (-1,))}, {"y": TensorInfo("float", (-1,))})


def told(version: int, state: str, **more: Any) -> dict[str, Any]:
    """A version as the control plane tells it."""
    return {
        "version": version,
        "state": state,
        "path": f"/models/m/{version}",
        "size_bytes": 1000,
        "error": None,
        "load_seconds": 0.5,
        **more,
    }


@pytest.fixture
def versions() -> Versions:
    data = [
        told(3, "END", error={"code": "NOT_FOUND", "message": "no such op"}),
        told(2, "AVAILABLE", signatures={"serving_default": SIGNATURE.to_json()}),
        told(1, "UNLOADING"),
    ]
    memory = {2: 30 * 2**20}
    return Versions([VersionView.from_json(v, memory) for v in data], {"4": "it is empty"})


def test_one_version(versions: Versions) -> None:
    assert versions[2] == VersionView(
        version=2,
        state="AVAILABLE",
        path="/models/m/2",
        error=None,
        size_bytes=1000,
        memory_bytes=30 * 2**20,
        load_seconds=0.5,
        signatures={"serving_default": SIGNATURE},
    )
    assert versions[3].error == "NOT_FOUND: no such op"
    assert versions[1].memory_bytes is None
    assert versions[1].signatures == {}


def test_all_versions(versions: Versions) -> None:
    assert len(versions) == 3
    assert [v.version for v in versions] == [3, 2, 1]
    assert versions.available == [2]
    assert versions.waiting == {4: "it is empty"}


def test_a_version_that_is_not_there(versions: Versions) -> None:
    with pytest.raises(KeyError) as missing:
        versions[7]
    assert missing.value.args == ("no version 7 (there are: 3, 2, 1)",)
    with pytest.raises(KeyError) as missing:
        Versions([], {})[1]
    assert missing.value.args == ("no version 1 (there are: none)",)


def test_as_text(versions: Versions) -> None:
    assert repr(versions).splitlines() == [
        "version 3: END  NOT_FOUND: no such op",
        "version 2: AVAILABLE  30 MB",
        "version 1: UNLOADING",
        "version 4: waiting, it is empty",
    ]
    assert repr(Versions([], {})) == "no versions"
