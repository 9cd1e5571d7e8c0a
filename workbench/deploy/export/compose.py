"""A compose file: all servers on one machine, and with the profile `monitoring` Prometheus and
Grafana beside them."""

from __future__ import annotations

from typing import Any

from workbench.deploy.export.serving_export import (
    CONFIG,
    GRPC_PORT,
    MODELS,
    REST_PORT,
    USER_ID,
    ServingExport,
)
from workbench.deploy.export.tf_serving import TOKEN_FILE, container_flags
from workbench.deploy.export.yaml_text import comment, yaml_text

SERVER = "server"
"""The name of the service, which is also the name under which DNS lists all servers."""
_USER = f"${{RUN_AS:-{USER_ID}:{USER_ID}}}"
_MOST_PORTS = 99


def compose_file(export: ServingExport) -> str:
    """The text of ``compose.yaml``."""
    document: dict[str, Any] = {
        "name": export.name,
        "services": {
            SERVER: _server(export),
            "prometheus": _prometheus(export),
            "grafana": _grafana(export),
        },
        "volumes": {"grafana": {}},
    }
    if export.own_server:
        document["secrets"] = {
            "# Made by you, see README.md; it is in no file of this export.": None,
            "token": {"file": "${TOKEN_FILE:-./token}"},
        }
    return comment(f"{export.plan.servers} servers of fleet {export.name}.") + yaml_text(document)


def _server(export: ServingExport) -> dict[str, Any]:
    memory = f"{export.memory_mebibytes}m"
    resources: dict[str, Any] = {
        f"# {export.plan.memory_known}, with headroom and room for a change of version": None,
        "limits": {"memory": memory},
        "reservations": {"memory": memory},
    }
    if export.gpus:
        device = {"driver": "nvidia", "count": export.gpus, "capabilities": ["gpu"]}
        resources["reservations"]["devices"] = [device]
    service: dict[str, Any] = {
        "image": export.image,
        "entrypoint": export.command,
        "command": container_flags(export),
        **_hardened(),
        "# Requests in progress are answered before the end.": None,
        "stop_grace_period": "40s",
        "volumes": [
            f"${{MODELS:-./models}}:{MODELS}:ro",
            f"./serving:{CONFIG}:ro",
        ],
        "# Each server gets a port of its own on this machine; nothing outside can reach it.": None,
        "ports": [
            f"127.0.0.1:{_ports('REST_PORTS', REST_PORT, export)}:{REST_PORT}",
            f"127.0.0.1:{_ports('GRPC_PORTS', REST_PORT + _MOST_PORTS, export)}:{GRPC_PORT}",
        ],
        "healthcheck": _health(export),
        "deploy": {"replicas": export.plan.servers, "resources": resources},
    }
    if export.own_server:
        service["environment"] = own_environment()
        service["secrets"] = [{"source": "token", "target": TOKEN_FILE}]
    return service


def own_environment() -> dict[str, str | None]:
    """The variables of a container of `workbench model-server`: it writes below /tmp alone."""
    return {
        "HOME": "/tmp",
        "# The image has no name for the user, and some libraries ask for one.": None,
        "USER": "serving",
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter/runtime",
        "JUPYTER_DATA_DIR": "/tmp/jupyter/data",
    }


def _hardened() -> dict[str, Any]:
    return {
        "# Set RUN_AS to a user and group that may read the models.": None,
        "user": _USER,
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": "unless-stopped",
    }


def _ports(variable: str, first: int, export: ServingExport) -> str:
    last = first + export.plan.servers - 1
    return f"${{{variable}:-{first}-{last}}}" if last > first else f"${{{variable}:-{first}}}"


def _health(export: ServingExport) -> dict[str, Any]:
    if export.own_server:
        url = f"http://127.0.0.1:{REST_PORT}/health/ready"
        test = ["CMD", "python3", "-c", f"import urllib.request as u; u.urlopen('{url}')"]
    else:
        # The image has no program that speaks HTTP; the port opens when all models are loaded.
        test = ["CMD", "bash", "-c", f"</dev/tcp/127.0.0.1/{REST_PORT}"]
    return {"test": test, "interval": "10s", "start_period": "15m", "start_interval": "2s"}


def _prometheus(export: ServingExport) -> dict[str, Any]:
    service: dict[str, Any] = {
        "profiles": ["monitoring"],
        "image": export.options.prometheus_image,
        "command": [
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/prometheus",
        ],
        **_hardened(),
        "# History ends with the container; keep it on a volume where it matters.": None,
        "tmpfs": ["/tmp", "/prometheus"],
        "volumes": ["./prometheus:/etc/prometheus:ro"],
        "ports": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
    }
    if export.own_server:
        service["secrets"] = [{"source": "token", "target": TOKEN_FILE}]
    return service


def _grafana(export: ServingExport) -> dict[str, Any]:
    hardened = _hardened()
    # Its volume belongs to the user of the image.
    for key in ("# Set RUN_AS to a user and group that may read the models.", "user"):
        del hardened[key]
    return {
        "profiles": ["monitoring"],
        "image": export.options.grafana_image,
        **hardened,
        "environment": {
            "# Everybody on this machine may look; there is no account and so no password.": None,
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": "/etc/dashboards/model-servers.json",
        },
        "volumes": [
            "grafana:/var/lib/grafana",
            "./grafana/provisioning:/etc/grafana/provisioning:ro",
            "./grafana/dashboards:/etc/dashboards:ro",
        ],
        "ports": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
        "depends_on": ["prometheus"],
    }
