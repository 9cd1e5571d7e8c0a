"""The process that owns one loaded version.

`zygote_main` imports TensorFlow once and forks; `worker_main` is what a fork does. `loaded_model`
loads a SavedModel and runs it: `pruning` removes what serving does not reach, `composites` takes
ragged and sparse tensors apart, `twins` finds signatures that compute the same, `rows` proves which
keep rows apart. `prefetch` reads files ahead, `checkpoint_check` explains damaged ones,
`op_libraries` loads custom operations, `replay` runs warm-up requests, and `device` chooses CPU or
GPU.
"""

__all__ = ["loaded_model"]
