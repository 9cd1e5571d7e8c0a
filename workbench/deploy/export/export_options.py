"""What a user chooses about an export: images, and how versions reach the servers.

An option is one field of `ExportOptions`. The flags of `workbench export` have their help from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.setting_kinds import (
    check_fields,
    optional,
    setting,
    settings_of,
    text,
    truth,
    whole,
)

_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
IMAGE = text(
    rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*(?::[\w][\w.-]{{0,127}})?"
    r"(?:@sha256:[0-9a-f]{64})?",
    "the name of an image, such as 'registry.example/serving@sha256:...' or 'serving:2.20.0'",
)


@dataclass(frozen=True)
class ExportOptions:
    """The choices of an export.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the option, its value, and the allowed values.
    """

    image: str = setting(
        "tensorflow/serving:2.20.0",
        IMAGE,
        "the image of TensorFlow Serving, best with its digest (NAME@sha256:...)",
    )
    workbench_image: str | None = setting(
        None,
        optional(IMAGE, "for TensorFlow Serving"),
        "an image with this package; with it the servers are `workbench model-server` instead of "
        "TensorFlow Serving",
    )
    model_image: str | None = setting(
        None,
        optional(IMAGE, "for the name of the fleet"),
        "the image that holds the server and the models, for a rollout of an image per version",
    )
    prometheus_image: str = setting(
        "prom/prometheus:v2.55.1", IMAGE, "the image of Prometheus, for compose"
    )
    grafana_image: str = setting(
        "grafana/grafana:11.6.0", IMAGE, "the image of Grafana, for compose"
    )
    most_servers: int | None = setting(
        None,
        optional(whole(1), "for three times as many as planned"),
        "the most servers that an autoscaler may start",
    )
    pin_versions: bool = setting(
        False,
        truth(),
        "serve exactly the planned versions; otherwise a server follows its folder by the model's "
        "version policy",
    )
    copy_models: bool = setting(
        False, truth(), "copy the versions that serve into the folder `models` of the export"
    )

    def __post_init__(self) -> None:
        check_fields(self, "Export option")


EXPORT_OPTIONS = settings_of(ExportOptions)
"""Every option of an export by its name."""
