"""Two versions side by side.

`compare_versions` asks both, `agreement` has the arithmetic. `version_comparison` is what was
found, `slices` the same by class, `version_figure` its picture.
"""

__all__ = ["agreement", "compare_versions", "version_comparison", "slices", "version_figure"]
