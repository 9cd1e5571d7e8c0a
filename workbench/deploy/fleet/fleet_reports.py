"""Reports about a fleet: servers, versions, memory, events, balancers, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.deploy.fleet.named_fleet import NamedFleet
from workbench.deploy.plan.plan_differences import Difference, differences

if TYPE_CHECKING:
    import pandas as pd


class FleetReports(NamedFleet):
    """Asks all servers of a fleet at the same time. A server that does not answer is left out."""

    def status(self) -> pd.DataFrame:
        """One row for each server: node, revision, versions, answered and failed requests, memory,
        and whatever it has otherwise than planned."""
        import pandas as pd

        plan = self.plan
        about = self._servers.ask(lambda c: (c.describe_server(), c.describe_models(), c.memory()))
        rows = []
        for server in self._servers.find():
            row: dict[str, Any] = {
                "server": server.name,
                "node": server.node,
                "revision": server.revision,
                "error": server.error,
            }
            if server.name in about:
                described, models, samples = about[server.name]
                row |= _summary(models)
                row["memory"] = sum(int(sample["pss"]) for sample in samples)
                found = differences(plan, {**described, "models": models})
                row["differs"] = "; ".join(map(str, found))
            rows.append(row)
        columns = ["server", "node", "revision", "versions", "answered", "failed", "memory"]
        return pd.DataFrame(rows, columns=[*columns, "differs", "error"])

    def differences(self) -> dict[str, list[Difference]]:
        """By the name of the server, what it has otherwise than planned."""
        plan = self.plan
        about = self._servers.ask(
            lambda c: differences(plan, {**c.describe_server(), "models": c.describe_models()})
        )
        return {name: found for name, found in about.items() if found}

    @property
    def versions(self) -> pd.DataFrame:
        """One row for each server and version: state, memory, requests."""
        import pandas as pd

        model = self.model
        about = self._servers.ask(lambda c: (c.describe_model(model), c.memory()))
        rows = []
        for server in self._servers.find():
            described, samples = about.get(server.name, (None, []))
            held = {s["version"]: s["pss"] for s in samples if s["model"] == model}
            for v in described["versions"] if described is not None else ():
                requests = v.get("requests", {})
                rows.append(
                    {
                        "server": server.name,
                        "node": server.node,
                        "version": v["version"],
                        "state": v["state"],
                        "memory": held.get(v["version"]),
                        "answered": requests.get("answered", 0),
                        "failed": requests.get("failed", 0),
                    }
                )
        columns = ["server", "node", "version", "state", "memory", "answered", "failed"]
        return pd.DataFrame(rows, columns=columns)

    def memory(self) -> pd.DataFrame:
        """The memory that each server holds now, in bytes: one row a process."""
        import pandas as pd

        about = self._servers.ask(lambda control: control.memory())
        nodes = {server.name: server.node for server in self._servers.find()}
        rows = [
            {"server": name, "node": nodes[name], **sample}
            for name, samples in about.items()
            for sample in samples
        ]
        columns = ["server", "node", "role", "model", "version", "pid", "pss", "uss", "measured"]
        return pd.DataFrame(rows, columns=columns)

    def events(self) -> pd.DataFrame:
        """What happened to the fleet and in each of its servers, oldest first. Events of the fleet
        itself have no server."""
        import pandas as pd

        about = self._servers.ask(lambda control: control.events()["events"])
        nodes = {server.name: server.node for server in self._servers.find()}
        rows: list[dict[str, Any]] = [dict(entry) for entry in self.orders.log]
        for name, events in about.items():
            rows += [{"server": name, "node": nodes[name], **event} for event in events]
        columns = ["wall", "server", "node", "kind", "model", "version", "data", "line"]
        frame = pd.DataFrame(rows, columns=columns).sort_values("wall", ignore_index=True)
        frame["time"] = pd.to_datetime(frame["wall"], unit="s", utc=True)
        return frame

    def balancer_counts(self) -> pd.DataFrame:
        """HAProxy's own counts: one row for each balancer, server and protocol."""
        import pandas as pd

        rows = [
            {"balancer": host, "server": name, **each}
            for host, answer in self._servers.ask_balancers().items()
            for name, found in answer["counts"].items()
            for each in found
        ]
        columns = ["balancer", "server", "backend", "status", "outstanding", "requests", "failed"]
        return pd.DataFrame(rows, columns=[*columns, "retries"])


def _summary(models: list[Any]) -> dict[str, Any]:
    serving = [
        f"{model['name']} {v['version']}"
        for model in models
        for v in model["versions"]
        if v["state"] == "AVAILABLE"
    ]
    counted = [v.get("requests", {}) for model in models for v in model["versions"]]
    return {
        "versions": ", ".join(serving),
        "answered": sum(each.get("answered", 0) for each in counted),
        "failed": sum(each.get("failed", 0) for each in counted),
    }
