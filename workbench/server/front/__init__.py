"""The data plane: REST and gRPC, as TensorFlow Serving speaks them.

A request enters through `http` or `grpc`. `access` decides whether its caller may ask, `admission`
whether there is room for it. `rest` finds out what it asks for, `json` reads and writes its
tensors, and `codec` does so in a process of its own where they are large. `model_status` answers
status requests, `metrics` shows what was counted, and `reload` replaces the configuration.
"""

__all__ = ["http", "grpc", "rest", "json", "codec", "access", "metrics", "reload"]
