"""A comparison of two versions class by class: where the one is better, and where the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.versions.version_comparison import VersionComparison


def grouping(found: VersionComparison) -> np.ndarray | None:
    """The class of each example: its label, or else what the first version says; None where the
    answer is no class."""
    if found.classes is None:
        return None
    return found.classes[0] if found.labels is None else found.labels


def by_class(found: VersionComparison) -> pd.DataFrame:
    """See `VersionComparison.by_class`."""
    import pandas as pd

    groups = grouping(found)
    if groups is None or found.classes is None:
        raise ValueError("Slices by class need an output that is a class")
    one, two = found.classes
    names = np.unique(groups)
    rows: list[dict[str, Any]] = []
    for name in names:
        mine = groups == name
        row: dict[str, Any] = {
            "examples": int(mine.sum()),
            "same answer": float((one[mine] == two[mine]).mean()),
        }
        if found.labels is not None:
            for version, given in zip(found.versions, (one, two), strict=True):
                row[f"version {version} right"] = float((given[mine] == name).mean())
        rows.append(row)
    kind = "label" if found.labels is not None else f"class of version {found.versions[0]}"
    return pd.DataFrame(rows, index=pd.Index(names, name=kind))
