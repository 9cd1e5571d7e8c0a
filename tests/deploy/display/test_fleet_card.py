"""The card of a fleet that was recorded on real nodes: in a cell, in a terminal, in trouble."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.fleet.recorded_fleet import (
    Clock,
    RecordedFleet,
    recorded,
    recorded_fleet,
    recorded_time,
)
from workbench.deploy.display.fleet_card import FleetCard
from workbench.deploy.display.fleet_state import ServerState, balanced_words, versions_words
from workbench.facade.notebook_fleet import Fleet


class Shown:
    """A recorded fleet, and the user's `Fleet`."""

    def __init__(self, recording: RecordedFleet, clock: Clock) -> None:
        self.recording, self.clock = recording, clock
        self.fleet = Fleet(recording.record)

    def host(self, number: int) -> str:
        return f"{self.recording.network}{number}"


@pytest.fixture
def shown(request: pytest.FixtureRequest) -> Iterator[Shown]:
    data: Any = request.param
    with recorded_fleet(data) as recording, recorded_time(recording.wall) as clock:
        yield Shown(recording, clock)


def at(*moments: Any) -> Any:
    return pytest.mark.parametrize("shown", moments, indirect=True)


def broken_off(look_s: float = 5.0) -> dict[str, Any]:
    """A rollout whose program ended before it ordered the first server."""
    data = recorded("during")
    apps = data["head"]["/api/serve/applications/"]["applications"]
    deployment = apps["shop-servers"]["deployed_app_config"]["deployments"][0]
    orders = deployment["user_config"]
    orders["next"]["servers"] = []
    next(e for e in orders["log"] if e["data"].get("revision") == 3)["data"]["look_s"] = look_s
    return data


def other_labels() -> dict[str, Any]:
    """A plan with a label that the servers do not have."""
    data = recorded("rolled")
    apps = data["head"]["/api/serve/applications/"]["applications"]
    deployment = apps["shop-servers"]["deployed_app_config"]["deployments"][0]
    deployment["user_config"]["plan"]["models"][0]["config"]["labels"] = {"best": 2}
    return data


