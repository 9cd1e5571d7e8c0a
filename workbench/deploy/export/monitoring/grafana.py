"""One Grafana dashboard for both kinds of server, and what provisions it.

The first row uses TensorFlow Serving's metrics alone. The second uses the workbench's, which know
versions, queues and memory; on TensorFlow Serving it is empty.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from workbench.deploy.export.monitoring.alert_rules import error_ratio
from workbench.deploy.export.monitoring.scraping import JOB
from workbench.deploy.export.serving_export import ServingExport
from workbench.deploy.export.yaml_text import comment, yaml_text

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_SERVER = f'job="{JOB}", instance=~"$instance"'
_MODEL = f'{_SERVER}, model_name=~"$model"'
_VERSION = f'{_SERVER}, model=~"$model", version=~"$version"'
_RATE = "[$__rate_interval]"
_SERVING = ":tensorflow:serving:"
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 24


class Panel(NamedTuple):
    """One diagram.

    Attributes:
        queries: each with the legend of its series.
        unit: Grafana's name of it.
        about: what it shows, for its tooltip.
    """

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    about: str = ""
    stacked: bool = False


def _quantiles(metric: str, selector: str, micros: bool = True, by: str = "") -> list[Any]:
    """Queries of the 50th, 90th and 99th percentile of a histogram, in seconds."""
    scale = " / 1e6" if micros else ""
    return [
        (
            f"histogram_quantile({share}, sum by ({by}le) "
            f"(rate({metric}_bucket{{{selector}}}{_RATE}))){scale}",
            f"p{share * 100:g}" + ("" if not by else " {{model}} {{version}}"),
        )
        for share in (0.5, 0.9, 0.99)
    ]


def _mean(metric: str, selector: str) -> str:
    total, count = (f"sum(rate({metric}_{part}{{{selector}}}{_RATE}))" for part in ("sum", "count"))
    return f"{total} / {count}"


SERVING_PANELS = (
    Panel(
        "Requests",
        "reqps",
        [
            (
                f"sum by (status) (rate({_SERVING}request_count{{{_MODEL}}}{_RATE}))",
                "{{status}}",
            )
        ],
        "Answers per second, by status.",
        stacked=True,
    ),
    Panel(
        "Requests that failed",
        "percentunit",
        [
            (
                error_ratio(f"{_SERVING}request_count{{{_MODEL}", "$__rate_interval"),
                "failed",
            )
        ],
        "The share that the servers failed to answer; mistakes of clients do not count.",
    ),
    Panel(
        "Latency of requests",
        "s",
        _quantiles(f"{_SERVING}request_latency", _MODEL),
        "From the arrival of a request to its answer, successes only.",
    ),
    Panel(
        "Latency of the model",
        "s",
        _quantiles(f"{_SERVING}runtime_latency", _MODEL),
        "Of a request in the runtime, its time in the queue included.",
    ),
    Panel(
        "Size of batches",
        "short",
        [
            (_mean(f"{_SERVING}batching_session:processed_batch_size", _SERVER), "rows of a batch"),
            (_mean(f"{_SERVING}batching_session:input_batch_size", _SERVER), "rows of a request"),
        ],
        "Means, over all models with batching parameters.",
    ),
    Panel(
        "Time in the queue",
        "s",
        _quantiles(f"{_SERVING}batching_session:queuing_latency", _SERVER),
        "Of requests to models with batching parameters.",
    ),
    Panel(
        "Requests by server",
        "reqps",
        [
            (
                f"sum by (instance) (rate({_SERVING}request_count{{{_MODEL}}}{_RATE}))",
                "{{instance}}",
            )
        ],
        "Even, if the balancer spreads requests evenly.",
    ),
    Panel(
        "Servers",
        "short",
        [(f"sum(up{{{_SERVER}}})", "answer"), (f"count(up{{{_SERVER}}})", "known")],
        "Servers that Prometheus knows, and those that answer it.",
    ),
    Panel(
        "Padding",
        "short",
        [
            (
                _mean(f"{_SERVING}batching_session:padding_size", _SERVER),
                "padding of a batch",
            )
        ],
        "Rows that batches are filled up with, where sizes of batches are fixed.",
    ),
)
"""The first row, for both kinds of server."""

WORKBENCH_PANELS = (
    Panel(
        "Versions",
        "short",
        [
            (
                f"sum by (model, version, state) (workbench_version_state{{{_VERSION}}})",
                "{{model}} {{version}} {{state}}",
            )
        ],
        "Servers on which a version is in a state: a change of version goes from LOADING to "
        "AVAILABLE on one after the other.",
        stacked=True,
    ),
    Panel(
        "Requests by version",
        "reqps",
        [
            (
                f"sum by (model, version, code)"
                f" (rate(workbench_requests_total{{{_VERSION}}}{_RATE}))",
                "{{model}} {{version}} {{code}}",
            )
        ],
        "Answers per second.",
    ),
    Panel(
        "Latency by version",
        "s",
        _quantiles(
            "workbench_request_duration_seconds", _VERSION, micros=False, by="model, version, "
        ),
        "From accepting a request to answering it.",
    ),
    Panel(
        "Requests that wait or run",
        "short",
        [
            (
                f"sum by (model, version) (workbench_pending_requests{{{_VERSION}}})",
                "{{model}} {{version}}",
            )
        ],
        "Accepted and not yet answered.",
    ),
    Panel(
        "Rejected requests",
        "reqps",
        [
            (
                f"sum by (model) (rate(workbench_rejected_requests_total{{{_VERSION}}}{_RATE}))",
                "{{model}}",
            )
        ],
        "Requests that found the queue full.",
    ),
    Panel(
        "Why batches were closed",
        "ops",
        [
            (
                f"sum by (reason) (rate(workbench_batches_closed_total{{{_VERSION}}}{_RATE}))",
                "{{reason}}",
            )
        ],
        "Batches per second, by reason.",
        stacked=True,
    ),
    Panel(
        "Rows of a batch",
        "short",
        [
            (
                f"sum by (model) (rate(workbench_batch_rows_total{{{_VERSION}}}{_RATE}))"
                f" / sum by (model) (rate(workbench_batches_total{{{_VERSION}}}{_RATE}))",
                "{{model}}",
            ),
            (
                f"sum by (model) (rate(workbench_batch_padding_rows_total{{{_VERSION}}}{_RATE}))"
                f" / sum by (model) (rate(workbench_batches_total{{{_VERSION}}}{_RATE}))",
                "{{model}} padding",
            ),
        ],
        "Means, also of automatic batching.",
    ),
    Panel(
        "Batches that run at a time",
        "short",
        [
            (
                f"sum by (instance) (rate(workbench_batch_run_seconds_total{{{_VERSION}}}{_RATE}))",
                "{{instance}}",
            )
        ],
        "The mean number of busy batch threads of a server.",
    ),
    Panel(
        "Memory",
        "bytes",
        [
            (
                f"sum by (owner, model, version) (workbench_memory_bytes{{{_SERVER},"
                ' model=~"$model", kind!~"free|unattributed"})',
                "{{owner}} {{model}} {{version}}",
            ),
        ],
        "By owner, over all servers.",
        stacked=True,
    ),
    Panel(
        "Share of the memory budget",
        "percentunit",
        [
            (
                f"workbench_memory_reserved_bytes{{{_SERVER}}}"
                f" / workbench_memory_budget_bytes{{{_SERVER}}}",
                "{{instance}} {{device}}",
            )
        ],
        "The next version is refused if it does not fit.",
    ),
    Panel(
        "Workers that ended unexpectedly",
        "short",
        [
            (
                f'increase(workbench_worker_exits_total{{{_SERVER}, model=~"$model"}}[1h])',
                "{{instance}} {{model}}",
            )
        ],
        "In the last hour.",
    ),
)
"""The second row, for the workbench's own servers."""


