"""What a server's user does beyond one machine: take what the server serves elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workbench.client.server import ServerClient

if TYPE_CHECKING:
    from workbench.deploy.export.export_folder import ExportedFolder


class FleetMethods(ServerClient):
    """The methods of a `Server` that are about many servers."""

    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        servers: int = 2,
        image: str = "tensorflow/serving:2.20.0",
        workbench_image: str | None = None,
        model_image: str | None = None,
        prometheus_image: str = "prom/prometheus:v2.55.1",
        grafana_image: str = "grafana/grafana:11.6.0",
        most_servers: int | None = None,
        pin_versions: bool = False,
        copy_models: bool = False,
    ) -> ExportedFolder:
        """Write what the server serves now as files for TensorFlow Serving, compose, Kubernetes,
        KServe and Ray, with Prometheus and Grafana. The folder's README says what comes next.

        Args:
            folder: a new or an empty one, or one of an earlier export.
            name: of the fleet, by default that of the server.
            servers: how many there will be.
            image: of TensorFlow Serving, best with its digest (``NAME@sha256:...``).
            workbench_image: an image with this package; with it the servers are `workbench
                model-server` instead of TensorFlow Serving.
            model_image: the image that holds the server and the models, for a rollout of an image
                per version.
            prometheus_image, grafana_image: for compose.
            most_servers: the most that an autoscaler may start, by default three times `servers`.
            pin_versions: serve exactly the versions that serve now; otherwise a server follows its
                folder by the model's version policy.
            copy_models: copy the versions that serve into the folder ``models`` of the export.

        Raises:
            ServingError: INVALID_ARGUMENT, an option is not allowed, or the folder has other files;
                FAILED_PRECONDITION, nothing serves, or a file cannot be read or written.
        """
        from workbench.deploy.export.export_folder import export_plan
        from workbench.deploy.export.export_options import ExportOptions
        from workbench.deploy.plan.plan_sources import plan_of_server

        options = ExportOptions(
            image,
            workbench_image,
            model_image,
            prometheus_image,
            grafana_image,
            most_servers,
            pin_versions,
            copy_models,
        )
        return export_plan(plan_of_server(self, name=name, servers=servers), folder, options)