def words(page: str) -> str:
    """The words of a page, without its style."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@at("rolled")
def test_it_has_a_row_for_each_server_and_the_plan(shown: Shown) -> None:
    state = shown.fleet.card().state
    assert state.headline == "2 of 2 servers serve, revision 2"
    assert [server.node for server in state.servers] == [shown.host(2), shown.host(3)]
    first = state.servers[0]
    assert first.name == "shop-n7b8c4m9"
    assert (first.state, first.revision, first.versions) == ("serves", 2, {"half": (2,)})
    assert (first.answered, first.failed) == (6727, 0)
    assert first.memory_bytes is not None
    assert 200 < first.memory_bytes / 2**20 < 400
    assert first.balanced == {shown.host(2): "UP"}
    assert state.troubles == ()
    assert state.rollout is None
    page = words(shown.fleet._repr_html_())
    for text in (
        "shop 2 of 2 servers serve, revision 2",
        "half version 2; labels: stable = 2 transition smooth batching automatic",
        f"{shown.host(2)} shop-n7b8c4m9 serves 2 2 6,727 0 278 MB UP",
        f"http://{shown.host(2)}:8501",
        f"http://{shown.host(2)}:8501/v1/models/half:predict",
    ):
        assert text in page, page
    text = str(shown.fleet.card())
    assert re.search(r"\.2 +shop-n7b8c4m9 +serves +2 +2 +6,727 +0 +278 MB +UP\n", text)


@at("rolled", "during", "killed", "lost")
def test_it_has_no_secret_and_no_script(shown: Shown) -> None:
    card = shown.fleet.card()
    page, record = card._repr_html_(), shown.recording.record
    tokens = record.tokens
    for secret in (record.secret, record.token or "", tokens.data, tokens.control):
        assert f"{secret}<" not in page
        if secret != "token":
            assert secret not in page + str(card) + repr(card)
    assert "<script" not in page


@at("during")
def test_a_rollout_that_goes_on_is_shown_as_that(shown: Shown) -> None:
    state = shown.fleet.card().state
    assert [server.state for server in state.servers] == ["changing", "updating"]
    # It differs from the next plan on purpose, for a while.
    assert state.servers[0].differs == ()
    assert (
        "The rollout of revision 3 (half serves 3) is under way: 0 of 2 servers have it, 1 is "
        "changing; its last step was 1 s ago."
    ) in str(shown.fleet.card())
    assert "take_back" not in str(shown.fleet.card())


@at(broken_off())
def test_a_rollout_that_was_broken_off_names_the_cure(shown: Shown) -> None:
    shown.clock.later = 300.0
    text = str(shown.fleet.card())
    assert "seems to be broken off: 0 of 2 servers have it; its last step was 5 minutes ago" in text
    assert "Go on or go back with fleet.resume() or fleet.take_back()." in text
    assert "<code>fleet.take_back()</code>" in shown.fleet._repr_html_()


@at(broken_off(look_s=120.0))
def test_a_long_look_is_not_taken_for_an_end(shown: Shown) -> None:
    shown.clock.later = 300.0
    assert "is under way" in str(shown.fleet.card())
    shown.clock.later = 400.0
    assert "seems to be broken off" in str(shown.fleet.card())


@at(other_labels())
def test_what_differs_from_the_plan_is_below_the_server(shown: Shown) -> None:
    said = "model half: labels is {'stable': 2}, planned is {'best': 2}"
    assert [server.differs for server in shown.fleet.card().state.servers] == [(said,)] * 2
    assert str(shown.fleet.card()).count(said) == 2
    assert words(shown.fleet._repr_html_()).count("planned is") == 2


@at("killed")
def test_a_server_that_does_not_answer_keeps_its_row(shown: Shown) -> None:
    dead = next(s for s in shown.fleet.card().state.servers if s.name == "shop-fbwykfvk")
    assert (dead.state, dead.versions, dead.memory_bytes) == ("no answer", None, None)
    assert dead.balanced == {shown.host(2): "DOWN"}
    assert "2 of 3 servers serve" in str(shown.fleet.card())


@at("lost")
def test_a_server_that_starts_has_a_row(shown: Shown) -> None:
    states = {server.name: server.state for server in shown.fleet.card().state.servers}
    assert states == {
        "shop-n7b8c4m9": "serves",
        "shop-xdc9kmel": "serves",
        "shop-c4ke4voy": "starting",
    }
    assert "Ray says: A replica's health check failed." in str(shown.fleet.card())
    assert "no node yet shop-c4ke4voy starting" in words(shown.fleet._repr_html_())


@at("rolled")
def test_a_head_that_does_not_answer_is_named_and_the_rest_is_there(shown: Shown) -> None:
    shown.fleet.card()
    shown.recording.fail("head")
    shown.clock.later = 180.0
    card = shown.fleet.card()
    assert card.state.headline == "2 of 2 servers serve, revision 2"
    (trouble,) = card.state.troubles
    assert trouble.startswith(f"The head at http://{shown.host(2)}:8265 does not answer")
    assert trouble.endswith("3 minutes ago.")
    assert trouble in words(card._repr_html_()).replace("&#x27;", "'")
    assert [server.state for server in card.state.servers] == ["serves", "serves"]


@at("rolled")
def test_a_head_that_never_answered_leaves_what_the_servers_say(shown: Shown) -> None:
    shown.recording.fail("head")
    card = shown.fleet.card()
    assert card.state.orders is None
    assert card.state.headline == "2 servers serve"
    assert "It has never answered since" in card.state.troubles[0]
    assert [server.versions for server in card.state.servers] == [{"half": (2,)}] * 2
    assert "revision 2" not in str(card)


@at("rolled")
def test_without_balancers_the_servers_are_asked_directly(shown: Shown) -> None:
    shown.fleet.card()
    for host in shown.recording.hosts:
        shown.recording.fail(host)
    state = shown.fleet.card().state
    assert state.troubles[0].startswith(f"The balancer at {shown.host(2)} does not answer.")
    assert [(server.state, server.balanced) for server in state.servers] == [("serves", {})] * 2


@at("killed")
def test_nothing_answers(shown: Shown) -> None:
    shown.recording.close()
    text = str(shown.fleet.card())
    assert "no server is known" in text
    assert text.count("does not answer") == 2
    assert shown.fleet._repr_html_().count("does not answer") == 2


def test_servers_and_balancers_in_words() -> None:
    many = ServerState("a", "n", "serves", versions={"half": (1, 2), "digits": ()})
    assert versions_words(many) == "half 1, 2; digits none"
    assert balanced_words(many) == ""
    agree = ServerState("a", "n", "serves", balanced={"x": "UP", "y": "UP"})
    assert balanced_words(agree) == "UP (2)"
    differ = ServerState("a", "n", "serves", balanced={"x": "UP", "y": "DOWN", "z": "UP"})
    assert balanced_words(differ) == "UP (2), DOWN (1)"


@at("rolled")
def test_a_server_that_refused_a_change_says_why(shown: Shown) -> None:
    from dataclasses import replace

    state = shown.fleet.card().state
    why = "DATA_LOSS: Version 3 of <half> did not load"
    refused = replace(state.servers[0], state="refused", error=why)
    card = FleetCard(replace(state, servers=(refused, state.servers[1])))
    assert f"\n      {why}\n" in str(card)
    assert "DATA_LOSS: Version 3 of &lt;half&gt; did not load" in card._repr_html_()
    assert card.state.serving == 2
