"""What a server's user does beyond one machine: take what the server serves elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.client.server import ServerClient

if TYPE_CHECKING:
    from workbench.core.fleet.autoscaling import ScalingRule
    from workbench.deploy.export.export_folder import ExportedFolder
    from workbench.deploy.plan.plan import Plan
    from workbench.facade.notebook_fleet import Fleet


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

    def plan(self, *, name: str | None = None, servers: int = 2) -> Plan:
        """What the server serves now, as the plan of a fleet: models, versions, labels, batching,
        transition, memory. It can be read, kept and compared, and holds no secret.

        Args:
            name: of the fleet, by default that of the server.
            servers: how many there will be.

        Raises:
            ServingError: FAILED_PRECONDITION, nothing serves.
        """
        from workbench.deploy.plan.plan_sources import plan_of_server

        return plan_of_server(self, name=name, servers=servers)

    def deploy(
        self,
        engine: str = "ray",
        *,
        address: str | None = None,
        token: str | None = None,
        local_nodes: int | None = None,
        name: str | None = None,
        servers: int = 2,
        balancers: int | None = None,
        scaling: ScalingRule | Mapping[str, Any] | None = None,
        balance: str = "leastconn",
        ports: tuple[int, int] = (8501, 8500),
        folder: str | os.PathLike[str] | None = None,
        progress: bool = True,
        timeout: float = 300.0,
    ) -> Fleet:
        """Serve the same models, versions and settings on many servers behind balancers, and return
        the fleet when all of them serve. This server goes on as it is.

        Args:
            engine: ``"ray"``, a cluster of Ray with the extra `serving-workbench[ray]` on its
                nodes.
            address: the URL of the dashboard of the cluster's head, such as
                ``http://10.0.0.2:8265``.
            token: of the cluster; by default that of the environment variable ``RAY_AUTH_TOKEN``.
            local_nodes: instead of an address: start a cluster of so many nodes on this machine. It
                ends with this process, or when the fleet is deleted.
            name: of the fleet, by default that of the server.
            servers: how many there are; with `scaling`, at first.
            balancers: how many nodes have a balancer, by default two. A caller of a balancer that
                dies has to ask another one.
            scaling: a `ScalingRule`, or its settings: the load decides how many servers there are.
            balance: HAProxy's name of the policy: ``leastconn``, ``roundrobin``, ``random(1)`` or
                ``random(2)``.
            ports: of each balancer, for REST and for gRPC; the two ports after that of REST are
                taken as well, for metrics and for the fleet's own questions.
            folder: where the versions are copied to, if they are in this server's private folder;
                every node must see it under the same path.
            progress: whether to print a line for each step.
            timeout: seconds until all servers serve.

        Raises:
            ServingError: INVALID_ARGUMENT, an argument is wrong; ALREADY_EXISTS, you have a fleet
                of that name, or the cluster has; UNAVAILABLE, the head does not answer;
                UNAUTHENTICATED, the token is wrong; FAILED_PRECONDITION, too few nodes for so many
                servers; DEADLINE_EXCEEDED or FAILED_PRECONDITION, with what Ray says.
        """
        from workbench.facade import fleet_entrances

        return fleet_entrances.deploy(
            self.plan(name=name, servers=servers),
            engine,
            address=address,
            token=token,
            local_nodes=local_nodes,
            balancers=balancers,
            scaling=scaling,
            balance=balance,
            ports=ports,
            folder=folder,
            progress=progress,
            timeout=timeout,
        )
