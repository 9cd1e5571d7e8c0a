"""The processes that serve.

`supervision` keeps the server process alive. Inside that process, `front` speaks REST and gRPC with
callers, `control` takes orders from clients, and `engine` loads versions and runs batches. `worker`
is the process that holds one version, and the only one that imports TensorFlow.
"""

__all__ = ["supervision", "front", "control", "engine", "worker"]
