"""Models as people have them, made into SavedModels that answer.

`servable` takes whatever a caller gives. Each kind says which functions can be served
(`module_model`, `keras_model`, `keras_file`); `endpoints` gives their inputs clean names
(`aliases`); `captures` sees to it that all that they use is saved; `op_packages` finds the packages
whose operations they need; `graph_form` tells whether two of them compute the same.
"""

__all__ = ["servable", "keras_file", "endpoints", "captures", "graph_form"]
