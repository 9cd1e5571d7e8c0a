"""Every exported file is valid by its official schema, and these checks find planted mistakes."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.export.fleet_plans import KINDS, documents, exported, of_kind, planned, shop
from tests.deploy.export.schema_checks import (
    KUBERNETES_VERSIONS,
    compose_mistakes,
    custom_mistakes,
    kubernetes_mistakes,
    promtool_mistakes,
    proto_mistakes,
    quantity_mistakes,
    reference_mistakes,
)
from workbench.deploy.plan.plan import Plan

pytestmark = pytest.mark.fleet

PLANS: dict[str, Callable[[], Plan]] = {
    "two models": shop,
    "one server": lambda: shop(planned("digits", labels={"stable": 1}), servers=1, options={}),
    "odd names": lambda: shop(planned("a/b", device="gpu:1"), planned("a:b"), name="Shop_2.x"),
}
IN_KUBERNETES = ("common", "models-volume", "copy-models")
WAYS = ("shared-volume", "image-per-version")


@pytest.fixture(params=[(plan, kind) for plan in PLANS for kind in KINDS], ids=str)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An exported folder of each plan, for both kinds of server."""
    plan, image = request.param
    result = exported(tmp_path / "out", PLANS[plan](), workbench_image=image)
    (result.folder / "token").write_text("a token of this test")
    return result.folder


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return exported(tmp_path / "plain").folder


def manifests(folder: Path, *names: str) -> list[dict[str, Any]]:
    return [d for name in names for d in documents(folder / f"{name}.yaml")]


def kubernetes(folder: Path, way: str) -> list[dict[str, Any]]:
    return manifests(folder / "kubernetes", *IN_KUBERNETES, way)


def all_mistakes(found: list[dict[str, Any]]) -> list[str]:
    return [
        *kubernetes_mistakes(found),
        *quantity_mistakes(found),
        *reference_mistakes(found),
        *custom_mistakes(found),
    ]


def test_the_versions_are_the_lowest_and_the_newest() -> None:
    import kubernetes_validate.utils

    known = [v.rpartition(".")[0] for v in kubernetes_validate.utils.all_versions()]
    assert (known[0], known[-1]) == KUBERNETES_VERSIONS


@pytest.mark.parametrize("way", WAYS)
def test_kubernetes(folder: Path, way: str) -> None:
    found = kubernetes(folder, way)
    assert {each["kind"] for each in found} >= {
        "ServiceAccount", "ConfigMap", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget",
        "PersistentVolumeClaim", "Deployment",
    }  # fmt: skip
    assert all_mistakes(found) == []


def test_kserve(folder: Path) -> None:
    found = [
        *manifests(folder / "kubernetes", "models-volume"),
        *manifests(folder / "kserve", "inference-services"),
    ]
    assert of_kind(found, "InferenceService")
    assert all_mistakes(found) == []


def test_ray(folder: Path) -> None:
    found = [
        *manifests(folder / "kubernetes", "models-volume"),
        *manifests(folder / "ray", "ray-service"),
    ]
    assert of_kind(found, "RayService")
    assert all_mistakes(found) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own
