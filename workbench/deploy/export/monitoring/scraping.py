"""Prometheus' configuration: where the servers are, in compose and on Kubernetes."""

from __future__ import annotations

from typing import Any

from workbench.deploy.export.compose import SERVER
from workbench.deploy.export.serving_export import REST_PORT, ServingExport
from workbench.deploy.export.tf_serving import TOKEN_FILE
from workbench.deploy.export.yaml_text import comment, yaml_text

JOB = "model-servers"
"""The job of the servers in every query."""
RULES_FILE = "rules.yaml"


def compose_scraping(export: ServingExport) -> str:
    """The text of ``prometheus.yaml``, for compose."""
    found = {
        "# DNS lists the address of each server, also after their number has changed.": None,
        "dns_sd_configs": [
            {"names": [SERVER], "type": "A", "port": REST_PORT, "refresh_interval": "10s"}
        ],
    }
    return comment("For compose.yaml.") + yaml_text(_configuration(export, found))


def kubernetes_scraping(export: ServingExport) -> str:
    """The text of ``prometheus-kubernetes.yaml``: a job for a Prometheus that runs there."""
    found = {
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            {
                "# Only the servers of this fleet, and only their port of REST.": None,
                "source_labels": [
                    "__meta_kubernetes_pod_label_app_kubernetes_io_name",
                    "__meta_kubernetes_pod_label_app_kubernetes_io_component",
                    "__meta_kubernetes_pod_container_port_name",
                ],
                "regex": f"{export.name};model-server;http",
                "action": "keep",
            },
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "instance"},
            {"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"},
        ],
    }
    text = "For a Prometheus on Kubernetes, which needs the right to list pods."
    return comment(text) + yaml_text(_configuration(export, found))


def _configuration(export: ServingExport, found: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = {
        "job_name": JOB,
        "metrics_path": export.metrics_path,
        **found,
    }
    if export.own_server:
        job["authorization"] = {"type": "Bearer", "credentials_file": TOKEN_FILE}
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": [RULES_FILE],
        "# Where alerts go:": None,
        "#   alerting: {alertmanagers: [{static_configs: [{targets: ['alerts:9093']}]}]}": None,
        "# Where history goes that outlives this Prometheus:": None,
        "#   remote_write: [{url: 'http://.../api/v1/write'}]": None,
        "scrape_configs": [job],
    }
