"""What the manifests say: probes, memory, numbers of servers, updates, security, secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.export.fleet_plans import (
    KINDS,
    MIB,
    OWN_IMAGE,
    documents,
    exported,
    of_kind,
    planned,
    shop,
)
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.plan.plan import Plan

WAYS = ("shared-volume", "image-per-version")


def deployment(folder: Path, way: str = "shared-volume") -> dict[str, Any]:
    (found,) = of_kind(documents(folder / "kubernetes" / f"{way}.yaml"), "Deployment")
    return found


def pod(folder: Path, way: str = "shared-volume") -> dict[str, Any]:
    found: dict[str, Any] = deployment(folder, way)["spec"]["template"]["spec"]
    return found


def container(folder: Path, way: str = "shared-volume") -> dict[str, Any]:
    (found,) = pod(folder, way)["containers"]
    return dict(found)


def common(folder: Path, kind: str) -> dict[str, Any]:
    return of_kind(documents(folder / "kubernetes" / "common.yaml"), kind)[0]


def test_a_rolling_update_never_has_fewer_servers(tmp_path: Path) -> None:
    folder = exported(tmp_path / "out").folder
    for way in WAYS:
        spec = deployment(folder, way)["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert "replicas" not in spec
        drain = container(folder, way)["lifecycle"]["preStop"]["exec"]["command"]
        assert pod(folder, way)["terminationGracePeriodSeconds"] > int(drain[1])
    assert common(folder, "PodDisruptionBudget")["spec"]["minAvailable"] == 1
    scaling = common(folder, "HorizontalPodAutoscaler")["spec"]
    assert (scaling["minReplicas"], scaling["maxReplicas"]) == (3, 9)
    assert scaling["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert scaling["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0


def test_a_single_server_may_be_moved(tmp_path: Path) -> None:
    folder = exported(tmp_path / "out", shop(servers=1), most_servers=1).folder
    budget = common(folder, "PodDisruptionBudget")["spec"]
    assert "minAvailable" not in budget
    assert budget["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("image", "path"), [(None, "/v1/models/digits"), (OWN_IMAGE, "/health/ready")]
)
def test_probes(tmp_path: Path, image: str | None, path: str) -> None:
    folder = exported(tmp_path / "out", workbench_image=image).folder
    found = container(folder)
    assert found["startupProbe"]["httpGet"] == {"path": path, "port": "http"}
    assert found["startupProbe"]["failureThreshold"] == 90
    assert found["readinessProbe"]["httpGet"] == {"path": path, "port": "http"}
    # A model that does not load must not end its server.
    assert found["livenessProbe"]["tcpSocket"] == {"port": "http"}
    assert "httpGet" not in found["livenessProbe"]


def test_memory_is_the_ledgers(tmp_path: Path) -> None:
    """The server, three versions, one more for a change, and a quarter more."""
    folder = exported(tmp_path / "out").folder
    wanted = f"{(200 + 3 * 100 + 100) * 5 // 4}Mi"
    resources = container(folder)["resources"]
    assert resources["requests"] == {"cpu": "2000m", "memory": wanted}
    assert resources["limits"] == {"memory": wanted}
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    deploy = compose["services"]["server"]["deploy"]
    assert deploy["resources"]["limits"]["memory"] == wanted.replace("Mi", "m")
    assert deploy["replicas"] == 3
    unloaded = shop(planned("m", transition="unload_first"))
    folder = exported(tmp_path / "unloaded", unloaded).folder
    assert container(folder)["resources"]["limits"]["memory"] == f"{300 * 5 // 4}Mi"
    assert unloaded.memory_bytes == 375 * MIB


def test_a_model_on_a_gpu_gets_one(tmp_path: Path) -> None:
    plan = replace(shop(planned("a", device="gpu:1"), planned("b")), gpus=2)
    folder = exported(tmp_path / "out", plan, workbench_image=OWN_IMAGE).folder
    assert container(folder)["resources"]["limits"]["nvidia.com/gpu"] == 2
    without = container(exported(tmp_path / "none").folder)
    assert "nvidia.com/gpu" not in without["resources"]["limits"]


def test_grpc_has_a_headless_service(tmp_path: Path) -> None:
    folder = exported(tmp_path / "out").folder
    services = of_kind(documents(folder / "kubernetes" / "common.yaml"), "Service")
    normal, headless = (each["spec"] for each in services)
    assert headless["clusterIP"] == "None"
    assert "clusterIP" not in normal
    assert {p["name"]: p["appProtocol"] for p in normal["ports"]} == {
        "http": "http",
        "grpc": "kubernetes.io/h2c",
    }


@pytest.mark.parametrize("image", KINDS)
def test_containers_may_do_as_little_as_possible(tmp_path: Path, image: str | None) -> None:
    folder = exported(tmp_path / "out", workbench_image=image).folder
    manifests = [*folder.glob("kubernetes/*"), *folder.glob("kserve/*"), *folder.glob("ray/*")]
    seen = 0
    for path in manifests:
        for each in _containers(documents(path)):
            security = each["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= each["resources"]["requests"].keys()
            assert "memory" in each["resources"]["limits"]
            seen += 1
    assert seen == 7  # two Deployments, a pod that copies, two of KServe, two of Ray
    for way in WAYS:
        assert pod(folder, way)["securityContext"]["runAsNonRoot"] is True
        assert pod(folder, way)["automountServiceAccountToken"] is False
    server = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["server"]
    assert (server["read_only"], server["cap_drop"]) == (True, ["ALL"])
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])


def _containers(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, list):
        return [each for entry in part for each in _containers(entry)]
    if not isinstance(part, dict):
        return []
    inside = [each for value in part.values() for each in _containers(value)]
    return [*inside, part] if "image" in part and "volumeMounts" in part else inside


def test_the_token_is_only_referenced(tmp_path: Path) -> None:
    folder = exported(tmp_path / "out", workbench_image=OWN_IMAGE).folder
    assert "Secret" not in [d["kind"] for p in folder.glob("kubernetes/*") for d in documents(p)]
    (volume,) = (v for v in pod(folder)["volumes"] if v["name"] == "token")
    assert volume["secret"] == {"secretName": "shop-token"}
    (mount,) = (m for m in container(folder)["volumeMounts"] if m["name"] == "token")
    flag = f"--token_file={mount['mountPath']}/token"
    assert flag in container(folder)["args"]
    assert "--bind=0.0.0.0" in container(folder)["args"]
    command = (folder / "README.md").read_text()
    assert "kubectl create secret generic shop-token --from-file=token=token" in command
    job = documents(folder / "prometheus" / "prometheus.yaml")[0]["scrape_configs"][0]
    assert job["authorization"]["credentials_file"] == flag.partition("=")[2]
    plain = container(exported(tmp_path / "plain").folder)["args"]
    assert not any(each.startswith(("--token", "--bind")) for each in plain)


def test_a_change_of_the_configuration_is_a_rolling_update(tmp_path: Path) -> None:
    def digest(name: str, **labels: int) -> str:
        plan = shop(planned("m", (1, 2), labels=labels))
        template = deployment(exported(tmp_path / name, plan).folder)["spec"]["template"]
        return str(template["metadata"]["annotations"]["workbench/config-digest"])

    assert digest("a", stable=1) == digest("b", stable=1) != digest("c", stable=2)


def test_versions_come_by_a_volume_or_in_the_image(tmp_path: Path) -> None:
    folder = exported(tmp_path / "out", model_image="registry.example/shop:9").folder
    (volume,) = (v for v in pod(folder)["volumes"] if v["name"] == "models")
    assert volume["persistentVolumeClaim"] == {"claimName": "shop-models", "readOnly": True}
    assert all(v["name"] != "models" for v in pod(folder, "image-per-version")["volumes"])
    assert container(folder, "image-per-version")["image"] == "registry.example/shop:9"
    # Going back to an older image takes back the server's files as well.
    assert all("configMap" not in v for v in pod(folder, "image-per-version")["volumes"])
    dockerfile = (folder / "image" / "Dockerfile").read_text()
    files = "serving/batching_parameters.txt serving/models.config serving/monitoring.config"
    assert f"COPY --chown=10001:10001 {files} /etc/serving/\n" in dockerfile
    assert "FROM tensorflow/serving:" in dockerfile
    assert "COPY --chown=10001:10001 version-files/ /models/" in dockerfile


def test_kserve_has_a_service_for_each_model(tmp_path: Path) -> None:
    folder = exported(tmp_path / "out").folder
    found = documents(folder / "kserve" / "inference-services.yaml")
    services = of_kind(found, "InferenceService")
    assert [s["metadata"]["name"] for s in services] == ["shop-digits", "shop-words"]
    # A Deployment's Service must not find the pods of KServe, which have these labels.
    assert {s["metadata"]["labels"]["app.kubernetes.io/component"] for s in services} == {
        "inference-service"
    }
    for service, config in zip(services, of_kind(found, "ConfigMap"), strict=True):
        predictor = service["spec"]["predictor"]
        name = service["metadata"]["name"].removeprefix("shop-")
        assert predictor["model"]["storageUri"] == f"pvc://shop-models/{name}"
        text = config["data"]["models.config"]
        assert f'name: "{name}"' in text
        assert text.count("base_path") == 1
        assert 'base_path: "/mnt/models"' in text
        assert "--rest_api_port=8080" in predictor["model"]["args"]
    # Each of them has only one model, so its own batching is that of all its models.
    words = of_kind(found, "ConfigMap")[1]["data"]
    assert "value: 64" in words["batching_parameters.txt"]
    own = exported(tmp_path / "own", workbench_image=OWN_IMAGE).folder
    service = of_kind(documents(own / "kserve" / "inference-services.yaml"), "InferenceService")[0]
    (server,) = service["spec"]["predictor"]["containers"]
    assert {"name": "STORAGE_URI", "value": "pvc://shop-models/digits"} in [
        {k: v for k, v in each.items() if not k.startswith("#")} for each in server["env"]
    ]


def test_ray_gets_the_whole_plan(tmp_path: Path) -> None:
    plan = shop()
    folder = exported(tmp_path / "out", plan).folder
    (service,) = of_kind(documents(folder / "ray" / "ray-service.yaml"), "RayService")
    servers, balancers = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    orders = Orders.from_json(servers["deployments"][0]["user_config"])
    kept = Plan.from_json(json.loads((folder / "plan.json").read_text()))
    assert [m.versions for m in orders.plan.models] == [m.versions for m in kept.models]
    assert [m.config.batching for m in orders.plan.models] == [
        m.config.batching for m in kept.models
    ]
    assert servers["deployments"][0]["num_replicas"] == 3
    assert [a["import_path"].rpartition(":")[2] for a in (servers, balancers)] == [
        "servers",
        "balancers",
    ]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert (group["replicas"], group["maxReplicas"]) == (3, 9)
    assert service["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def test_the_readme_says_what_is_estimated(tmp_path: Path) -> None:
    measured = (exported(tmp_path / "a").folder / "README.md").read_text()
    assert "750 MiB for each server, measured while the models served in a notebook" in measured
    estimated = shop(replace(planned("m"), memory_known="estimated"))
    text = (exported(tmp_path / "b", estimated).folder / "README.md").read_text()
    assert "estimated from the sizes of the models' files: watch and correct it" in text
    assert "by digest" in text
