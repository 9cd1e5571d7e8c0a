"""A plan in the form that exported files need: paths inside containers, names, images."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.client.publishing.saving import version_folders
from workbench.core.model_settings import ModelConfig
from workbench.deploy.export.export_options import ExportOptions
from workbench.deploy.plan.plan import Plan, PlannedModel
from workbench.formats.config_files import METRICS_PATH
from workbench.processes.paths import clean_name
from workbench.processes.server_options import ServerOptions

MODELS = "/models"
"""The folder of all models inside a container."""
CONFIG = "/etc/serving"
"""The folder of the server's files inside a container."""
LIBRARIES = "/op-libraries"
"""The folder inside a container for shared libraries with operations."""
GRPC_PORT, REST_PORT = 8500, 8501
USER_ID = 10001
"""Servers run as this user and group, which no image gives a meaning to."""
_MEBIBYTE = 1 << 20
_NAME_CHARACTERS = 40
"""Kubernetes allows 63; the names of a fleet's parts are longer than its own."""


@dataclass(frozen=True)
class ServingExport:
    """What is exported."""

    plan: Plan
    options: ExportOptions

    @property
    def own_server(self) -> bool:
        """Whether the servers are `workbench model-server`, and not TensorFlow Serving."""
        return self.options.workbench_image is not None

    @property
    def image(self) -> str:
        """The image of a server."""
        return self.options.workbench_image or self.options.image

    @property
    def own_image(self) -> str:
        """The image with this package and Ray; the user builds it."""
        return self.options.workbench_image or f"serving-workbench:{package_version()}"

    @property
    def model_image(self) -> str:
        """The image that holds a server and the models; the user builds it."""
        versions = "-".join(str(v) for model in self.plan.models for v in model.versions)
        return self.options.model_image or f"{self.name}-with-models:{versions or 'none'}"

    @property
    def command(self) -> list[str]:
        """The program in the image."""
        return ["workbench", "model-server"] if self.own_server else ["tensorflow_model_server"]

    @property
    def name(self) -> str:
        """The name of the fleet as Kubernetes and compose allow it."""
        return dns_name(self.plan.name)

    @property
    def most_servers(self) -> int:
        """The most servers that an autoscaler may start."""
        return max(self.options.most_servers or 3 * self.plan.servers, self.plan.servers)

    @property
    def server_settings(self) -> dict[str, Any]:
        """The options of each server, those that the plan leaves out included."""
        return {**ServerOptions(name="defaults").to_json(), **self.plan.options}

    @property
    def metrics_path(self) -> str:
        """The path of the metrics page. It is shown also if the plan shows none: alerts and
        dashboard need it."""
        path: str = self.server_settings["metrics_path"] or METRICS_PATH
        return path

    @property
    def threads(self) -> int:
        """Batches that run at a time on one server."""
        return int(self.plan.options.get("num_batch_threads") or math.ceil(self.plan.cpu_count))

    @property
    def memory_mebibytes(self) -> int:
        """The host memory of one server."""
        return math.ceil(self.plan.memory_bytes / _MEBIBYTE)

    @property
    def storage_mebibytes(self) -> int:
        """Room on a volume for three times the files of the versions that serve, as far as these
        can be read here; at least 1 GiB."""
        files = (
            each.stat().st_size
            for model in self.plan.models
            for version, folder in version_folders(Path(model.config.base_path)).items()
            if version in model.versions
            for each in folder.rglob("*")
            if each.is_file()
        )
        return max(1024, math.ceil(3 * sum(files) / _MEBIBYTE))

    @property
    def gpus(self) -> int:
        """GPUs of a server."""
        return self.plan.gpus

    @property
    def folders(self) -> dict[str, str]:
        """The folder of each model, by the model's name: one that needs no quotes anywhere."""
        return _distinct([model.name for model in self.plan.models], lambda n: clean_name(n) or "m")

    @property
    def model_names(self) -> dict[str, str]:
        """The name of each model as Kubernetes allows it, by the model's name."""
        return _distinct([model.name for model in self.plan.models], dns_name)

    def follows_folder(self, model: PlannedModel) -> bool:
        """Whether a server that follows the model's folder serves the planned versions now."""
        policy = model.config.version_policy
        found = version_folders(Path(model.config.base_path)) or model.versions
        return tuple(policy.aspired(found)) == model.versions and not self.options.pin_versions

    def config(self, model: PlannedModel, root: str = MODELS) -> ModelConfig:
        """The settings of a model whose folder lies below `root`."""
        kept = model.config if self.follows_folder(model) else model.pinned
        libraries = tuple(
            f"{LIBRARIES}/{PurePosixPath(each).name}" if os.path.isabs(each) else each
            for each in kept.op_libraries
        )
        folder = f"{root}/{self.folders[model.name]}"
        return replace(kept, base_path=folder, op_libraries=libraries)

    def configs(self, root: str = MODELS) -> list[ModelConfig]:
        """`config` of all models."""
        return [self.config(model, root) for model in self.plan.models]

    @property
    def mounted(self) -> Plan:
        """The plan with the paths that models have inside a container."""
        models = (replace(m, config=self.config(m)) for m in self.plan.models)
        return replace(self.plan, models=tuple(models))


def package_version() -> str:
    """The version of this package."""
    return metadata.version("serving-workbench")


def dns_name(text: str) -> str:
    """The closest name that begins with a letter and has lower-case letters, digits and dashes."""
    plain = re.sub(r"[^a-z0-9]+", "-", clean_name(text).lower()).strip("-")
    begun = plain if plain[:1].isalpha() else f"m-{plain}"
    return begun[:_NAME_CHARACTERS].rstrip("-")


def _distinct(names: Iterable[str], clean: Callable[[str], str]) -> dict[str, str]:
    """The clean form of each name; those that would be alike have a digest of the name as well."""
    names = list(names)
    cleaned = [clean(name) for name in names]
    return {
        name: form
        if cleaned.count(form) == 1
        else f"{form}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        for name, form in zip(names, cleaned, strict=True)
    }
