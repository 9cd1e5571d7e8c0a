"""Writes a plan as a folder of files, the same ones every time."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from workbench.client.publishing.saving import version_folders
from workbench.core.status import failed_precondition, invalid_argument
from workbench.deploy.export.clusters import kserve, kubernetes, ray_service
from workbench.deploy.export.compose import compose_file
from workbench.deploy.export.dockerfiles import server_dockerfile, workbench_dockerfile
from workbench.deploy.export.export_options import ExportOptions
from workbench.deploy.export.folder_readme import readme
from workbench.deploy.export.monitoring import alert_rules, grafana, scraping
from workbench.deploy.export.not_expressed import NotExpressed, not_expressed
from workbench.deploy.export.serving_export import ServingExport
from workbench.deploy.export.tf_serving import (
    VERSION_FILE,
    run_script,
    serving_files,
    version_files,
)
from workbench.deploy.plan.plan import Plan
from workbench.deploy.plan.plan_files import plan_text

_EXECUTABLE = ("serving/run.sh",)
_LIST = ".exported"
"""The file that lists the others; a folder that has it is an earlier export."""


class ExportedFolder(NamedTuple):
    """What was exported.

    Attributes:
        folder: where the files are.
        files: their paths in it, in order; those of copied models are not among them.
        sources: by the path of each model's folder below that of the models: where the model is
            on this machine. No file says this.
        copied: whether the versions that serve were copied into the folder ``models``.
        not_expressed: what the servers will do otherwise than planned.
    """

    folder: Path
    files: tuple[str, ...]
    sources: Mapping[str, str]
    copied: bool
    not_expressed: tuple[NotExpressed, ...]

    def __str__(self) -> str:
        lines = [f"Exported {len(self.files)} files to {self.folder}; README.md says what is next."]
        for name, source in self.sources.items():
            if self.copied:
                lines.append(f"  models/{name}: a copy of {source}")
            else:
                lines.append(f"  MODELS/{name} must be {source}: copy or mount it there")
        if self.not_expressed:
            lines.append("  The servers will differ from the plan in this (see README.md):")
            lines += [f"    {each.setting}" for each in self.not_expressed]
        return "\n".join(lines)


def exported_files(export: ServingExport) -> dict[str, str]:
    """The text of every file of an export, by its path in the folder."""
    in_serving = {**serving_files(export), "run.sh": run_script(export)}
    own_root = "models" if export.options.copy_models else "version-files"
    files = {
        "README.md": readme(export),
        "plan.json": plan_text(export.mounted),
        **{f"serving/{name}": text for name, text in in_serving.items()},
        **{f"{own_root}/{name}": text for name, text in version_files(export).items()},
        "image/Dockerfile": server_dockerfile(export),
        "image/workbench.Dockerfile": workbench_dockerfile(export),
        "compose.yaml": compose_file(export),
        "prometheus/prometheus.yaml": scraping.compose_scraping(export),
        "prometheus/prometheus-kubernetes.yaml": scraping.kubernetes_scraping(export),
        f"prometheus/{scraping.RULES_FILE}": alert_rules.rules(export),
        "grafana/dashboards/model-servers.json": grafana.dashboard(export),
        "grafana/provisioning/datasources/prometheus.yaml": grafana.data_source(),
        "grafana/provisioning/dashboards/model-servers.yaml": grafana.dashboard_provider(),
        "kubernetes/common.yaml": kubernetes.common_manifests(export),
        "kubernetes/models-volume.yaml": kubernetes.volume_manifest(export),
        "kubernetes/copy-models.yaml": kubernetes.copying_manifest(export),
        "kubernetes/shared-volume.yaml": kubernetes.shared_volume_manifest(export),
        "kubernetes/image-per-version.yaml": kubernetes.image_manifest(export),
        "kserve/inference-services.yaml": kserve.inference_services(export),
        "ray/ray-service.yaml": ray_service.ray_service(export),
    }
    return dict(sorted(files.items()))


def export_plan(
    plan: Plan, folder: str | os.PathLike[str], options: ExportOptions | None = None
) -> ExportedFolder:
    """Write a plan as files for TensorFlow Serving, compose, Kubernetes, KServe and Ray.

    Files of an earlier export in the folder are replaced or removed; other files are left.

    Raises:
        ServingError: INVALID_ARGUMENT, the folder has files and is no earlier export;
            FAILED_PRECONDITION, a version that should be copied is not there, or a file cannot be
            written.
    """
    export = ServingExport(plan, options or ExportOptions())
    target = Path(folder).expanduser()
    try:
        before = _earlier_files(target)
        if export.options.copy_models:
            _copy_models(export, target / "models")
        files = exported_files(export)
        for name in before - files.keys():
            (target / name).unlink(missing_ok=True)
        for name, text in {**files, _LIST: "".join(f"{name}\n" for name in files)}.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if name in _EXECUTABLE:
                path.chmod(0o755)
    except OSError as error:
        raise failed_precondition(
            f"{error.filename} cannot be read or written: {error.strerror}"
        ) from error
    sources = {export.folders[m.name]: m.config.base_path for m in plan.models}
    return ExportedFolder(
        target, tuple(files), sources, export.options.copy_models, tuple(not_expressed(export))
    )


def _earlier_files(target: Path) -> set[str]:
    """The files of an earlier export in a folder, by their paths in it."""
    if not target.exists() or not any(target.iterdir()):
        return set()
    listed = target / _LIST
    if not listed.is_file():
        raise invalid_argument(
            f"{target} has files and is no earlier export: name an empty or a new folder"
        )
    names = listed.read_text(encoding="utf-8").splitlines()
    # Nothing outside the folder is removed, whatever has become of the list.
    return {name for name in names if not name.startswith("/") and ".." not in Path(name).parts}


def _copy_models(export: ServingExport, target: Path) -> None:
    """Copy the versions that serve, each beside and then renamed; one that is there stays."""
    for model in export.plan.models:
        found = version_folders(Path(model.config.base_path))
        for version in model.versions:
            place = target / export.folders[model.name] / str(version)
            if version not in found:
                raise failed_precondition(
                    f"Version {version} of {model.name} is not in {model.config.base_path}, so it "
                    "cannot be copied: export without copying the models"
                )
            if not place.exists():
                beside = place.with_name(f"{version}.copying")
                shutil.rmtree(beside, ignore_errors=True)
                shutil.copytree(found[version], beside)
                beside.rename(place)
            elif not _same_files(found[version], place):
                raise failed_precondition(
                    f"{place} holds other files than version {version} of {model.name}: remove it, "
                    "and export again"
                )


def _same_files(source: Path, copied: Path) -> bool:
    """Whether a copied version has the files of its source, but for the one that is exported."""
    names = [
        {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.name != VERSION_FILE
        }
        for folder in (source, copied)
    ]
    different = filecmp.cmpfiles(source, copied, sorted(names[0]))[1:]
    return names[0] == names[1] and not any(different)
