"""Dockerfiles: a server with its models, and the workbench with Ray."""

from __future__ import annotations

from workbench.deploy.export.serving_export import CONFIG, MODELS, USER_ID, ServingExport
from workbench.deploy.export.tf_serving import serving_files, version_files
from workbench.deploy.export.yaml_text import comment

_OWNER = f"--chown={USER_ID}:{USER_ID}"


def models_folder(export: ServingExport) -> str:
    """The folder of the models on this machine, for a shell in the folder of the export."""
    return "models" if export.options.copy_models else '"$MODELS"'


def build_model_image(export: ServingExport) -> str:
    """The command that makes the image of a server with its models."""
    return (
        f"docker build -f image/Dockerfile --build-context models={models_folder(export)} "
        f"-t {export.model_image} ."
    )


def build_workbench_image(export: ServingExport) -> str:
    """The command that makes the image of the workbench; DIST has its wheel."""
    return (
        "docker build -f image/workbench.Dockerfile --build-context wheel=DIST "
        f"-t {export.own_image} ."
    )


def server_dockerfile(export: ServingExport) -> str:
    """The text of the Dockerfile for a server with its models."""
    files = sorted(serving_files(export))
    lines = [
        f"FROM {export.image}",
        "# Files and models are in one image, so that going back to an older one takes back both.",
        f"COPY {_OWNER} {' '.join(f'serving/{name}' for name in files)} {CONFIG}/",
        "# The build context `models` is the folder with a folder for each model.",
        f"COPY {_OWNER} --from=models / {MODELS}/",
        f"USER {USER_ID}:{USER_ID}",
    ]
    if version_files(export) and not export.options.copy_models:
        lines.insert(-1, f"COPY {_OWNER} version-files/ {MODELS}/")
    head = "A server with its models. In the folder of the export:\n" + build_model_image(export)
    return comment(head) + "\n".join(lines) + "\n"


_WORKBENCH = """\
FROM python:3.11-slim
# KubeRay's probes call wget.
RUN apt-get update && apt-get install -y --no-install-recommends wget \\
    && rm -rf /var/lib/apt/lists/*
# The build context `wheel` is a folder with the wheel of serving-workbench.
RUN --mount=type=bind,from=wheel,target=/wheel \\
    pip install --no-cache-dir "$(ls /wheel/serving_workbench-*.whl)[ray]"
USER {user}:{user}
"""


def workbench_dockerfile(export: ServingExport) -> str:
    """The text of the Dockerfile for an image with this package and Ray."""
    head = "The workbench with Ray. In the folder of the export:\n" + build_workbench_image(export)
    return comment(head) + _WORKBENCH.format(user=USER_ID)
