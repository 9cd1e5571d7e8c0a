"""What is tried of a version before it serves, and checked while it does.

`inputs` makes inputs up from shapes and dtypes; `recent` keeps the last real ones, for the next
version. `trial` asks a version that is loaded, and not available yet, each of its signatures: what
can never answer is refused, the rest is warm. `rows` has the second witness of row independence: a
run at load, or the first live requests (`witness`), and from time to time while requests are merged
(`audit`). `compare` says whether two answers are the same, and what of them a client would notice.
"""

from workbench.server.engine.trial.recent import Recent
from workbench.server.engine.trial.trial import Trial, TrialResult

__all__ = ["Recent", "Trial", "TrialResult"]
