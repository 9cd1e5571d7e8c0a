"""Asking a model with what a person has at hand.

The `asker` knows a model's signature (`lookup` finds which one is meant). `tensors` turns inputs
into what it takes: `arrays` converts dtypes, `columns` reads tables, `ragged` reads ragged and
sparse values, `shapes` compares shapes. `data_client` sends them.
"""

__all__ = ["asker", "tensors", "data_client"]
