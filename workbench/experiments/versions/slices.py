"""Compares two versions class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def by_class(
    groups: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray],
    versions: tuple[int, int],
    labelled: bool,
) -> pd.DataFrame:
    """A row for each class; see `VersionComparison.by_class`.

    Args:
        groups: shape (n,), the class of each example.
        answers: shape (n,) each, the classes that the two versions gave.
        labelled: whether `groups` are labels; otherwise they are the first version's answers.
    """
    import pandas as pd

    one, two = answers
    names = np.unique(groups)
    rows: list[dict[str, Any]] = []
    for name in names:
        mine = groups == name
        row: dict[str, Any] = {
            "examples": int(mine.sum()),
            "same answer": float((one[mine] == two[mine]).mean()),
        }
        if labelled:
            for version, given in zip(versions, answers, strict=True):
                row[f"version {version} right"] = float((given[mine] == name).mean())
        rows.append(row)
    kind = "label" if labelled else f"class of version {versions[0]}"
    return pd.DataFrame(rows, index=pd.Index(names, name=kind))
