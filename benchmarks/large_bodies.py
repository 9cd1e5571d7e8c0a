"""Large JSON bodies: what a byte of each kind costs, and who waits for a huge one.

`python -m benchmarks.large_bodies` (``--quick`` for smaller ones).

First, bodies of one size are decoded in this process, in turn: plain lists of numbers, and objects,
rows, strings and text that only the exact reader can tell. A kind's figure is the median of its
ratios to the list of numbers with as short items, each within one round. Then bodies of 100 KiB are
sent to a server alone, and while one of 70 MB of object members is sent again and again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

import workbench as wb
from benchmarks.limits import Limits
from benchmarks.mlp import save_mlp
from benchmarks.serving_path import sending
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import ServingError
from workbench.experiments.load.generator import LoadJob, run_load
from workbench.load.arrivals import Schedule
from workbench.server.front.json.requests import decode_examples, decode_predict

LIMITS = Limits()
_FLOATS = Signature({"x": TensorInfo("float", None)}, {})
_STRING = '"abcdefgh"'
_TEXTS = Signature({"x": TensorInfo("string", None)}, {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small bodies, one short round")
    quick = parser.parse_args().quick
    costs(2**20 if quick else 8 * 2**20, 2 if quick else 5)
    with tempfile.TemporaryDirectory() as folder:
        waiting(save_mlp(folder), 1 if quick else 3, 2.0 if quick else 6.0)
    return LIMITS.exit_code()


# What a byte costs.


def costs(size: int, rounds: int) -> None:
    """Nanoseconds a byte, and times those of a list of as short numbers."""
    kinds = _kinds(size)
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, (body, decode, _) in kinds.items():
            taken[name].append(_seconds(decode, body) / len(body))
    base = taken["list of short numbers"]
    for name, (_, _, limit) in kinds.items():
        ratio = statistics.median(t / b for t, b in zip(taken[name], base, strict=True))
        LIMITS.row(
            name,
            f"{statistics.median(taken[name]) * 1e9:.1f} ns/byte, {ratio:.1f} times",
            f"at most {limit:g} times" if limit else "",
            not limit or ratio <= limit,
        )


def _kinds(size: int) -> dict[str, tuple[bytes, Callable[[bytes], object], float]]:
    """Bodies of about `size` bytes: what reads each, and its limit (0: none)."""

    def floats(body: bytes) -> object:
        return decode_predict(body, lambda _: _FLOATS)

    def texts(body: bytes) -> object:
        return decode_predict(body, lambda _: _TEXTS)

    def examples(body: bytes) -> object:
        return decode_examples(body)

    def repeated(unit: str) -> str:
        return ",".join([unit] * (size // (len(unit) + 1)))

    members = ",".join(f'"{i}":1' for i in range(size // 12))
    numbers = np.random.default_rng(0).random(size // 20).tolist()
    row, two, base64 = '{"x":1}', '{"x":[1.5,2.5]}', '{"b64":"AAAA"}'
    kinds: dict[str, tuple[str, Callable[[bytes], object], float]] = {
        "list of short numbers": (f'{{"instances":[{repeated("1")}]}}', floats, 1),
        "list of long numbers": (json.dumps({"instances": numbers}), floats, 2),
        "members, none of them known": (f"{{{members}}}", floats, 2),
        "members of inputs, none an input": (f'{{"inputs":{{{members}}}}}', floats, 2),
        "members of inputs, one an input": (f'{{"inputs":{{{members},"x":[1]}}}}', floats, 2),
        "members of an instance": (f'{{"instances":[{{{members}}}]}}', floats, 2),
        f"rows like {row}": (f'{{"instances":[{repeated(row)}]}}', floats, 2),
        f"rows like {two}": (f'{{"instances":[{repeated(two)}]}}', floats, 2),
        "short strings": (f'{{"instances":[{repeated(_STRING)}]}}', texts, 3),
        "escapes": ('{"instances":["' + "\\n" * (size // 2) + '"]}', texts, 2),
        "a number of many digits": (f'{{"instances":[0.{"3" * size}]}}', floats, 2),
        # Not plain, or refused: without a limit, for information.
        f"rows like {base64}": (f'{{"instances":[{repeated(base64)}]}}', texts, 0),
        "rows, and one of NaN": (f'{{"instances":[{repeated(row)},{{"x":NaN}}]}}', floats, 0),
        "list of short numbers, and NaN": (f'{{"instances":[{repeated("1")},NaN]}}', floats, 0),
        "one key again and again": (f'{{"instances":[{{{repeated(row[1:-1])}}}]}}', floats, 0),
        f"examples like {row}": (f'{{"examples":[{repeated(row)}]}}', examples, 0),
        "lists that nest deeply": ('{"instances":' + "[" * size, floats, 0),
    }
    return {name: (text.encode(), decode, limit) for name, (text, decode, limit) in kinds.items()}


def _seconds(decode: Callable[[bytes], object], body: bytes) -> float:
    started = time.process_time()
    try:
        decode(body)
    except ServingError:
        pass  # which is an answer, too
    return time.process_time() - started


# Who waits.


def waiting(path: str, rounds: int, seconds: float) -> None:
    """p99 of bodies of 100 KiB alone, and beside one of 70 MB, in turn."""
    huge = b"{" + b",".join(b'"%d":1' % i for i in range(6_300_000)) + b"}"
    numbers = np.random.default_rng(0).random((14, 784)).round(6).tolist()
    body = json.dumps({"instances": numbers}).encode()
    with wb.serve(path, "bench-bodies") as server:
        entry = server.control.entry()
        headers = {"Authorization": f"Bearer {entry.token}"}
        target = "/v1/models/bench-bodies:predict"

        def p99(seed: int) -> float:
            schedule = Schedule("poisson", rate=20.0, duration_s=seconds, seed=seed)
            job = LoadJob(("127.0.0.1", entry.port), target, [body], schedule, headers)
            result = run_load(job)
            assert result.succeeded.all(), result.summary()
            return float(np.percentile(result.latency, 99))

        p99(0)
        alone, beside = [], []
        for seed in range(1, rounds + 1):
            alone.append(p99(seed))
            with sending(entry.port, target, huge, headers, status=400):
                beside.append(p99(seed))
    before, during = statistics.median(alone), statistics.median(beside)
    LIMITS.row(
        f"p99 of {len(body) // 1024} KiB beside a body of {len(huge) / 2**20:.0f} MB",
        f"{during * 1e3:.0f} ms (alone {before * 1e3:.0f} ms)",
        "under 500 ms",
        during < 0.5,
    )


if __name__ == "__main__":
    sys.exit(main())
