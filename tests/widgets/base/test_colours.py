"""A version has one colour, in the browser and in the figure that lasts."""

from __future__ import annotations

import re
from pathlib import Path

from workbench.widgets.base.colours import FAILED, VERSIONS, version_colour

THEME = Path(__file__).parents[3] / "extension" / "src" / "charts" / "theme.ts"


def test_figures_and_live_views_agree() -> None:
    light = re.findall(r"light: (\[[^\]]*\]|'[^']*')", THEME.read_text())
    assert tuple(re.findall(r"#\w{6}", light[0])) == VERSIONS
    assert re.findall(r"#\w{6}", light[1]) == [FAILED]


def test_a_version_keeps_its_colour() -> None:
    assert version_colour(1) == VERSIONS[0]
    assert version_colour(8) == VERSIONS[1]
