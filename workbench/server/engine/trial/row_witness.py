"""The second test of row independence: runs the same rows together, alone, and in another order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from workbench.core.batching.merging import Merging
from workbench.ipc.frames import Tensors
from workbench.server.engine.trial.inputs import Inputs, joined
from workbench.server.engine.trial.same_answers import Agreement, agreement

# Rows by their number. Equal ones are there too, and more than most kernels handle at once. These
# are sizes that a compiled signature is compiled for anyway.
_BATCHES = ((0, 1, 2, 0), (2, 0, 0, 1), (1,) * 3 + (0, 2) * 4 + (0,) * 5)

Run = Callable[[Mapping[str, Sequence[np.ndarray]]], Awaitable[Tensors]]

_SUSPICIONS = 2
_LONG_SECONDS = 0.02


async def independent(run: Run, requests: Sequence[Inputs], undecided: Merging) -> Merging:
    """Whether rows that are run together are answered as they are alone.

    Args:
        run: runs a batch, given as parts for each input.
        requests: of one row each, different ones.
        undecided: what the graph has left to this.

    Raises:
        ServingError: the model refused one of them.
    """
    started = time.monotonic()
    alone = [await run(joined([requests[0]]))]
    # The graph has proven it; what takes long is asked less.
    long = time.monotonic() - started > _LONG_SECONDS
    requests = requests[:2] if long else requests
    alone += [await run(joined([request])) for request in requests[1:]]
    suspicions = 0
    for batch in _BATCHES[:1] if long else _BATCHES:
        rows = [row % len(requests) for row in batch]
        together = await run(joined([requests[row] for row in rows]))
        if not all(array.ndim and len(array) == len(rows) for array in together.values()):
            return _refused(undecided, "a batch of several rows is not answered row by row")
        for at, row in enumerate(rows):
            mine = {name: array[at : at + 1] for name, array in together.items()}
            found = agreement(alone[row], mine)
            suspicions += found is Agreement.SUSPICIOUS
            if found is Agreement.DIFFERENT or suspicions >= _SUSPICIONS:
                return _refused(undecided, "rows are answered differently together than alone")
    return Merging(True, "run", batch_sizes=undecided.batch_sizes)


def _refused(undecided: Merging, reason: str) -> Merging:
    return Merging(False, "run", undecided.operation, reason)
