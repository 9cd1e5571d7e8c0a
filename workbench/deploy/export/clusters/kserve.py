"""KServe's manifest: one InferenceService for each model, as KServe has one model in a service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workbench.deploy.export.clusters.pod import (
    config_map,
    config_volume,
    container_security,
    digest,
    metadata,
    own_variables,
    pod_security,
    probes,
    resources,
    token_folder,
    volumes,
)
from workbench.deploy.export.serving_export import CONFIG, ServingExport
from workbench.deploy.export.tf_serving import container_flags, serving_files
from workbench.deploy.export.yaml_text import yaml_documents
from workbench.deploy.plan.plan import PlannedModel

_MOUNTED = "/mnt/models"
"""Where KServe puts the files of a service's model."""
_REST_PORT, _GRPC_PORT = 8080, 9000
_COMPONENT = "inference-service"
_TARGET_CPU_PERCENT = 70


def inference_services(export: ServingExport) -> str:
    """The text of ``inference-services.yaml``."""
    documents = []
    for model in export.plan.models:
        documents += _of_model(export, model)
    head = (
        "One InferenceService for each model, on the volume of kubernetes/models-volume.yaml.\n"
        "Another storageUri (s3://, gs://, hf://) works as well; it must hold numbered folders."
    )
    return yaml_documents(documents, head)


def _of_model(export: ServingExport, model: PlannedModel) -> list[dict[str, Any]]:
    alone = ServingExport(replace(export.plan, models=(model,)), export.options)
    part = export.model_names[model.name]
    about = metadata(export, "" if part == export.name else part, _COMPONENT)
    config = {**about, "name": f"{about['name']}-kserve"}
    files = serving_files(alone)
    # KServe mounts the model's own folder, with the numbered versions in it.
    files["models.config"] = files["models.config"].replace(
        alone.config(model).base_path, _MOUNTED, 1
    )
    uri = f"pvc://{export.name}-models/{export.folders[model.name]}"
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            **about,
            "annotations": {
                "# A Deployment, as Knative allows no startup probe. Without this line it is": None,
                "# Knative, where canaryTrafficPercent sends a share to a new storageUri.": None,
                "serving.kserve.io/deploymentMode": "RawDeployment",
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": export.plan.servers,
                "maxReplicas": export.most_servers,
                "scaleMetric": "cpu",
                "scaleTarget": _TARGET_CPU_PERCENT,
                "timeout": max(1, round(export.server_settings["rest_timeout_seconds"])),
                "annotations": {
                    "workbench/config-digest": digest(files),
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(_REST_PORT),
                    "prometheus.io/path": export.metrics_path,
                },
                "automountServiceAccountToken": False,
                "securityContext": pod_security(),
                **_container(alone, uri),
                "volumes": [config_volume(config["name"]), *volumes(export)],
            }
        },
    }
    return [config_map(config, files), service]


def _container(alone: ServingExport, uri: str) -> dict[str, Any]:
    """KServe's own runtime of TensorFlow, or a container of ours."""
    common: dict[str, Any] = {
        "image": alone.image,
        "args": container_flags(alone, _REST_PORT, _GRPC_PORT),
        **_probes(alone),
        "resources": resources(alone),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    if not alone.own_server:
        return {
            "model": {
                "modelFormat": {"name": "tensorflow"},
                "protocolVersion": "v1",
                "storageUri": uri,
                "# KServe puts these behind its own; a flag that comes later holds.": None,
                **common,
            }
        }
    common["volumeMounts"].append({"name": "token", "mountPath": token_folder(), "readOnly": True})
    return {
        "containers": [
            {
                "name": "kserve-container",
                "command": alone.command,
                "ports": [{"name": "http1", "containerPort": _REST_PORT}],
                "env": [
                    {
                        "# KServe mounts this at /mnt/models.": None,
                        "name": "STORAGE_URI",
                        "value": uri,
                    },
                    *own_variables(),
                ],
                **common,
            }
        ]
    }


def _probes(alone: ServingExport) -> dict[str, Any]:
    """The probes, with numbers for the ports: KServe names them in its own way."""
    found = probes(alone)
    for name, probe in found.items():
        if probe is not None:
            action = "tcpSocket" if "tcpSocket" in probe else "httpGet"
            found[name] = {**probe, action: {**probe[action], "port": _REST_PORT}}
    return found