def dashboard(export: ServingExport) -> str:
    """The text of the dashboard, JSON."""
    panels: list[dict[str, Any]] = []
    for title, row in (
        ("TensorFlow Serving's metrics", SERVING_PANELS),
        ("The workbench's own metrics (empty on TensorFlow Serving)", WORKBENCH_PANELS),
    ):
        top = max((p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels), default=0)
        panels.append(_row(len(panels) + 1, title, top))
        for index, panel in enumerate(row):
            x, y = index * _WIDTH % _COLUMNS, top + 1 + index * _WIDTH // _COLUMNS * _HEIGHT
            panels.append(_panel(len(panels) + 1, panel, x, y))
    document = {
        "uid": "model-servers",
        "title": f"Model servers: {export.name}",
        "tags": ["model-serving"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }
    return json.dumps(document, indent=2) + "\n"


def _variables() -> list[dict[str, Any]]:
    def of_labels(name: str, metric: str, label: str) -> dict[str, Any]:
        query = f"label_values({metric}, {label})"
        return {
            "name": name,
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "includeAll": True,
            "multi": True,
            # Also where there is no such label, as TensorFlow Serving has no version.
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }

    return [
        {
            "name": "source",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "Prometheus", "value": "prometheus"},
        },
        of_labels("model", f'{_SERVING}request_count{{job="{JOB}"}}', "model_name"),
        of_labels("version", f'workbench_version_state{{job="{JOB}"}}', "version"),
        of_labels("instance", f'up{{job="{JOB}"}}', "instance"),
    ]


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
        "panels": [],
    }


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
    custom = {"stacking": stacking, "fillOpacity": 30 if panel.stacked else 0}
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": custom},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


def data_source() -> str:
    """The text that tells Grafana where Prometheus is."""
    source = {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": "http://prometheus:9090",
        "isDefault": True,
    }
    document = {"apiVersion": 1, "datasources": [source]}
    return comment("The Prometheus of compose.yaml.") + yaml_text(document)


def dashboard_provider() -> str:
    """The text that tells Grafana where the dashboard's file is."""
    provider = {
        "name": "model-servers",
        "type": "file",
        "options": {"path": "/etc/dashboards"},
    }
    document = {"apiVersion": 1, "providers": [provider]}
    return comment("The folder that compose.yaml mounts.") + yaml_text(document)
