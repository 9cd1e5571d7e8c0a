"""Outcomes: each kind with its words."""

from __future__ import annotations

from workbench.client.outcomes import (
    Failed,
    Launched,
    Published,
    Reused,
    TimedOut,
    differences,
    outcome_of,
)
from workbench.core.status import Code, ServingError

URL = "http://127.0.0.1:1/v1/models/m"


def test_messages() -> None:
    assert str(Launched("m", URL)) == f"Serving m at {URL}"
    assert str(Launched("m", URL, "why")) == f"Serving m at {URL} (why)"
    assert str(Reused("m", URL)) == (
        f"Reusing m at {URL}: it runs already and the model is the same"
    )
    assert str(Published("m", URL, 3, ("signatures unchanged",))) == (
        f"Published version 3 of m at {URL}\nsignatures unchanged"
    )
    assert str(Published("m", URL, 3, ("signatures unchanged",), ("labels changed",))) == (
        f"Published version 3 of m at {URL}\nsignatures unchanged\nlabels changed"
    )
    assert Launched("m", URL).ok


def test_in_brief() -> None:
    assert Launched("m", URL, "why").brief == "launched"
    assert Reused("m", URL, ("labels changed",)).brief == (
        "reused, the model is the same; labels changed"
    )
    assert Published("m", URL, 3, ("signatures unchanged",)).brief == (
        "published version 3; signatures unchanged"
    )


def test_refusals_become_outcomes() -> None:
    broken = ServingError(Code.NOT_FOUND, "no saved_model.pb")
    assert outcome_of("m", broken) == Failed("m", broken)
    assert str(Failed("m", broken)) == "m is not served: no saved_model.pb"
    late = ServingError(Code.DEADLINE_EXCEEDED, "not within 1 s")
    assert outcome_of("m", late) == TimedOut("m", late)
    assert str(TimedOut("m", late)) == "m is not served yet: not within 1 s"
    assert not Failed("m", broken).ok


def test_html_is_escaped_and_keeps_every_line() -> None:
    shown = Failed("m", ServingError(Code.INTERNAL, "first <b>\nTraceback & more"))._repr_html_()
    assert "first &lt;b&gt;" in shown
    assert "Traceback &amp; more</pre>" in shown
    assert "--jp-error-color0" in shown


def described(size: int, **signatures: tuple[str, int]) -> dict[str, object]:
    return {
        "size_bytes": size,
        "signatures": {
            name: {
                "inputs": {"x": {"dtype": dtype, "shape": [-1, width]}},
                "outputs": {"y": {"dtype": "float", "shape": [-1]}},
                "method_name": "",
                "defaults": [],
            }
            for name, (dtype, width) in signatures.items()
        },
    }


def test_differences_in_words() -> None:
    same = described(2_000_000, a=("float", 4))
    assert differences(same, same) == ("signatures unchanged", "size on disk 2.0 MB -> 2.0 MB")
    assert differences(
        described(900, a=("float", 4), b=("float", 1)),
        described(45_000, a=("float", 8), c=("int32", 1)),
    ) == (
        "signature a: (x: float[?, 4]) -> (y: float[?]) became (x: float[?, 8]) -> (y: float[?])",
        "signature b is gone",
        "signature c is new: (x: int32[?, 1]) -> (y: float[?])",
        "size on disk 900 bytes -> 45 KB (+4900%)",
    )