def test_ray_serves_configuration(folder: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    (service,) = of_kind(documents(folder / "ray" / "ray-service.yaml"), "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    read = ServeDeploySchema.model_validate(config)
    kinds = [each.name.rpartition("-")[2] for each in read.applications]
    assert kinds == ["servers", "balancers"]


def test_compose(folder: Path) -> None:
    assert list(compose_mistakes(folder / "compose.yaml")) == []


def test_models_config(folder: Path) -> None:
    assert list(proto_mistakes(folder / "serving" / "models.config")) == []


@pytest.mark.parametrize("name", ["prometheus", "prometheus-kubernetes"])
def test_prometheus(folder: Path, name: str) -> None:
    file = folder / "prometheus" / f"{name}.yaml"
    # promtool wants to see the file of the token, which is in the container.
    text = file.read_text().replace("/run/secrets/workbench/token", str(folder / "token"))
    if "kubernetes_sd_configs" in text:
        # Debian builds Prometheus without Kubernetes.
        config = yaml.safe_load(text)
        (job,) = config["scrape_configs"]
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
        job["static_configs"] = [{"targets": ["127.0.0.1:1"]}]
        text = yaml.safe_dump(config)
    file.write_text(text)
    assert list(promtool_mistakes("config", file)) == []
    assert list(promtool_mistakes("rules", folder / "prometheus" / "rules.yaml")) == []


def test_what_is_no_kubernetes_file_is_yaml_all_the_same(folder: Path) -> None:
    for path in folder.rglob("*.yaml"):
        assert all(documents(path)), path


# Planted mistakes.


def _deployment(found: list[dict[str, Any]]) -> dict[str, Any]:
    return of_kind(found, "Deployment")[0]


def _container(found: list[dict[str, Any]]) -> dict[str, Any]:
    pod: dict[str, Any] = _deployment(found)["spec"]["template"]["spec"]
    container: dict[str, Any] = pod["containers"][0]
    return container


def _unknown_field(found: list[dict[str, Any]]) -> None:
    _container(found)["imagePullPolicies"] = "Always"


def _wrong_type(found: list[dict[str, Any]]) -> None:
    of_kind(found, "HorizontalPodAutoscaler")[0]["spec"]["minReplicas"] = "three"


def _missing(found: list[dict[str, Any]]) -> None:
    del _deployment(found)["spec"]["selector"]


def _quantity(found: list[dict[str, Any]]) -> None:
    _container(found)["resources"]["limits"]["memory"] = "900Mb"


def _selector(found: list[dict[str, Any]]) -> None:
    of_kind(found, "Service")[0]["spec"]["selector"]["app.kubernetes.io/name"] = "shoop"


def _target(found: list[dict[str, Any]]) -> None:
    target = of_kind(found, "HorizontalPodAutoscaler")[0]["spec"]["scaleTargetRef"]
    target["name"] = "server"


def _config_map(found: list[dict[str, Any]]) -> None:
    of_kind(found, "ConfigMap")[0]["metadata"]["name"] = "config"


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (_unknown_field, "'imagePullPolicies' was unexpected"),
        (_wrong_type, "'three' is not of type"),
        (_missing, "'selector' is a required property"),
        (_quantity, "resources.limits.memory is 900Mb"),
        (_selector, "The selector of Service shop matches no pod"),
        (_target, "HorizontalPodAutoscaler scales server, which is not there"),
        (_config_map, "ConfigMap shop-serving is not there"),
    ],
)
def test_a_mistake_in_a_manifest_is_found(
    plain: Path, plant: Callable[[list[dict[str, Any]]], None], said: str
) -> None:
    found = kubernetes(plain, "shared-volume")
    planted = copy.deepcopy(found)
    plant(planted)
    assert all_mistakes(found) == []
    assert any(said in each for each in all_mistakes(planted))


@pytest.mark.parametrize(
    ("file", "kind", "path", "value", "said"),
    [
        ("kserve/inference-services", "InferenceService", "predictor.model.storageUrl", "pvc://x",
         "'storageUrl' was unexpected"),
        ("kserve/inference-services", "InferenceService", "predictor.minReplicas", "two",
         "'two' is not of type 'integer'"),
        ("ray/ray-service", "RayService", "rayClusterConfig.authOptions.mode", "password",
         "'password' is not one of"),
        ("ray/ray-service", "RayService", "serveConfigV3", "applications: []",
         "'serveConfigV3' was unexpected"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_custom_kind_is_found(
    plain: Path, file: str, kind: str, path: str, value: str, said: str
) -> None:
    service = of_kind(documents(plain / f"{file}.yaml"), kind)[0]
    assert list(custom_mistakes([service])) == []
    part, (*inner, last) = service["spec"], path.split(".")
    for name in inner:
        part = part[name]
    part[last] = value
    assert any(said in each for each in custom_mistakes([service]))


def _changed(folder: Path, name: str, before: str, after: str) -> Path:
    file = folder / name
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    return file


def _of_compose(folder: Path) -> Iterator[str]:
    yield from compose_mistakes(
        _changed(folder, "compose.yaml", "    read_only: true", "    readonly: true")
    )


def _of_proto(folder: Path) -> Iterator[str]:
    yield from proto_mistakes(
        _changed(folder, "serving/models.config", "base_path", "model_base_path")
    )


def _of_query(folder: Path) -> Iterator[str]:
    yield from promtool_mistakes(
        "rules", _changed(folder, "prometheus/rules.yaml", "[5m]))", "[5m])")
    )


def _of_scraping(folder: Path) -> Iterator[str]:
    yield from promtool_mistakes(
        "config", _changed(folder, "prometheus/prometheus.yaml", "type: A\n", "type: B\n")
    )


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (_of_compose, "readonly"),
        (_of_proto, 'has no field named "model_base_path"'),
        (_of_query, "parse error"),
        (_of_scraping, "invalid DNS-SD records type B"),
    ],
)
def test_a_mistake_in_another_file_is_found(
    plain: Path, tmp_path: Path, plant: Callable[[Path], Iterator[str]], said: str
) -> None:
    planted = tmp_path / "planted"
    shutil.copytree(plain, planted)
    assert any(said in each for each in plant(planted))
