"""The timeline of a fleet that was recorded on real nodes, as data and as a figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.deploy.fleet.recorded_fleet import RecordedFleet, recorded_fleet, recorded_time
from workbench.core.status import ServingError
from workbench.experiments.fleet_history.fleet_lanes import Lane
from workbench.experiments.fleet_history.fleet_timeline import FleetTimeline
from workbench.experiments.fleet_history.fleet_timeline_figure import entries_of
from workbench.experiments.looks import FAILED, HATCHES, STATES, version_colour
from workbench.facade.notebook_fleet import Fleet

FIRST, DEAD, THIRD = "shop-n7b8c4m9", "shop-fbwykfvk", "shop-xdc9kmel"


@pytest.fixture(scope="module")
def seen() -> Iterator[tuple[RecordedFleet, FleetTimeline]]:
    """Asked for the first time after the node had died."""
    with recorded_fleet("lost") as recording, recorded_time(recording.wall):
        yield recording, Fleet(recording.record).timeline()


@pytest.fixture
def timeline(seen: tuple[RecordedFleet, FleetTimeline]) -> FleetTimeline:
    return seen[1]


def lane(timeline: FleetTimeline, server: str) -> Lane:
    return next(each for each in timeline.lanes if each.server == server)


def states(timeline: FleetTimeline, server: str) -> list[tuple[int, str]]:
    return [(span.version, span.state) for span in lane(timeline, server).spans]


def test_there_is_a_lane_for_each_server_by_its_node(
    seen: tuple[RecordedFleet, FleetTimeline],
) -> None:
    recording, timeline = seen
    nodes = [f"{recording.network}{number}" for number in (2, 3, 4)]
    assert [each.node for each in timeline.lanes] == nodes
    assert [each.server for each in timeline.lanes] == [FIRST, DEAD, THIRD]
    assert [each.server for each in timeline.serving] == [FIRST, THIRD]
    assert timeline.node_of(DEAD) == nodes[1]


def test_versions_have_their_states_over_time(timeline: FleetTimeline) -> None:
    assert states(timeline, FIRST) == [
        (1, "START"), (1, "LOADING"), (1, "AVAILABLE"),
        (2, "START"), (2, "LOADING"), (2, "AVAILABLE"), (1, "UNLOADING"),
        (3, "START"), (3, "LOADING"),
    ]  # fmt: skip
    spans = [span for span in lane(timeline, FIRST).spans if span.version == 2]
    for before, after in pairwise(spans):
        assert before.end == after.start
    assert spans[-1].end == timeline.end
    # Smooth: version 1 serves until version 2 does.
    first = next(s for s in lane(timeline, FIRST).spans if s.state == "AVAILABLE")
    assert spans[-1].start <= first.end
    assert states(timeline, THIRD) == [(2, "START"), (2, "LOADING"), (2, "AVAILABLE")]


def test_a_version_that_could_not_be_loaded_is_a_failure(timeline: FleetTimeline) -> None:
    (failure,) = lane(timeline, FIRST).failures
    assert failure.version == 3
    assert failure.why.startswith("DATA_LOSS: ")
    assert "Checksum does not match" in failure.why
    loading = lane(timeline, FIRST).spans[-1]
    assert failure.at == pytest.approx(loading.end, abs=0.01)
    assert lane(timeline, THIRD).failures == ()


def test_the_lane_of_a_node_that_died_ends(timeline: FleetTimeline) -> None:
    dead = lane(timeline, DEAD)
    assert dead.end is not None
    assert lane(timeline, FIRST).end is None
    assert 50 < timeline.end - dead.end < 60
    # What it served is known from the balancers, though nothing can be asked of it any more.
    assert states(timeline, DEAD) == [(1, "AVAILABLE"), (2, "AVAILABLE")]
    assert [span.end for span in dead.spans] == [dead.spans[1].start, dead.end]
    assert max(row.end for row in dead.requests) < dead.end + 3.0
    assert dead.sent > 5000


def test_what_was_seen_of_a_server_before_it_died_is_kept() -> None:
    with recorded_fleet("rolled") as before, recorded_time(before.wall) as clock:
        fleet = Fleet(before.record)
        first = fleet.timeline()
        before.close()
        with recorded_fleet("lost", before.network) as after:
            clock.later = after.wall - before.wall
            later = fleet.timeline()
    assert lane(first, DEAD).end is None
    assert states(later, DEAD) == [
        (1, "START"), (1, "LOADING"), (1, "AVAILABLE"),
        (2, "START"), (2, "LOADING"), (2, "AVAILABLE"), (1, "UNLOADING"),
    ]  # fmt: skip
    dead = lane(later, DEAD)
    assert dead.spans[5].end == dead.end
    assert later.zero == first.zero
    assert later.end > first.end


def test_requests_are_those_that_the_balancers_sent(timeline: FleetTimeline) -> None:
    total = sum(each.sent for each in timeline.lanes)
    assert total > 50_000
    assert all(row.end > row.start and row.sent >= 0 for each in timeline.lanes
               for row in each.requests)  # fmt: skip
    # None was sent before a server served.
    for each in timeline.lanes:
        assert min(row.start for row in each.requests) > each.start
    assert f"{total:,} requests" in timeline.summary()


def test_the_steps_are_marks_and_make_rollouts(timeline: FleetTimeline) -> None:
    assert [mark.kind for mark in timeline.marks] == [
        "deployed",
        "rollout_began", "rollout_step", "rollout_looked", "rollout_step", "rollout_looked",
        "rollout_finished",
        "rollout_began", "rollout_step", "rollout_taken_back",
        "scaled",
    ]  # fmt: skip
    assert [mark.at for mark in timeline.marks] == sorted(mark.at for mark in timeline.marks)
    good, bad = timeline.rollouts
    assert (good.revision, good.what, good.outcome) == (2, "half serves 2", "finished")
    assert [step.servers for step in good.steps] == [(FIRST,), (DEAD,)]
    assert good.why.startswith("1696 requests, 0.0% failed")
    assert (bad.revision, bad.outcome) == (3, "taken back")
    assert bad.why.startswith(f"server {FIRST} could not change: DATA_LOSS")
    assert [step.servers for step in bad.steps] == [(FIRST,)]
    assert good.end < bad.start < bad.end
    assert timeline.marks[-1].words == "3 servers wanted"


def test_a_rollout_that_has_not_ended_goes_on_until_now() -> None:
    with recorded_fleet("during") as recording, recorded_time(recording.wall):
        timeline = Fleet(recording.record).timeline()
    last = timeline.rollouts[-1]
    assert (last.revision, last.outcome, last.end) == (3, "not ended", timeline.end)
    assert "1 rollout finished, 1 rollout not ended" in timeline.summary()
    timeline.plot()


def test_it_outlives_the_fleet(timeline: FleetTimeline) -> None:
    kept = FleetTimeline.from_json(json.loads(json.dumps(timeline.to_json())))
    assert kept == timeline
    assert kept._repr_html_() == timeline._repr_html_()


def test_it_reads_well_as_text_and_as_tables(timeline: FleetTimeline) -> None:
    text = str(timeline)
    assert "half on fleet shop at" in text
    assert "2 servers serving, 1 gone, 1 rollout finished, 1 rollout taken back" in text
    assert "gone after 103 s" in text
    assert "2 available" in text
    assert "revision 3  taken back: server" in text
    assert list(timeline.frame["server"].unique()) == [FIRST, DEAD, THIRD]
    assert timeline.steps["revision"].tolist()[:2] == [1, 2]
    assert "<img alt=" in timeline._repr_html_()
    assert "<script" not in timeline._repr_html_()


# The figure.


def drawn(timeline: FleetTimeline) -> tuple[Any, Any, Any]:
    """The axes of the lanes, of the changes and of the words."""
    found: Any = timeline.plot().axes
    return found[0], found[1], found[2]


def test_the_lanes_are_drawn_as_they_are(timeline: FleetTimeline) -> None:
    lanes, _, _ = drawn(timeline)
    names = [label.get_text() for label in lanes.get_yticklabels()]
    assert names == [f"{each.node}\n{each.server.removeprefix('shop-')}" for each in timeline.lanes]
    from matplotlib.colors import to_hex

    bars = [
        (
            to_hex(bar.get_facecolor()),
            bar.get_hatch(),
            bar.get_alpha(),
            bar.get_x(),
            bar.get_width(),
        )
        for container in lanes.containers
        for bar in container
    ]
    # What began and ended within a millisecond has no bar.
    spans = [span for each in timeline.lanes for span in each.spans if span.end > span.start]
    for bar, span in zip(bars, spans, strict=True):
        look = STATES[span.state]
        assert bar[:3] == (version_colour(span.version), HATCHES[look.hatch], look.opacity)
        assert bar[3:] == pytest.approx((span.start, span.end - span.start))
    texts = [text.get_text() for text in lanes.texts]
    assert texts.count("gone") == 1
    assert "version 2" in texts
    crosses = [line for line in lanes.lines if line.get_marker() == "x"]
    assert [line.get_color() for line in crosses] == [FAILED]
    orders = [line for line in lanes.lines if line.get_marker() == "v"]
    assert sum(len(line.get_xdata()) for line in orders) == 3
    assert lanes.get_xlim() == pytest.approx((timeline.shown_from, timeline.end))


def test_versions_that_are_there_together_lie_below_each_other(timeline: FleetTimeline) -> None:
    lanes, _, _ = drawn(timeline)
    bars = [bar for container in lanes.containers for bar in container]
    rows = [(bar.get_y(), bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    for place, (y, start, end) in enumerate(rows):
        for other, began, ended in rows[place + 1 :]:
            assert abs(y - other) > 0.5 or end <= began + 1e-6 or ended <= start + 1e-6


def test_the_changes_are_numbered_and_in_words(timeline: FleetTimeline) -> None:
    _, changes, words = drawn(timeline)
    numbers = [text.get_text() for text in changes.texts if text.get_text().isdecimal()]
    assert numbers == ["1", "2", "3", "4"]
    entries = entries_of(timeline)
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert entries[0].words == "deployed on 2 servers"
    assert entries[1].words.startswith("revision 2, half serves 2: finished after 14.0 s; 1696")
    # In the figure, a server is named by its node, as its lane is.
    assert f"server {timeline.node_of(FIRST)} could not change" in entries[2].words
    said = [text.get_text() for text in words.texts]
    assert "3 servers wanted" in said
    # A long reason is cut after two lines.
    assert sum(text.endswith(" …") for text in said) == 1


def test_the_figure_goes_back_as_far_as_it_is_asked_to(
    seen: tuple[RecordedFleet, FleetTimeline],
) -> None:
    _, timeline = seen
    short = timeline.last(30.0)
    assert short.shown_from == pytest.approx(timeline.end - 30.0)
    assert entries_of(short) == []
    lanes, _, _ = drawn(short)
    # The node had died by then.
    assert len(lanes.get_yticklabels()) == 2
    assert all(bar.get_x() >= short.shown_from - 1e-6 for c in lanes.containers for bar in c)


def test_it_begins_with_the_last_changes_that_followed_each_other() -> None:
    def scaled(wall: float) -> dict[str, Any]:
        return {"wall": wall, "kind": "scaled", "data": {"servers": 2}}

    rows = [scaled(wall) for wall in (1000.0, 5000.0, 5100.0, 5200.0)]
    timeline = FleetTimeline.of("shop", "half", rows, [], [], 9000.0)
    assert timeline.shown_from == 5000.0 - 5.0 - 1000.0
    assert [entry.words for entry in entries_of(timeline)] == ["2 servers wanted"] * 3
    assert timeline.plot().axes[0].get_xlabel().startswith("minutes since ")
    # Without lanes and marks it is a figure, too.
    FleetTimeline.of("shop", "half", [], [], [], 9000.0).plot()


def test_its_length_must_be_positive(seen: tuple[RecordedFleet, FleetTimeline]) -> None:
    with pytest.raises(ServingError, match="seconds"):
        Fleet(seen[0].record).timeline(-1.0)
