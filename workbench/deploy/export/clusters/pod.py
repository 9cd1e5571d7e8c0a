"""The parts of a pod that all manifests share: container, probes, resources, security."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from workbench.deploy.export.compose import own_environment
from workbench.deploy.export.serving_export import (
    CONFIG,
    GRPC_PORT,
    MODELS,
    REST_PORT,
    USER_ID,
    ServingExport,
)
from workbench.deploy.export.tf_serving import TOKEN_FILE, container_flags

DRAIN_SECONDS = 10
"""How long a server answers on after it was told to end: balancers learn of its end later."""
GRACE_SECONDS = 60
_PROBE_SECONDS = 10
_PROBE_TRIES = 90


NAME_LABEL, COMPONENT_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/component"
SERVERS = "model-server"
"""The component of the Deployment's servers. Servers of KServe and Ray are others, so that the
Services here send them nothing."""


def labels(export: ServingExport, component: str = SERVERS) -> dict[str, str]:
    """The labels of a component of the fleet."""
    return {NAME_LABEL: export.name, COMPONENT_LABEL: component}


def metadata(export: ServingExport, part: str = "", component: str = SERVERS) -> dict[str, Any]:
    """The metadata of an object of the fleet, and of one of its parts."""
    return {"name": f"{export.name}{part and f'-{part}'}", "labels": labels(export, component)}


def config_map(about: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """A ConfigMap with the server's files; `about` is its metadata."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": dict(about),
        "data": dict(sorted(files.items())),
    }


def digest(files: Mapping[str, str]) -> str:
    """A digest of files: an annotation with it makes a change of them a rolling update."""
    text = "\0".join(f"{name}\0{content}" for name, content in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def server_container(export: ServingExport, image: str, *, volume: bool) -> dict[str, Any]:
    """The container of one server.

    Args:
        volume: mount the server's files and the models from the volumes `config` and `models`;
            otherwise they are in the image.
    """
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    if volume:
        mounts.append({"name": "config", "mountPath": CONFIG, "readOnly": True})
        mounts.append({"name": "models", "mountPath": MODELS, "readOnly": True})
    container: dict[str, Any] = {
        "name": "server",
        "image": image,
        "command": export.command,
        "args": container_flags(export),
        "ports": [
            {"name": "http", "containerPort": REST_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        **probes(export),
        "lifecycle": {
            "# Balancers learn of a pod's end later than the pod: it answers on meanwhile.": None,
            "# (The field `sleep` says the same, but needs Kubernetes 1.30.)": None,
            "preStop": {"exec": {"command": ["sleep", str(DRAIN_SECONDS)]}},
        },
        "resources": resources(export),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
    if export.own_server:
        container["env"] = own_variables()
        mounts.append({"name": "token", "mountPath": token_folder(), "readOnly": True})
    return container


def own_variables() -> list[dict[str, str]]:
    """The environment of a container of `workbench model-server`."""
    given = own_environment().items()
    return [{"name": name, "value": value} for name, value in given if value is not None]


def token_folder() -> str:
    """The folder in which a container finds its token."""
    return TOKEN_FILE.rpartition("/")[0]


def config_volume(name: str) -> dict[str, Any]:
    """The volume with the server's files, from the ConfigMap of that name."""
    return {"name": "config", "configMap": {"name": name}}


def volumes(export: ServingExport) -> list[dict[str, Any]]:
    """The volumes that every pod of a server has."""
    found: list[dict[str, Any]] = [
        {
            "name": "tmp",
            "# The root of the container cannot be written to.": None,
            "emptyDir": {"sizeLimit": "1Gi"},
        },
    ]
    if export.own_server:
        found.append(
            {
                "name": "token",
                "# Made by you, see README.md; it is in no file of this export.": None,
                "secret": {"secretName": f"{export.name}-token"},
            }
        )
    return found


def service_ports() -> list[dict[str, Any]]:
    """The ports of a Service for REST and gRPC, whose targets have the same names."""
    return [
        {"name": "http", "port": REST_PORT, "targetPort": "http", "appProtocol": "http"},
        grpc_service_port(),
    ]


def grpc_service_port() -> dict[str, Any]:
    """The port of a Service for gRPC: HTTP/2 without TLS."""
    return {
        "name": "grpc",
        "port": GRPC_PORT,
        "targetPort": "grpc",
        "appProtocol": "kubernetes.io/h2c",
    }


def probes(export: ServingExport) -> dict[str, Any]:
    """The probes of a server."""
    if export.own_server:
        why = "# Ready when each model has a version that serves, until the server drains."
        path = "/health/ready"
    else:
        why = "# TensorFlow Serving opens this port when all models are loaded."
        path = f"/v1/models/{quote(export.plan.models[0].name, safe='')}"
    asked = {"httpGet": {"path": path, "port": "http"}}
    return {
        f"# Loading may take {_PROBE_SECONDS * _PROBE_TRIES // 60} minutes.": None,
        "startupProbe": {
            **asked,
            "periodSeconds": _PROBE_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": _PROBE_TRIES,
        },
        why: None,
        "readinessProbe": {**asked, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2},
        "# Only the port: a model that does not load must not end its server for ever.": None,
        "livenessProbe": {
            "tcpSocket": {"port": "http"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def resources(export: ServingExport) -> dict[str, Any]:
    """What a server may use."""
    memory = f"{export.memory_mebibytes}Mi"
    gpus = {"nvidia.com/gpu": export.gpus} if export.gpus else {}
    return {
        f"# Memory is {export.plan.memory_known}, with room for a change of version.": None,
        "requests": {"cpu": f"{round(export.plan.cpu_count * 1000)}m", "memory": memory, **gpus},
        "# No limit of CPU: it would stop batches in the middle.": None,
        "limits": {"memory": memory, **gpus},
    }


def pod_security() -> dict[str, Any]:
    """The user of a pod, and what the kernel lets it do."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """What a container may do beyond its user."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
