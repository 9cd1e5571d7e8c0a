"""A gRPC client made of the stubs of the `tensorflow-serving-api` package.

That package imports TensorFlow, so it runs in a process of its own: `GrpcClient` starts it,
and it reads calls as lines of JSON and answers each with one. Messages go in as protocol
buffers' text format and come back as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

_START_SECONDS = 100
_HEALTH = ("Check", "Watch")
_PREDICTION = ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")


class GrpcClient:
    """Calls servers from the other process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.grpc_client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )

    def call(self, address: str, method: str, request: str, **how: Any) -> Any:
        """The answer as JSON, or the refusal as `[code, details]`.

        Args:
            method: one of the two services'; or `Check` or `Watch` of grpc.health.v1, for which
                `request` is the name of a service and the answer a status, for `Watch` its first.
            how: `metadata` (pairs), `timeout` (seconds), `authority` (PEM of a certificate), and
                with it `identity` (PEM of the client's own key and certificate).
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"address": address, "method": method, "request": request, **how}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client process has ended"
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


def main() -> None:
    import grpc
    from google.protobuf import json_format, text_format
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )

    requests = {
        "Predict": predict_pb2.PredictRequest,
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
        "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
        "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
    }
    channels: dict[tuple[str, ...], Any] = {}
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    for line in sys.stdin:
        order = json.loads(line)
        key = (order["address"], order.get("authority", ""), *order.get("identity", []))
        if key not in channels:
            if key[1]:
                credentials = grpc.ssl_channel_credentials(*(pem.encode() for pem in key[1:]))
                channels[key] = grpc.secure_channel(key[0], credentials, limits)
            else:
                channels[key] = grpc.insecure_channel(key[0], limits)
        method = order["method"]
        metadata = [tuple(pair) for pair in order.get("metadata", [])]
        limit = {"timeout": order.get("timeout", 30.0), "metadata": metadata}
        if method in _HEALTH:
            print(json.dumps(_health(channels[key], method, order["request"], limit)), flush=True)
            continue
        stub = (
            prediction_service_pb2_grpc.PredictionServiceStub(channels[key])
            if method in _PREDICTION
            else model_service_pb2_grpc.ModelServiceStub(channels[key])
        )
        request = text_format.Parse(order["request"], requests[method]())
        try:
            response = getattr(stub, method)(request, **limit)
        except grpc.RpcError as error:
            answer: Any = [error.code().name, error.details()]
        else:
            answer = json_format.MessageToDict(response, preserving_proto_field_name=True)
        print(json.dumps(answer), flush=True)


def _health(channel: Any, method: str, service: str, limit: dict[str, Any]) -> Any:
    """The status, by its name, of `HealthCheckResponse { ServingStatus status = 1 }`."""
    import grpc

    path = f"/grpc.health.v1.Health/{method}"
    # HealthCheckRequest { string service = 1 }
    name = service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    try:
        if method == "Check":
            response = channel.unary_unary(path)(request, **limit)
        else:
            responses = channel.unary_stream(path)(request, **limit)
            response = next(responses)
            responses.cancel()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    status = response[1] if response else 0
    return ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")[status]


if __name__ == "__main__":
    main()
