"""Tests a version before it serves, and checks its answers while it does.

`inputs` makes inputs from shapes and dtypes, and `recent` keeps the last real ones for the next
version. `trial` sends a loaded version a request for each of its signatures (`direct_asking`): one
that cannot answer is refused, the others are warm afterwards. Before requests are merged, a run
must confirm that rows do not affect each other: at load (`row_witness`), with the first live
requests (`live_witness`), and from time to time while requests are merged (`audit`). `same_answers`
compares two answers, and `checks` runs all of this on live answers.
"""

from workbench.server.engine.trial.recent import Recent
from workbench.server.engine.trial.trial import Trial, TrialResult

__all__ = ["trial", "recent", "checks", "audit", "live_witness", "Recent", "Trial", "TrialResult"]
