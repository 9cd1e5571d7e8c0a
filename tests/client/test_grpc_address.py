"""A server of a notebook answers gRPC beside REST, for those who have its token."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

import workbench as wb
from workbench.formats.wire.protobuf import field, submessage
from workbench.formats.wire.tensor_proto import decode_tensor, encode_tensors

METHOD = "/tensorflow.serving.PredictionService/Predict"


def test_predict_over_grpc(live: wb.Server) -> None:
    assert live.grpc_address is not None
    x = np.array([1, 2], np.float32)
    request = field(1, field(1, live.name.encode())) + encode_tensors(2, {"x": x})
    with grpc.insecure_channel(live.grpc_address) as channel:
        predict = channel.unary_unary(METHOD)
        answer = predict(request, metadata=(("authorization", f"Bearer {live.token}"),), timeout=30)
        output = submessage(answer, 1)
        assert submessage(output, 1) == b"y"
        assert decode_tensor(submessage(output, 2)).tolist() == [2.5, 3.0]
        with pytest.raises(grpc.RpcError) as refused:
            predict(request, timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
