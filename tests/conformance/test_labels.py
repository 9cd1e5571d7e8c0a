"""Version labels over reload requests, as a client of a real server sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.reloading import Reloading
from tests.conformance.test_grpc import floats

_ALL = "model_version_policy { all {} }"


def labels(**versions: int) -> str:
    return _ALL + "".join(
        f" version_labels {{ key: '{label}' value: {version} }}"
        for label, version in versions.items()
    )


@pytest.fixture(scope="module")
def served(reloading: Reloading) -> Reloading:
    for version in (1, 2):
        reloading.put("half_plus_two" if version == 1 else "half_plus_three", "lab", version)
    return reloading


def by(served: Reloading, label: str) -> tuple[int, Any]:
    return served.predict(f"lab/labels/{label}")


TWO, THREE = (200, {"predictions": [3.0]}), (200, {"predictions": [4.0]})
_REFUSED = (
    "Request to assign label to version {} of model lab, which is not currently available for "
    "inference"
)


def unknown(label: str) -> tuple[int, Any]:
    return 400, {"error": f"Unrecognized servable version label: {label}"}


def test_a_label_of_the_first_configuration(served: Reloading) -> None:
    assert served.predict("labelled/labels/first") == TWO


def test_a_label_is_moved_and_one_left_out_disappears(served: Reloading) -> None:
    # Labels come in one reload with their versions, which the original refuses.
    assert served.reload(served.entry("lab", labels(stable=1, canary=2))) == {"status": {}}
    assert (by(served, "stable"), by(served, "canary")) == (TWO, THREE)
    assert served.reload(served.entry("lab", labels(stable=2))) == {"status": {}}
    assert (by(served, "stable"), by(served, "canary")) == (THREE, unknown("canary"))
    assert served.reload(served.entry("lab", _ALL)) == {"status": {}}
    assert by(served, "stable") == unknown("stable")


def test_a_label_that_is_refused_leaves_the_labels_as_they_were(served: Reloading) -> None:
    assert served.reload(served.entry("lab", labels(stable=1))) == {"status": {}}
    refused = served.reload(served.entry("lab", labels(stable=2, new=9)))
    assert refused == ["FAILED_PRECONDITION", _REFUSED.format(9)]
    assert (by(served, "stable"), by(served, "new")) == (TWO, unknown("new"))
    # Nor does the refused configuration harm a later one.
    assert served.reload(served.entry("lab", labels(stable=2))) == {"status": {}}
    assert by(served, "stable") == THREE


def test_a_label_of_a_version_that_is_gone(served: Reloading) -> None:
    assert served.reload(served.entry("lab", labels(old=1))) == {"status": {}}
    served.unput("lab", 1)
    served.until_states("lab", v1="END", v2="AVAILABLE")
    assert by(served, "old") == (
        404,
        {"error": "Servable not found for request: Specific(lab, 1)"},
    )
    request = "model_spec { name: 'lab' version_label: 'old' }" + floats("x", 2)
    assert served.call("Predict", request) == [
        "NOT_FOUND",
        "Servable not found for request: Specific(lab, 1)",
    ]
    # The version that was unloaded stays in the status, with nothing wrong.
    assert served.status("lab") == [(2, "AVAILABLE", "OK", ""), (1, "END", "OK", "")]
    # It is not available any more, so no label may be put on it.
    refused = served.reload(served.entry("lab", labels(older=1)))
    assert refused == ["FAILED_PRECONDITION", _REFUSED.format(1)]
    served.put("half_plus_two", "lab", 1)
    served.until_states("lab", v1="AVAILABLE")
