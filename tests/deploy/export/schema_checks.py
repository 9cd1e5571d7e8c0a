"""Checks of exported files by official schemas and programs: each yields the mistakes, in words."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import text_format

from tests.shared import beside

Documents = Iterable[Mapping[str, Any]]

KUBERNETES_VERSIONS = ("1.25", "1.37")
"""The lowest and the newest that kubernetes-validate has (a test holds it)."""
CUSTOM = {"InferenceService": "inferenceservices.yaml", "RayService": "rayservices.yaml"}
"""Kinds that Kubernetes does not have by itself, and the file of their official definition."""
_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_SUFFIXES = ("", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def kubernetes_mistakes(found: Documents) -> Iterator[str]:
    """By Kubernetes' own schemas, of the lowest and the newest version, unknown fields included."""
    import kubernetes_validate

    for document in found:
        if document["kind"] in CUSTOM:
            continue
        for version in KUBERNETES_VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{document['kind']} ({version}): {error.message}"


def quantity_mistakes(found: Documents) -> Iterator[str]:
    """Amounts of memory, storage and CPU: the schemas take any text."""

    def walk(part: Any, where: str) -> Iterator[str]:
        if isinstance(part, Mapping):
            for name, value in part.items():
                if name in ("requests", "limits"):
                    for resource, amount in value.items():
                        whole = _QUANTITY.fullmatch(str(amount))
                        if whole is None or whole[2] not in _SUFFIXES:
                            yield f"{where}.{name}.{resource} is {amount}"
                else:
                    yield from walk(value, f"{where}.{name}")
        elif isinstance(part, list):
            for index, value in enumerate(part):
                yield from walk(value, f"{where}[{index}]")

    for document in found:
        yield from walk(document, document["kind"])


def reference_mistakes(found: Documents) -> Iterator[str]:
    """Selectors that match no pod, and names of objects that are not there; a secret is made by
    the user."""
    found = list(found)
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    pods = list(_pods(found))
    for document in found:
        kind, spec = document["kind"], document.get("spec", {})
        chosen = spec.get("selector")
        if chosen is not None:
            wanted = chosen.get("matchLabels", chosen) if kind != "Service" else chosen
            if not any(wanted.items() <= labels.items() for labels, _ in pods):
                yield f"The selector of {kind} {document['metadata']['name']} matches no pod"
        target = spec.get("scaleTargetRef")
        if target is not None and (target["kind"], target["name"]) not in names:
            yield f"{kind} scales {target['name']}, which is not there"
    for _, pod in pods:
        account = pod.get("serviceAccountName")
        if account is not None and ("ServiceAccount", account) not in names:
            yield f"ServiceAccount {account} is not there"
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for volume in pod.get("volumes", []):
            for key, kind, name in (
                ("configMap", "ConfigMap", "name"),
                ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
            ):
                if key in volume and (kind, volume[key][name]) not in names:
                    yield f"{kind} {volume[key][name]} is not there"
        for container in [*pod.get("containers", []), *([pod["model"]] if "model" in pod else [])]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"Volume {mount['name']} is not there"


def _pods(found: Documents) -> Iterator[tuple[Mapping[str, str], Mapping[str, Any]]]:
    """The labels and the specification of each pod that the documents ask for."""
    for document in found:
        spec = document.get("spec", {})
        if document["kind"] == "Pod":
            yield document["metadata"]["labels"], spec
        elif document["kind"] == "Deployment":
            yield spec["template"]["metadata"]["labels"], spec["template"]["spec"]
        elif document["kind"] == "InferenceService":
            yield document["metadata"]["labels"], spec["predictor"]
        elif document["kind"] == "RayService":
            cluster = spec["rayClusterConfig"]
            for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
                yield group["template"]["metadata"]["labels"], group["template"]["spec"]


def custom_mistakes(found: Documents) -> Iterator[str]:
    """By the official definition of a custom kind, closed: unknown fields are mistakes."""
    import jsonschema

    for document in found:
        if document["kind"] in CUSTOM:
            schema = _definition(document["kind"], document["apiVersion"].rpartition("/")[2])
            for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
                place = ".".join(map(str, error.absolute_path))
                yield f"{document['kind']}: {place}: {error.message}"


@cache
def _definition(kind: str, version: str) -> Any:
    definition = yaml.load(beside("crd", CUSTOM[kind]).read_text(), yaml.CSafeLoader)
    (schema,) = (
        each["schema"]["openAPIV3Schema"]
        for each in definition["spec"]["versions"]
        if each["name"] == version
    )
    _close(schema)
    # The definition leaves the fields of every object to Kubernetes.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for each in schema:
            _close(each)
        return
    if not isinstance(schema, dict):
        return
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict):
        if not open_ended:
            schema.setdefault("additionalProperties", False)
        for each in schema["properties"].values():
            _close(each)
    for key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf"):
        _close(schema.get(key))


def compose_mistakes(file: Path) -> Iterator[str]:
    """By the real `docker-compose`, which needs no engine for it."""
    program = Path(sys.executable).parent / "docker-compose"
    for profile in ("", "monitoring"):
        command = [program, "--file", file, "--profile", profile, "config", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0 or done.stderr:
            yield done.stderr.strip()


def proto_mistakes(file: Path) -> Iterator[str]:
    """By TensorFlow Serving's own class of a list of models."""
    from tensorflow_serving.config import model_server_config_pb2

    try:
        text_format.Parse(file.read_text(), model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        yield str(error)


def promtool_mistakes(*arguments: str | Path) -> Iterator[str]:
    """By Prometheus' own `promtool check`; warnings count."""
    done = subprocess.run(
        ["promtool", "check", *arguments], capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0 or done.stderr:
        yield done.stdout + done.stderr
