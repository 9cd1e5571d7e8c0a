"""The same change of version under different policies.

`transition_run` measures one (`page_cache` makes each start from the same cache),
`compare_transitions` measures all, `transition_comparison` is what that found
(`transition_figure` draws it), and `transition_advice` says which policy to choose.
"""

__all__ = ["transition_run", "compare_transitions", "transition_comparison", "transition_figure"]
