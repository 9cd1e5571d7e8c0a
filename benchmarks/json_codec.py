"""What the JSON codec saves over `json` and numpy: ``python -m benchmarks.json_codec``.

Times are the best of several repeats, in microseconds; read the ratios, machines differ.
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable

import numpy as np

from workbench.core.signature import Signature, TensorInfo
from workbench.server.front.json.requests import decode_predict
from workbench.server.front.json.responses import encode_predict

_SIGNATURE = Signature({"x": TensorInfo("float", None)}, {})


def _microseconds(call: Callable[[], object]) -> float:
    timer = timeit.Timer(call)
    number, taken = timer.autorange()
    number = max(1, round(number * 0.1 / taken))
    return min(timer.repeat(repeat=7, number=number)) / number * 1e6


def _report(name: str, ours: Callable[[], object], plain: Callable[[], object]) -> None:
    fast, slow = _microseconds(ours), _microseconds(plain)
    print(f"{name:32} {fast:10.1f} us   json {slow:10.1f} us   {slow / fast:5.1f} x")


def main() -> None:
    numbers = np.random.default_rng(0)
    for name, shape, digits in (
        ("decode 1 x 784, 3 digits", (1, 784), 3),
        ("decode 1 x 784, 17 digits", (1, 784), 17),
        ("decode 64 x 784, 17 digits", (64, 784), 17),
        ("decode 1 x 28 x 28 x 1, 3 digits", (1, 28, 28, 1), 3),
    ):
        instances = np.round(numbers.random(shape), digits).tolist()
        body = json.dumps({"instances": instances}).encode()
        _report(
            name,
            lambda body=body: decode_predict(body, lambda _: _SIGNATURE),
            lambda body=body: np.array(json.loads(body)["instances"], np.float32),
        )
    for shape in ((1, 10), (64, 10), (64, 784)):
        tensor = numbers.random(shape).astype(np.float32)
        _report(
            f"encode {' x '.join(map(str, shape))}",
            lambda tensor=tensor: encode_predict({"y": tensor}, row_format=True),
            lambda tensor=tensor: json.dumps({"predictions": tensor.tolist()}).encode(),
        )


if __name__ == "__main__":
    main()
