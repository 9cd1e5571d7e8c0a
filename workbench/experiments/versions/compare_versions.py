"""Compares two versions on the same inputs while both are served.

Requests to the two versions alternate in random order, so that changes of the machine affect both
alike; latencies are compared pair by pair.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.client.asking.tensors import to_inputs
from workbench.client.outcomes import differences
from workbench.client.publishing.saving import version_folders
from workbench.client.server import ServerClient
from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import failed_precondition, invalid_argument
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.store.store import keep_result
from workbench.experiments.versions.agreement import (
    ALPHA,
    MARGIN,
    OutputDifference,
    output_difference,
    paired_latency,
)
from workbench.experiments.versions.version_comparison import VersionComparison, VersionFacts

_CHUNK_ROWS = 256
_WARM_UP_PAIRS = 20
_PAIRS_BEFORE_REST = 10
_REST_SECONDS = 0.1
_PUT_BACK_SECONDS = 60.0

Inputs = Mapping[str, np.ndarray]


def compare_versions(
    server: ServerClient,
    first: int,
    second: int,
    x: Any,
    y: Any = None,
    *,
    signature: str = DEFAULT_SIGNATURE,
    output: str | None = None,
    pairs: int = 500,
    alpha: float = ALPHA,
    margin: float = MARGIN,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    seed: int = 0,
    keep: bool = True,
    progress: bool = True,
    when_busy: WhenBusy = "refuse",
) -> VersionComparison:
    """Compares answers, latency, memory and more of two versions; see `Server.compare_versions`."""
    if first == second:
        raise invalid_argument(f"Version {first} cannot be compared with itself: name two versions")
    if pairs < 11:
        raise invalid_argument(f"pairs must be at least 11, fewer give no interval; was {pairs}")
    versions = (first, second)
    with (
        Running("versions", server, keep, progress, when_busy) as running,
        _both_served(server, versions),
    ):
        # Each with its own names: versions may name an input differently.
        inputs, others = (to_inputs(server.signature(signature, version=v), x) for v in versions)
        count = _examples(inputs)
        labels = None if y is None else np.asarray(y).reshape(-1)
        if labels is not None and len(labels) != count:
            raise invalid_argument(
                f"x has {count} examples and y {len(labels)}: give one label for each example"
            )
        pair = _Pair(server, versions, signature, (inputs, others), count, running)
        answers = pair.answers(np.random.default_rng(seed))
        seconds = pair.latencies(pairs, np.random.default_rng(seed))
        latency = paired_latency(seconds[:, 0], seconds[:, 1], alpha, margin)
        facts, changed = _facts(server, versions)
    outputs = _outputs(versions, answers, output, rtol, atol)
    found = VersionComparison(
        model=server.model,
        server=server.name,
        versions=versions,
        inputs=inputs,
        answers=answers,
        labels=labels,
        outputs=outputs,
        output=output,
        latency=latency,
        seconds=seconds,
        facts=facts,
        changes=changed,
        rtol=rtol,
        atol=atol,
    )
    if not keep:
        return found
    return keep_result("versions", found.model, found, found.sentences()[0])


def _outputs(
    versions: tuple[int, int],
    answers: tuple[Inputs, Inputs],
    output: str | None,
    rtol: float,
    atol: float,
) -> tuple[OutputDifference, ...]:
    """The differences of each output that both versions have; `output` must be among them."""
    found = tuple(
        output_difference(name, values, answers[1][name], rtol, atol)
        for name, values in answers[0].items()
        if name in answers[1]
    )
    if not found:
        raise invalid_argument(
            f"Versions {versions[0]} and {versions[1]} have no output in common: "
            f"{sorted(answers[0])} and {sorted(answers[1])}"
        )
    names = [each.name for each in found]
    if output is not None and output not in names:
        raise invalid_argument(
            f"There is no output {output!r} in both versions; there are: {', '.join(names)}"
        )
    return found


@contextlib.contextmanager
def _both_served(server: ServerClient, versions: Sequence[int]) -> Iterator[None]:
    """Serve both versions within the block, and restore the version policy afterwards."""
    about = server.describe()
    available = {v["version"] for v in about["versions"] if v["state"] == "AVAILABLE"}
    if available >= set(versions):
        yield
        return
    base = server.base_path
    for version in versions:
        if version not in available | set(version_folders(base)):
            raise failed_precondition(
                f"Version {version} of {server.model} is neither served nor in {base}: publish it "
                "first"
            )
    wanted = sorted(available | set(versions))
    server.version_policy = {"specific": wanted}
    try:
        server.control.poll(server.model, versions)
        for version in versions:
            server.wait_for(version)
        yield
    finally:
        server.version_policy = about["version_policy"]
        # Wait until they are gone; otherwise the next comparison would find them served.
        end = time.monotonic() + _PUT_BACK_SECONDS
        while set(server.versions.available) - available and time.monotonic() < end:
            time.sleep(0.02)


def _examples(inputs: Inputs) -> int:
    counts = {len(array) if array.ndim else -1 for array in inputs.values()}
    if len(counts) != 1 or counts <= {-1, 0}:
        raise invalid_argument(
            "x must hold examples: arrays whose first dimension, the same for all inputs, is not 0"
        )
    return counts.pop()


@dataclass(frozen=True)
class _Pair:
    """Two versions, each with its inputs, which have `count` examples."""

    server: ServerClient
    versions: tuple[int, int]
    signature: str
    inputs: tuple[Inputs, Inputs]
    count: int
    running: Running

    def _ask(self, which: int, rows: dict[str, np.ndarray]) -> Any:
        return self.server.predict(rows, version=self.versions[which], signature=self.signature)

    def _rows(self, which: int, start: int, end: int) -> dict[str, np.ndarray]:
        return {name: array[start:end] for name, array in self.inputs[which].items()}

    def answers(
        self, random: np.random.Generator
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Both versions' answers to all examples; which one is asked first is random."""
        gathered: list[list[dict[str, np.ndarray]]] = [[], []]
        for start in range(0, self.count, _CHUNK_ROWS):
            done = min(start + _CHUNK_ROWS, self.count)
            leader = int(random.integers(2))
            for i in (leader, 1 - leader):
                answer = self._ask(i, self._rows(i, start, done))
                if not isinstance(answer, dict):
                    described = self.server.signature(self.signature, version=self.versions[i])
                    answer = {next(iter(described.outputs)): answer}
                gathered[i].append(answer)
            for i, version in enumerate(self.versions):
                for name, array in gathered[i][-1].items():
                    if array.ndim == 0 or len(array) != done - start:
                        raise invalid_argument(
                            f"Output {name!r} of version {version} does not follow the examples: "
                            f"its shape is {array.shape}"
                        )
            share = 0.5 * done / self.count
            self.running.tell(f"Asked both versions about {done} of {self.count}", share)
        one, two = ({n: np.concatenate([a[n] for a in each]) for n in each[0]} for each in gathered)
        return one, two

    def latencies(self, pairs: int, random: np.random.Generator) -> np.ndarray:
        """Seconds of one-example requests, [pairs, 2]; which version is asked first is random."""
        examples = random.integers(self.count, size=_WARM_UP_PAIRS + pairs).tolist()
        order = random.integers(2, size=_WARM_UP_PAIRS + pairs).tolist()
        seconds = np.zeros((_WARM_UP_PAIRS + pairs, 2))
        for pair, (example, leader) in enumerate(zip(examples, order, strict=True)):
            if pair % _PAIRS_BEFORE_REST == 0:
                # Spread the pairs over time: on a busy machine one version's worker can share its
                # processor with another program for a second, and the other one's worker not.
                time.sleep(_REST_SECONDS)
            ones = [self._rows(i, example, example + 1) for i in (0, 1)]
            for i in (leader, 1 - leader):
                started = time.perf_counter()
                self._ask(i, ones[i])
                seconds[pair, i] = time.perf_counter() - started
            timed = max(0, pair - _WARM_UP_PAIRS)
            self.running.tell(
                f"Timed {timed} of {pairs} pairs of requests", 0.5 + 0.5 * timed / pairs
            )
        return seconds[_WARM_UP_PAIRS:]


def _facts(
    server: ServerClient, versions: tuple[int, int]
) -> tuple[tuple[VersionFacts, VersionFacts], tuple[str, ...]]:
    described = server.describe_versions()
    memory = {view.version: view.memory_bytes for view in server.versions}
    one, two = (
        VersionFacts(
            version=version,
            size_bytes=described[version]["size_bytes"],
            memory_bytes=memory[version],
            load_seconds=described[version]["load_seconds"],
        )
        for version in versions
    )
    return (one, two), differences(described[versions[0]], described[versions[1]])
