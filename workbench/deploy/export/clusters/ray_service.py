"""KubeRay's manifest: a RayService whose replicas own workbench servers (`deploy.ray`)."""

from __future__ import annotations

from typing import Any

import yaml

from workbench.deploy.export.clusters.pod import (
    container_security,
    labels,
    metadata,
    own_variables,
    pod_security,
    resources,
    service_ports,
)
from workbench.deploy.export.serving_export import (
    GRPC_PORT,
    MODELS,
    REST_PORT,
    USER_ID,
    ServingExport,
)
from workbench.deploy.export.yaml_text import yaml_documents
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.serve_config import Placement, applications
from workbench.deploy.node.fleet_secret import SECRET_VARIABLE
from workbench.deploy.plan.plan_sources import pinned

_RAY = "2.60.0"
_HEAD, _WORKER = "ray-head", "ray-worker"
_HEAD_MEBIBYTES = 2048
_NODE_MEBIBYTES = 1024
"""What Ray itself takes on a node, in addition to the server; estimated."""


def serve_config(export: ServingExport) -> dict[str, Any]:
    """Ray Serve's configuration: the servers and the balancers, as two applications, so that a
    change of one does not replace the other. The nodes have the fleet's secret."""
    plan = pinned(export.mounted)
    placement = Placement(balancers=plan.servers, rest_port=REST_PORT, grpc_port=GRPC_PORT)
    apps = applications(Orders(1, plan), placement, secret=None)
    return {"proxy_location": "Disabled", "applications": list(apps.values())}


def ray_service(export: ServingExport) -> str:
    """The text of ``ray-service.yaml``."""
    documents = [_service(export), _ray_service(export)]
    head = (
        f"Fleet {export.name} on Ray, by the KubeRay operator. The image holds this package with\n"
        "the extra `ray` (image/workbench.Dockerfile); the models are on the volume of\n"
        "kubernetes/models-volume.yaml. Versions are rolled server by server, by Ray."
    )
    return yaml_documents(documents, head)


def _ray_service(export: ServingExport) -> dict[str, Any]:
    config = yaml.safe_dump(serve_config(export), sort_keys=False, width=10_000)
    head = _group(export, {"cpu": "1", "memory": f"{_HEAD_MEBIBYTES}Mi"}, head=True)
    server = resources(export)
    memory = f"{export.memory_mebibytes + _NODE_MEBIBYTES}Mi"
    worker = _group(
        export,
        {**server["requests"], "memory": memory},
        head=False,
        limits={**server["limits"], "memory": memory},
    )
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": metadata(export, "ray", _WORKER),
        "spec": {
            "# A change of it is rolled out by Ray; nothing else is replaced.": None,
            "serveConfigV2": config,
            "# Change the nodes in place: a second cluster would need twice the memory.": None,
            "upgradeStrategy": {"type": "None"},
            "rayClusterConfig": {
                "rayVersion": _RAY,
                "# KubeRay makes a token for the cluster: who reaches Ray's head runs code.": None,
                "authOptions": {"mode": "token"},
                "# A head that was lost comes back with its state, and replaces no server.": None,
                "gcsFaultToleranceOptions": {
                    "backend": "rocksdb",
                    "storage": {"size": "1Gi", "deletionPolicy": "DeleteWithCluster"},
                },
                "headGroupSpec": {
                    "rayStartParams": {"# No replica runs beside the head.": None, "num-cpus": "0"},
                    "template": head,
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "servers",
                        "replicas": export.plan.servers,
                        "minReplicas": export.plan.servers,
                        "maxReplicas": export.most_servers,
                        "rayStartParams": {},
                        "template": worker,
                    }
                ],
            },
        },
    }


def _group(
    export: ServingExport,
    requests: dict[str, Any],
    *,
    head: bool,
    limits: dict[str, Any] | None = None,
) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    shared: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    container: dict[str, Any] = {
        "name": "ray-head" if head else "ray-worker",
        "image": export.own_image,
        "env": [
            *own_variables(),
            {
                "name": SECRET_VARIABLE,
                "valueFrom": {"secretKeyRef": {"name": f"{export.name}-fleet", "key": "secret"}},
            },
            *(
                {"name": name, "value": value}
                for name, value in (
                    # A dead node is noticed in 1.5 s, and not in 14 s.
                    ("RAY_health_check_initial_delay_ms", "1000"),
                    ("RAY_health_check_period_ms", "500"),
                    ("RAY_health_check_timeout_ms", "1000"),
                    ("RAY_health_check_failure_threshold", "3"),
                )
                if head
            ),
        ],
        "resources": {"requests": requests, "limits": limits or {"memory": requests["memory"]}},
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
    if not head:
        container["ports"] = [
            {"name": "http", "containerPort": REST_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ]
        mounts.append({"name": "models", "mountPath": MODELS, "readOnly": True})
        claim = {"claimName": f"{export.name}-models", "readOnly": True}
        shared.append({"name": "models", "persistentVolumeClaim": claim})
    template: dict[str, Any] = {
        "metadata": {"labels": labels(export, _HEAD if head else _WORKER)},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {**pod_security(), "fsGroup": USER_ID},
            "containers": [container],
            "volumes": shared,
        },
    }
    return template


def _service(export: ServingExport) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(export, "ray-balancers", _WORKER),
        "spec": {
            "# Each node of servers has a balancer; clients of a dead one connect anew.": None,
            "selector": labels(export, _WORKER),
            "ports": service_ports(),
        },
    }
