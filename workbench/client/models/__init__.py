"""Turns a caller's model into a SavedModel that can be served.

`servable` accepts any kind of model. Each kind finds the functions that can be served
(`module_model`, `keras_model`, `keras_file`). `endpoints` gives their inputs clean names
(`aliases`), `captures` saves everything that they use, and `op_packages` finds the packages that
register their operations. `graph_form` shows whether two of them compute the same.
"""

__all__ = ["servable", "keras_file", "endpoints", "captures", "graph_form"]
