"""Counts the answers of the front. A request costs a few additions of plain integers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from workbench.core.events import Event
from workbench.core.status import Code
from workbench.formats.saved_model.saved_model_file import WARMUP_FILE
from workbench.server.engine.batching.tasks import now_micros
from workbench.server.engine.telemetry.meters import LATENCY_MICROS, Histogram, exponential
from workbench.server.engine.versions.manager import Manager


class RequestCounts:
    """The front calls `request` once a request, and `runtime` once a successful run of a model.

    The number of series is bounded: a model name gets its own only while there is such a model,
    whatever clients may ask for.

    Attributes:
        requests: by model: how many answers had each code.
        latencies: by model, API and entry point, in microseconds; of successes only.
        runtimes: by model and API, in microseconds.
        example_counts: by model: how many examples MultiInference requests had.
        warmups: by the version's folder and the code of its warm-up: how long it took, and how
            many records it read.
        worker_exits: by model.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self.requests: dict[str, list[int]] = defaultdict(lambda: [0] * len(Code))
        self.latencies: dict[tuple[str, str, str], Histogram] = defaultdict(_latency)
        self.runtimes: dict[tuple[str, str], Histogram] = defaultdict(_latency)
        self.example_counts: dict[str, Histogram] = defaultdict(
            lambda: Histogram(exponential(1, 2, 15))
        )
        self.warmups: dict[tuple[str, str], tuple[Histogram, int]] = {}
        self.worker_exits: Counter[str] = Counter()
        manager.events.listen(self._note)

    def request(
        self,
        model: str,
        api: str,
        entrypoint: str,
        code: Code,
        micros: int,
        version: int | None = None,
    ) -> None:
        """Count an answered request.

        Args:
            api: ``predict`` ... (REST) or ``Predict`` ... (gRPC), as TensorFlow Serving has it;
                empty for a question about the model.
            entrypoint: ``REST`` or ``GRPC``.
            micros: how long it took; kept for a success only.
            version: the version that it went to; None where none was found.
        """
        known = self._manager.models.get(model)
        if known is None:
            model = ""
        elif api:
            known.traffic.add(now_micros(), version, code, micros)
        self.requests[model][code] += 1
        if code is Code.OK:
            self.latencies[model, api, entrypoint].add(micros)

    def runtime(self, model: str, api: str, micros: int) -> None:
        """Count a run that succeeded; `api` is ``Predict``, ``Classify`` or ``Regress``."""
        self.runtimes[model, api].add(micros)

    def examples(self, model: str, count: int) -> None:
        """Count the examples of a MultiInference request."""
        self.example_counts[model].add(count)

    def _note(self, event: Event) -> None:
        if event.kind in ("warmup_finished", "warmup_failed") and event.data is not None:
            path = event.data["path"].removesuffix(f"/{WARMUP_FILE}")
            key = path, event.data.get("code", "OK")
            latency, records = self.warmups.get(key, (_latency(), 0))
            latency.add(event.data["micros"])
            self.warmups[key] = latency, records + event.data["records"]
        elif event.kind == "worker_exited" and event.model is not None:
            self.worker_exits[event.model] += 1


def _latency() -> Histogram:
    return Histogram(LATENCY_MICROS)


def codes_counted(counts: Sequence[int]) -> list[tuple[str, int]]:
    """The names of the codes that occurred, and how often each did."""
    return [(code.name, counts[code]) for code in Code if counts[code]]
