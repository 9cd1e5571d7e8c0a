"""JSON to tensors and back, with TensorFlow Serving's rules and messages.

`requests` reads a body. The `fast_reader` takes what is plain; what it cannot tell goes to
`rapidjson`, an exact reader whose values are `json_value`s, helped by `text_runs`, and then to
`dense_tensors`. `responses` writes tensors.
"""

__all__ = ["requests", "responses"]
