"""The pictures of a fleet: `python -m docs.fleet_pictures FOLDER` writes the timeline and the card.

They show a fleet that was recorded once on three real Ray nodes (`tests/deploy/fleet`): version 2
is rolled out, version 3 cannot be loaded and is taken back, a third server comes, a node is killed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.deploy.fleet.recorded_fleet import recorded_fleet, recorded_time
from workbench.experiments.fleet_history.fleet_timeline import FleetTimeline
from workbench.facade.notebook_fleet import Fleet

_NETWORK = "10.0.0."
"""Of the recorded addresses."""
_PAGE = "<body style='margin:0;background:white'><div style='padding:8px'>{card}</div></body>"


def timeline() -> FleetTimeline:
    """The whole run, by a notebook that also asked before the node died."""
    with recorded_fleet("rolled") as before, recorded_time(before.wall) as clock:
        fleet = Fleet(before.record)
        fleet.timeline()
        before.close()
        with recorded_fleet("lost", before.network) as after:
            clock.later = after.wall - before.wall
            found = json.dumps(fleet.timeline().to_json())
    return FleetTimeline.from_json(json.loads(found.replace(before.network, _NETWORK)))


def card() -> str:
    """The card shortly after the node was killed, as HTML."""
    with recorded_fleet("killed") as recording, recorded_time(recording.wall):
        page = Fleet(recording.record)._repr_html_()
    return page.replace(recording.network, _NETWORK)


def main(folder: str) -> None:
    """Write both pictures."""
    found = Path(folder)
    timeline().plot().savefig(found / "fleet-timeline.png", dpi=220, facecolor="white")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 876, "height": 100}, device_scale_factor=2)
        page.set_content(_PAGE.format(card=card()))
        page.screenshot(path=str(found / "fleet-card-light.png"), full_page=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
