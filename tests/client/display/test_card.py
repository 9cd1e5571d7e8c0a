"""The server card: what it says, and what it must never say."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from html import unescape

import pytest

from workbench.client.display.card import server_card, stopped_card
from workbench.client.display.card_text import server_text
from workbench.client.display.version_view import VersionView
from workbench.client.display.views import Versions
from workbench.client.outcomes import Published, Reused
from workbench.core.signature import Signature, TensorInfo

SIGNATURE = Signature({"x": TensorInfo("float", (-1, 64))}, {"y": TensorInfo("float", (-1, 10))})


def view(version: int, state: str, memory: int | None, error: str | None = None) -> VersionView:
    return VersionView(
        version, state, f"/m/{version}", error, 1000, memory, 0.25, {"serving_default": SIGNATURE}
    )


def words(markup: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", markup, flags=re.S).split())


def test_a_running_server() -> None:
    versions = Versions(
        [view(2, "LOADING", 30 << 20), view(1, "AVAILABLE", 60 << 20)], {"3": "still <copied>"}
    )
    markup = server_card(
        "digits", "http://127.0.0.1:8501", [({"name": "digits", "transition": "smooth"}, versions)]
    )
    said = words(markup)
    assert said.startswith("digits http://127.0.0.1:8501 as of ")
    assert "digits, smooth transitions version state memory, measured loaded in" in said
    assert "2 loading 30 MB 0.25 s 1 available 60 MB 0.25 s" in said
    assert "3 waiting still &lt;copied&gt;" in said
    assert "serving_default(x: float[?, 64]) -&gt; (y: float[?, 10])" in said
    # The bars are to scale.
    assert re.findall(r"'width:(\d+)px'", markup) == ["32", "64"]


def test_the_token_is_asked_for_when_a_snippet_is_run_and_never_shown() -> None:
    versions = Versions([view(1, "AVAILABLE", None)], {})
    markup = server_card(
        "digits", "http://h:1", [({"name": "digits", "transition": "smooth"}, versions)]
    )
    assert "Bearer $(workbench status digits --token)" in words(markup)
    assert "wb.connect(&quot;digits&quot;).predict(x)" in markup


def test_a_failed_version_says_why() -> None:
    versions = Versions([view(2, "END", None, "NOT_FOUND: no <file>")], {})
    markup = server_card("m", "http://h:1", [({"name": "m", "transition": "smooth"}, versions)])
    assert "2 failed 0.25 s NOT_FOUND: no &lt;file&gt;" in words(markup)


def test_how_the_caller_came_by_it() -> None:
    outcome = Published("m", "http://h:1/v1/models/m", 2, ("signatures unchanged",))
    markup = server_card("m", "http://h:1", [], outcome)
    assert words(markup).split(" as of ")[1][9:] == (
        "Published version 2 of m at http://h:1/v1/models/m signatures unchanged no models yet"
    )


def test_as_text() -> None:
    versions = Versions(
        [
            view(12, "END", None, "NOT_FOUND: no such op"),
            view(2, "LOADING", 30 << 20),
            view(1, "AVAILABLE", 160 << 20),
        ],
        {"13": "still copied"},
    )
    outcome = Reused("digits", "http://h:1/v1/models/digits", ("labels changed",))
    about = {"name": "digits", "transition": "smooth"}
    head, *lines = server_text("digits", "http://h:1", [(about, versions)], outcome).splitlines()
    assert re.fullmatch(r"digits at http://h:1, as of \d\d:\d\d:\d\d", head)
    assert lines == [
        "Reusing digits at http://h:1/v1/models/digits: it runs already and the model is the same",
        "labels changed",
        "",
        "digits, smooth transitions",
        "  version  state      memory, measured  loaded in",
        "  12       failed                       0.25 s",
        "           NOT_FOUND: no such op",
        "  2        loading    30 MB             0.25 s",
        "  1        available  160 MB            0.25 s",
        "  13       waiting: still copied",
        "",
        "  serving_default(x: float[?, 64]) -> (y: float[?, 10])",
        "",
        "  import workbench as wb",
        '  wb.connect("digits").predict(x)',
        "",
        '  curl -H "Authorization: Bearer $(workbench status digits --token)" \\',
        f"""       -d '{{"instances": [{[0] * 64}]}}' http://h:1/v1/models/digits:predict""",
    ]
    assert server_text("m", "http://h:1", []).splitlines()[1:] == ["no models yet"]


def test_no_models_and_stopped() -> None:
    assert words(server_card("m", "http://h:1", [])).endswith("no models yet")
    assert words(stopped_card("<m>")).startswith("&lt;m&gt; stopped as of ")


def test_it_needs_no_script_and_nothing_from_elsewhere() -> None:
    versions = Versions([view(1, "AVAILABLE", 1)], {})
    markup = server_card("m", "http://h:1", [({"name": "m", "transition": "smooth"}, versions)])
    assert not re.search(r"<script|<link|<img|\bon\w+=|url\(", markup)


def test_the_versions_alone() -> None:
    versions = Versions([view(1, "AVAILABLE", 60 << 20)], {})
    assert words(versions._repr_html_()) == (
        "version state memory, measured loaded in 1 available 60 MB 0.25 s"
    )


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ({"x": TensorInfo("float", (-1, 3))}, {"instances": [[0, 0, 0]]}),
        ({"x": TensorInfo("string", (-1,))}, {"instances": [""]}),
        (
            {"a'b": TensorInfo("int32", (-1, -1, 2)), "c": TensorInfo("bool", (-1,))},
            {"instances": [{"a'b": [[0, 0]], "c": False}]},
        ),
    ],
)
def test_the_request_can_be_sent_as_it_stands(
    inputs: dict[str, TensorInfo], body: dict[str, object]
) -> None:
    sent = shlex.split(curl(inputs).replace("\\\n", ""))
    assert json.loads(sent[sent.index("-d") + 1]) == body
    assert sent[-1] == "http://h:1/v1/models/it%27s%3B:predict"


@pytest.mark.parametrize(
    ("info", "body"),
    [
        (TensorInfo("float", (-1, 784)), '{"instances": [...]}'),
        (TensorInfo("float", ()), '{"inputs": ...}'),
        (TensorInfo("float", None), '{"inputs": ...}'),
    ],
)
def test_a_request_that_would_be_long_has_dots(info: TensorInfo, body: str) -> None:
    assert f" -d '{body}' " in curl({"x": info})


def curl(inputs: dict[str, TensorInfo]) -> str:
    """The card's curl command for a model with these inputs."""
    served = replace(
        view(1, "AVAILABLE", None), signatures={"serving_default": Signature(inputs, {})}
    )
    markup = server_card(
        "m", "http://h:1", [({"name": "it's;", "transition": "smooth"}, Versions([served], {}))]
    )
    return unescape(re.findall(r"<pre>(curl.*?)</pre>", markup, flags=re.S)[0])
