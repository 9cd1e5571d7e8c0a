"""Manifests for plain Kubernetes: what all ways share, and a Deployment for each of two ways in
which versions reach the servers (a shared volume, or an image that holds them)."""

from __future__ import annotations

from typing import Any

from workbench.deploy.export.clusters.pod import (
    GRACE_SECONDS,
    config_map,
    config_volume,
    container_security,
    digest,
    grpc_service_port,
    labels,
    metadata,
    pod_security,
    server_container,
    service_ports,
    volumes,
)
from workbench.deploy.export.serving_export import (
    MODELS,
    REST_PORT,
    USER_ID,
    ServingExport,
)
from workbench.deploy.export.tf_serving import serving_files
from workbench.deploy.export.yaml_text import yaml_documents

_TARGET_CPU_PERCENT = 70
_SCALE_DOWN_SECONDS = 300


def common_manifests(export: ServingExport) -> str:
    """The text of ``common.yaml``: everything but the Deployment and its models."""
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(export),
            "# The servers ask Kubernetes for nothing.": None,
            "automountServiceAccountToken": False,
        },
        config_map(metadata(export, "serving"), serving_files(export)),
        _service(export),
        _headless_service(export),
        _autoscaler(export),
        _disruption_budget(export),
    ]
    return yaml_documents(documents, f"Fleet {export.name}, whichever way its models come.")


def volume_manifest(export: ServingExport) -> str:
    """The text of ``models-volume.yaml``: the volume of the models."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(export, "models"),
        "spec": {
            "# Many nodes read it: name a storage class that can do that (NFS, CephFS ...).": None,
            "accessModes": ["ReadWriteMany"],
            "# Three times the files of the versions that serve, at least 1 GiB.": None,
            "resources": {"requests": {"storage": f"{export.storage_mebibytes}Mi"}},
        },
    }
    return yaml_documents([claim], "The volume of the models.")


def copying_manifest(export: ServingExport) -> str:
    """The text of ``copy-models.yaml``: a pod through which folders are copied to the volume."""
    mount = {"name": "models", "mountPath": MODELS}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{export.name}-copy",
            "# Not those of the servers: no Service may send it requests.": None,
            "labels": {"app.kubernetes.io/name": export.name},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "# The group may write to the volume, where its storage class allows that.": None,
            "securityContext": {**pod_security(), "fsGroup": USER_ID},
            "containers": [
                {
                    "name": "copy",
                    "# It has the `tar` that `kubectl cp` needs, and is on the nodes anyway.": None,
                    "image": export.image,
                    "command": ["sleep", "infinity"],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "64Mi"},
                        "limits": {"memory": "256Mi"},
                    },
                    "securityContext": container_security(),
                    "volumeMounts": [mount],
                }
            ],
            "volumes": [
                {
                    "name": "models",
                    "persistentVolumeClaim": {"claimName": f"{export.name}-models"},
                }
            ],
        },
    }
    return yaml_documents([pod], "A pod through which models are copied to the volume.")


def shared_volume_manifest(export: ServingExport) -> str:
    """The text of ``shared-volume.yaml``: servers that read the models from the volume."""
    claim = {"claimName": f"{export.name}-models", "readOnly": True}
    head = (
        "The models on a shared volume. A version is published by copying its folder there,\n"
        "under a name that is not a number, and by renaming it then."
    )
    mounted = [
        config_volume(f"{export.name}-serving"),
        {"name": "models", "persistentVolumeClaim": claim},
    ]
    digests = {
        "# A change of the ConfigMap becomes a rolling update.": None,
        "workbench/config-digest": digest(serving_files(export)),
    }
    return yaml_documents([_deployment(export, export.image, mounted, digests)], head)


def image_manifest(export: ServingExport) -> str:
    """The text of ``image-per-version.yaml``: the models are in the image."""
    head = (
        "The models and the server's files in the image (see image/Dockerfile). A version is\n"
        "published by another image, server by server; `kubectl rollout undo` takes it back."
    )
    return yaml_documents([_deployment(export, export.model_image, [], {})], head)


def _deployment(
    export: ServingExport,
    image: str,
    more_volumes: list[dict[str, Any]],
    more_annotations: dict[str, Any],
) -> dict[str, Any]:
    annotations = {
        **more_annotations,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(REST_PORT),
        "prometheus.io/path": export.metrics_path,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(export),
        "spec": {
            "# No `replicas`: the autoscaler sets them, and this file must not undo that.": None,
            "selector": {"matchLabels": labels(export)},
            "strategy": {
                "type": "RollingUpdate",
                "# One server more, and none less, until the new one is ready.": None,
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {
                "metadata": {"labels": labels(export), "annotations": annotations},
                "spec": {
                    "serviceAccountName": export.name,
                    "automountServiceAccountToken": False,
                    "securityContext": pod_security(),
                    "terminationGracePeriodSeconds": GRACE_SECONDS,
                    "# Servers on different nodes, where there are several.": None,
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": labels(export)},
                        }
                    ],
                    "containers": [server_container(export, image, volume=bool(more_volumes))],
                    "volumes": [*volumes(export), *more_volumes],
                },
            },
        },
    }


def _service(export: ServingExport) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(export),
        "spec": {
            "selector": labels(export),
            "ports": service_ports(),
        },
    }


def _headless_service(export: ServingExport) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(export, "grpc"),
        "spec": {
            "# Lists the address of each server. A gRPC client has one connection, which": None,
            "# would stick to one server: use dns:///... with the policy round_robin.": None,
            "clusterIP": "None",
            "selector": labels(export),
            "ports": [grpc_service_port()],
        },
    }


def _autoscaler(export: ServingExport) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(export),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": export.name},
            "# The planned number of servers.": None,
            "minReplicas": export.plan.servers,
            "maxReplicas": export.most_servers,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {
                            "type": "Utilization",
                            "averageUtilization": _TARGET_CPU_PERCENT,
                        },
                    },
                }
            ],
            "behavior": {
                "# Up at once, as a new server needs time to load its models.": None,
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                },
                "# Down slowly, so that a pause between two bursts costs no server.": None,
                "scaleDown": {
                    "stabilizationWindowSeconds": _SCALE_DOWN_SECONDS,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                },
            },
        },
    }


def _disruption_budget(export: ServingExport) -> dict[str, Any]:
    if export.plan.servers > 1:
        bound: dict[str, Any] = {"minAvailable": 1}
    else:
        bound = {
            "# A single server may be moved, or its node could never be drained.": None,
            "maxUnavailable": 1,
        }
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(export),
        "spec": {**bound, "selector": {"matchLabels": labels(export)}},
    }
