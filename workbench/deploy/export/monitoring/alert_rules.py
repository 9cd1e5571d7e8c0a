"""Recording rules and alerts for Prometheus.

A ratio of errors counts what the server failed to do: a client's own mistakes (INVALID_ARGUMENT,
NOT_FOUND) are not among them. Thresholds that no plan knows are written with their reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from workbench.deploy.export.monitoring.scraping import JOB
from workbench.deploy.export.serving_export import ServingExport
from workbench.deploy.export.yaml_text import comment, yaml_text

SERVER_ERRORS = (
    "ABORTED|DATA_LOSS|DEADLINE_EXCEEDED|INTERNAL|RESOURCE_EXHAUSTED|UNAVAILABLE|UNKNOWN"
)
_REQUESTS = f':tensorflow:serving:request_count{{job="{JOB}"'
_ALLOWED_ERRORS = 0.001
"""The share of requests that may fail, over a month."""
_WINDOWS = ("5m", "30m", "1h", "6h")
_SLOW_SECONDS = 1.0
_FULL = 0.9


def rules(export: ServingExport) -> str:
    """The text of ``rules.yaml``."""
    groups = [
        {"name": "model-servers-recorded", "rules": _recorded()},
        {"name": "model-servers-alerts", "rules": _alerts(export)},
    ]
    return comment("Rules for Prometheus; the dashboard does without them.") + yaml_text(
        {"groups": groups}
    )


def error_ratio(selector: str, window: str, by: str = "") -> str:
    """The share of requests that the server failed to answer; `selector` is what follows the
    name of the metric, without its closing brace."""
    errors = f'rate({selector}, status=~"{SERVER_ERRORS}"}}[{window}])'
    all_of = f"sum{by}(rate({selector}}}[{window}]))"
    # Without any error there is no series of one.
    return f"(sum{by}({errors}) or 0 * {all_of}) / {all_of}"


def _recorded() -> list[dict[str, Any]]:
    by_model = " by (model_name) "
    recorded = [
        {
            "record": "model_name:request_count:rate5m",
            "expr": f"sum{by_model}(rate({_REQUESTS}}}[5m]))",
        }
    ]
    recorded += [
        {
            "record": f"model_name:request_errors:ratio_rate{window}",
            "expr": error_ratio(_REQUESTS, window, by_model),
        }
        for window in _WINDOWS
    ]
    latency = f':tensorflow:serving:request_latency_bucket{{job="{JOB}"}}'
    recorded.append(
        {
            "record": "model_name:request_latency_seconds:p99_rate5m",
            "expr": f"histogram_quantile(0.99, sum by (model_name, le) (rate({latency}[5m])))"
            " / 1e6",
        }
    )
    return recorded


def _alerts(export: ServingExport) -> list[dict[str, Any]]:
    planned = export.plan.servers
    return [
        _alert(
            "ModelServerDown",
            f'up{{job="{JOB}"}} == 0',
            "1m",
            "page",
            "Server {{ $labels.instance }} does not answer Prometheus.",
        ),
        _alert(
            "ModelServersMissing",
            f'(sum(up{{job="{JOB}"}}) or vector(0)) < {planned}',
            "5m",
            "page",
            f"{{{{ $value }}}} of {planned} planned servers answer.",
        ),
        _burn("Fast", "1h", "5m", 14.4, "page", "two days"),
        _burn("Slow", "6h", "30m", 6, "ticket", "five days"),
        _alert(
            "ModelServerSlow",
            f"model_name:request_latency_seconds:p99_rate5m > {_SLOW_SECONDS:g}",
            "10m",
            "ticket",
            "One in a hundred requests to {{ $labels.model_name }} takes over {{ $value }} s.",
            why="# No plan knows the latency that callers need: put yours in.",
        ),
        _alert(
            "ModelServerRejects",
            f'sum by (model) (rate(workbench_rejected_requests_total{{job="{JOB}"}}[5m])) > 0',
            "5m",
            "ticket",
            "Requests to {{ $labels.model }} find the queue full: more servers, or larger batches.",
            why="# Empty on TensorFlow Serving, where such requests are UNAVAILABLE (see above).",
        ),
        *_versions(export),
        _alert(
            "ModelServerMemoryNearlyFull",
            f'workbench_memory_reserved_bytes{{job="{JOB}"}}'
            f' / workbench_memory_budget_bytes{{job="{JOB}"}} > {_FULL}',
            "15m",
            "ticket",
            "Versions hold {{ $value | humanizePercentage }} of {{ $labels.device }}'s budget on "
            "{{ $labels.instance }}: the next one may not fit.",
        ),
    ]


def _burn(
    name: str, long: str, short: str, factor: float, severity: str, when: str
) -> dict[str, Any]:
    bound = round(factor * _ALLOWED_ERRORS, 6)
    ratio = "model_name:request_errors:ratio_rate"
    return _alert(
        f"ModelServerErrors{name}",
        # The short window lets the alert end soon after the errors.
        f"{ratio}{long} > {bound} and {ratio}{short} > {bound}",
        "2m",
        severity,
        f"{{{{ $value | humanizePercentage }}}} of requests to {{{{ $labels.model_name }}}} fail: "
        f"{_ALLOWED_ERRORS:.1%} a month would be used up in {when}.",
    )


def _versions(export: ServingExport) -> list[dict[str, Any]]:
    found = []
    for model in export.plan.models:
        name = json.dumps(model.name, ensure_ascii=False)
        state = f'workbench_version_state{{job="{JOB}", model={name}'
        available = f'count by (instance, model) ({state}, state="AVAILABLE"}})'
        found.append(
            _alert(
                "ModelVersionMissing",
                f"({available} or 0 * count by (instance, model) ({state}}}))"
                f" < {len(model.versions)}",
                "15m",
                "ticket",
                "{{ $value }} of "
                f"{len(model.versions)} versions of {{{{ $labels.model }}}} serve on "
                "{{ $labels.instance }}.",
                # Each rule needs labels of its own.
                labels={"model": model.name},
            )
        )
    return found


def _alert(
    name: str,
    query: str,
    lasting: str,
    severity: str,
    summary: str,
    why: str = "",
    labels: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    return {
        **({why: None} if why else {}),
        "alert": name,
        "expr": query,
        "for": lasting,
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary},
    }
