"""The gRPC API: `grpc_server` is the transport, `services` the two services, `reflection` describes
them.
"""

__all__ = ["grpc_server", "services"]
