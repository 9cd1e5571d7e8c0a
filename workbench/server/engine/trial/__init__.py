"""A version is tried before it serves, and its answers are checked while it does.

`inputs` makes inputs from shapes and dtypes; `recent` keeps the last real ones, for the next
version. `trial` asks a loaded version each of its signatures (`direct_asking`): one that cannot
answer is refused, the others are warm. `row_witness` is the second witness of row independence: a
run at load, or the first live requests (`live_witness`), and from time to time while requests are
merged (`audit`). `same_answers` compares two answers; `checks` are run on live answers.
"""

from workbench.server.engine.trial.recent import Recent
from workbench.server.engine.trial.trial import Trial, TrialResult

__all__ = ["trial", "recent", "checks", "audit", "live_witness", "Recent", "Trial", "TrialResult"]
