"""HTTP requests from a number: structured ones, right or almost right, and damaged ones."""

from __future__ import annotations

import base64
import gzip
import json
import random
from typing import Any

import numpy as np

from tests.fuzz.mutate import EDGES, mutate, splice
from tests.fuzz.target import MODELS, TOKEN
from workbench.ipc.frames import encode_message

_METHODS = ("POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "post")
_TOKENS = (
    b"\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"NaN",
    b"Content-Length: -1\r\n", b"Content-Length: 18446744073709551616\r\n", b"\x00", b"HTTP/1.1",
    b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"instances",
    b"Infinity", b"1e999", b"[[[[[[[[", b'{"b64":', b"\\ud800", b"\xff\xfe", b"%00", b"%ff", b"..",
    b"/versions/99999999999999999999", b"/labels/", b":predict", b"signature_name", b"-0", b"//",
)  # fmt: skip
_SIGNATURES = (
    "serving_default", "classify_x_to_y", "regress_x_to_y", "float", "int8", "string", "anything",
    "get_counter", "incr_counter_by", "", "no such signature", "\u2028",
)  # fmt: skip


def request(seed: int) -> bytes:
    """The bytes of one request; seed 0 is one that any server would answer with 200."""
    rng = random.Random(seed)
    if seed == 0:
        return _message("POST", "/v1/models/half_plus_two:predict", b'{"instances": [1.0]}', rng, 0)
    kind = rng.random()
    whole = _structured(rng)
    if kind < 0.45:
        return whole
    if kind < 0.85:
        return mutate(whole, rng)
    if kind < 0.95:
        return splice(whole, _TOKENS, rng)
    if kind < 0.97:
        return whole + _structured(rng)
    return rng.randbytes(rng.randrange(1, 200))


def _structured(rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        model = rng.choice(MODELS)
        target = f"/v1/models/{model}{rng.choice(('', '/versions/1'))}:predict"
        return _message("POST", target, _fitting(model, rng), rng, rng.random() * 1.2 - 0.2)
    method = "POST" if rng.random() < 0.8 else rng.choice(_METHODS)
    return _message(method, _target(rng, method), _body(rng), rng, rng.random())


def _fitting(model: str, rng: random.Random) -> bytes:
    """A body that the model can answer."""
    rows = range(rng.randrange(1, 6))
    if model == "half_plus_two" and rng.random() < 0.3:
        return b"binary " + encode_message({}, {"x": np.ones(len(rows), np.float32)})
    return json.dumps(
        {
            "half_plus_two": {"instances": [rng.random() for _ in rows]},
            "text": {"instances": ["text" for _ in rows]},
            "multi": {"instances": [{"a": [1.0, 2.0], "b": row} for row in rows]},
            "identity": {"signature_name": "float", "inputs": [float(row) for row in rows]},
            "counter": {"signature_name": "get_counter", "inputs": {}},
            "lookup": {"instances": ["serving" for _ in rows]},
        }[model]
    ).encode()


def _message(method: str, target: str, body: bytes, rng: random.Random, odd: float) -> bytes:
    headers = [("Host", "localhost"), ("Authorization", f"Bearer {TOKEN}")]
    framing = [("Content-Length", str(len(body)))]
    if odd > 0.5:
        odds = (
            lambda: headers.__setitem__(0, ("Host", rng.choice(("evil.example", "", "[::1]:80")))),
            lambda: headers.__setitem__(1, ("Authorization", rng.choice(("Bearer x", "Basic")))),
            lambda: headers.append(("Origin", rng.choice(("null", "https://evil.example")))),
            lambda: headers.append(("Expect", rng.choice(("100-continue", "200-ok")))),
            lambda: headers.append(("Connection", rng.choice(("close", "keep-alive", "Upgrade")))),
            lambda: headers.append(("Upgrade", rng.choice(("h2c", "websocket")))),
            lambda: headers.append(("X-" + "y" * rng.choice((1, 100, 5000)), "z")),
            lambda: headers.append(("Content-Type", rng.choice((_BINARY, "text/plain", "")))),
            lambda: framing.__setitem__(0, ("Content-Length", str(rng.choice(EDGES)))),
            lambda: framing.append(("Transfer-Encoding", rng.choice(("gzip", "chunked")))),
            lambda: framing.append(("Content-Encoding", rng.choice(("gzip", "deflate", "br")))),
        )
        for _ in range(rng.randrange(1, 3)):
            rng.choice(odds)()
    if body.startswith(b"binary "):
        body = body[7:]
        framing[0] = ("Content-Length", str(len(body)))
        headers.append(("Content-Type", _BINARY))
    elif odd > 0.9 and len(framing) == 1:
        if rng.random() < 0.5:
            body = gzip.compress(body, 1, mtime=0)
            framing = [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]
        else:
            body, framing = _chunks(body, rng), [("Transfer-Encoding", "chunked")]
    protocol = rng.choice(("1.1", "1.1", "1.0", "2.0")) if odd > 0.7 else "1.1"
    lines = [f"{method} {target} HTTP/{protocol}"]
    lines += [f"{name}: {value}" for name, value in headers + framing]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


_BINARY = "application/x-workbench-tensors"


def _chunks(body: bytes, rng: random.Random) -> bytes:
    cut = rng.randrange(len(body) + 1)
    pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def _target(rng: random.Random, method: str) -> str:
    model = rng.choice(MODELS) if rng.random() < 0.85 else _word(rng)
    which = rng.choice(("", "", "", "/versions/1", f"/versions/{rng.choice(EDGES)}", "/labels/x"))
    if method == "POST":
        verb = "predict" if rng.random() < 0.7 else rng.choice(("classify", "regress", "x"))
        return f"/v1/models/{model}{which}:{verb}"
    return rng.choice(
        (
            f"/v1/models/{model}{which}",
            f"/v1/models/{model}{which}/metadata",
            "/v1/models",
            "/health/live",
            "/health/ready",
            "/monitoring/prometheus/metrics",
            f"/v1/{_word(rng)}",
            f"/{_word(rng)}?{_word(rng)}",
            "http://localhost/v1/models",
            "*",
        )
    )


def _word(rng: random.Random) -> str:
    return "".join(
        rng.choice("abz09-_.%/:?#\u00e9~ ") for _ in range(rng.randrange(1, 12))
    ).replace(" ", "%20")


def _body(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.08:
        arrays = {
            rng.choice(("x", "a", "b", "delta")): _array(rng) for _ in range(rng.randrange(3))
        }
        header = {"signature": rng.choice(_SIGNATURES)} if rng.random() < 0.5 else {}
        data = encode_message(header, arrays)
        return b"binary " + (mutate(data, rng) if rng.random() < 0.5 else data)
    if kind < 0.1:
        return json.dumps({"instances": [rng.random() for _ in range(3000)]}).encode()  # spooled
    if kind < 0.15:
        return b""
    document: Any = {}
    if rng.random() < 0.5:
        document["instances"] = [_row(rng) for _ in range(rng.randrange(1, 6))]
    elif rng.random() < 0.7:
        document["inputs"] = _row(rng) if rng.random() < 0.5 else [_row(rng), _row(rng)]
    else:
        document["examples"] = [{"x": _value(rng, 0)} for _ in range(rng.randrange(3))]
    if rng.random() < 0.3:
        document["signature_name"] = rng.choice(_SIGNATURES)
    if rng.random() < 0.1:
        document[rng.choice(("instances", "inputs", "context", "extra"))] = _value(rng, 0)
    if rng.random() < 0.05:
        document = _value(rng, 0)
    return json.dumps(document).encode()


def _row(rng: random.Random) -> Any:
    return rng.choice(
        (
            lambda: rng.random(),
            lambda: rng.choice(EDGES),
            lambda: "text",
            lambda: {"a": [1.0, 2.0], "b": 3},
            lambda: {"x": rng.random()},
            lambda: {"words": ["serving"]},
            lambda: {"b64": base64.b64encode(rng.randbytes(rng.randrange(9))).decode()},
            lambda: [rng.random() for _ in range(rng.randrange(5))],
            lambda: _value(rng, 0),
        )
    )()


def _value(rng: random.Random, depth: int) -> Any:
    """Any JSON value at all."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind < 6:
        return (
            None,
            rng.random() < 0.5,
            rng.choice(EDGES),
            rng.choice((0.5, -0.0, 1e308, float("nan"), float("inf"), 5e-324)),
            rng.choice(("", "x", "\u0000", "\ud800", "\u00e9" * 20)),
            {"b64": rng.choice(("", "AA==", "not base64", 5))},
        )[kind]
    if kind == 6:
        return {_word(rng): _value(rng, depth + 1) for _ in range(rng.randrange(3))}
    if kind == 7:
        deep: Any = []
        for _ in range(rng.choice((3, 50, 300))):
            deep = [deep]
        return deep
    return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]


def _array(rng: random.Random) -> np.ndarray:
    shape = tuple(rng.randrange(4) for _ in range(rng.randrange(3)))
    kind = rng.choice(("float32", "float64", "int32", "int8", "bool", "complex64", "object"))
    if kind == "object":
        array = np.empty(shape, object)
        array.fill(b"bytes")
        return array
    return np.ones(shape, kind)
