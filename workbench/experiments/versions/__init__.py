"""Two versions side by side.

`compare_versions` asks both, `agreement` has the arithmetic. `version_comparison` is the result,
and `version_figure` draws it; `example_images` finds examples that are images.
"""

__all__ = [
    "agreement",
    "compare_versions",
    "version_comparison",
    "example_images",
    "version_figure",
]
