"""Requests to a model, made from a caller's lists, arrays and tables.

The `asker` keeps a model's signatures (`lookup` finds the one that is meant). `tensors` turns a
caller's values into a signature's inputs: `arrays` converts dtypes, `columns` reads tables,
`ragged` reads ragged and sparse values, `shapes` compares shapes. `data_client` sends them.
"""

__all__ = ["asker", "lookup", "tensors", "data_client"]
