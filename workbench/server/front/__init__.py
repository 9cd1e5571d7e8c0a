"""The data plane: TensorFlow Serving's REST and gRPC APIs.

A request enters through `http` or `grpc`. `access` decides whether its caller may ask, and
`admission` whether there is room for it. `rest` reads what it asks for, `json` reads and writes its
tensors, and `codec` does so in a separate process where they are large. `model_status` answers
status requests, `metrics` shows the counters, and `reload` replaces the configuration.
"""

__all__ = ["http", "grpc", "rest", "json", "codec", "access", "metrics", "reload"]
