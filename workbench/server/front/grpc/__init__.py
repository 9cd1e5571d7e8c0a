"""The gRPC API.

`grpc_server` is the transport, and `reflection` describes the services to generic clients.
The services are `prediction_service`, whose requests go through `model_runs`, and `model_service`;
`request_messages` reads their requests and fills their answers.
"""

__all__ = ["grpc_server", "model_service", "prediction_service"]
