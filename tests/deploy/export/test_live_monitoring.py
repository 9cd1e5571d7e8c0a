"""Every query of the dashboard and of the rules gives data from a live server that a real
Prometheus scrapes."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.export.fleet_plans import OWN_IMAGE, documents
from tests.deploy.export.real_prometheus import Prometheus
from tests.deploy.export.running_export import RunningExport, answer, rows
from workbench.deploy.export.export_folder import export_plan
from workbench.deploy.export.export_options import ExportOptions
from workbench.deploy.export.monitoring.grafana import SERVING_PANELS, WORKBENCH_PANELS
from workbench.deploy.plan.plan_sources import plan_of_folder

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]

TOKEN = "a-token-for-this-test"
BATCHING = {"max_batch_size": 16, "allowed_batch_sizes": [4, 16], "batch_timeout_micros": 500}
_SECONDS = 90.0


class Traffic:
    """Requests to all models, and now and then one that the server refuses, until it is closed."""

    def __init__(self, port: int) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port,))

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self, port: int) -> None:
        while not self._ended.wait(0.02):
            for model in ("pair", "words", "centred"):
                answer(port, model)
            answer(port, "words", body=rows("words", 17))


@pytest.fixture(scope="module")
def live(
    runtime: Path, fleet_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Prometheus]]:
    """An exported folder, and a Prometheus that has watched it under load, with a worker that
    ended unexpectedly."""
    folder = tmp_path_factory.mktemp("live")
    plan = plan_of_folder(fleet_folder, version_policy="all", batching=BATCHING, servers=1)
    exported = export_plan(plan, folder / "out").folder
    with (
        RunningExport(exported, fleet_folder) as run,
        Traffic(run.rest_port),
        Prometheus(exported, run.rest_port, folder / "prometheus") as prometheus,
    ):
        (words,) = (m for m in run.server.status()["models"] if m["name"] == "words")
        os.kill(words["versions"][0]["pid"], signal.SIGKILL)
        yield exported, prometheus


def values(prometheus: Prometheus, query: str) -> list[float]:
    """The values of a query, as soon as it has any: a rate needs two samples."""
    end = time.monotonic() + _SECONDS
    while not (found := prometheus.values(query)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def dashboard(folder: Path) -> Any:
    return json.loads((folder / "grafana" / "dashboards" / "model-servers.json").read_text())


def rules(folder: Path) -> list[dict[str, Any]]:
    (document,) = documents(folder / "prometheus" / "rules.yaml")
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries(folder: Path) -> list[str]:
    """The queries of the dashboard, with its variables as Grafana sets them at first."""
    found = []
    for panel in dashboard(folder)["panels"]:
        for target in panel.get("targets", []):
            query = re.sub(r"\$(model|version|instance)\b", ".*", target["expr"])
            found.append(query.replace("$__rate_interval", "1m"))
    return found


def compared(query: str) -> list[str]:
    """What an alert compares with its bounds: the alert itself has data only while it fires."""
    parts = re.split(r" and (?=model_name:)", query)
    left = [re.fullmatch(r"(.+) (?:==|<|>) [\d.]+", part) for part in parts]
    assert all(left), query
    return [match[1] for match in left if match]


def test_every_query_of_the_dashboard_gives_data(live: tuple[Path, Prometheus]) -> None:
    folder, prometheus = live
    asked = queries(folder)
    assert len(asked) == sum(len(p.queries) for p in (*SERVING_PANELS, *WORKBENCH_PANELS)) > 20
    empty = [query for query in asked if not values(prometheus, query)]
    assert empty == []


def test_the_variables_of_the_dashboard_have_values(live: tuple[Path, Prometheus]) -> None:
    folder, prometheus = live
    found = {}
    for variable in dashboard(folder)["templating"]["list"][1:]:
        metric, label = re.fullmatch(
            r"label_values\((.+), (\w+)\)", variable["query"]["query"]
        ).groups()  # type: ignore[union-attr]
        assert values(prometheus, metric), metric
        series = prometheus.ask("series", **{"match[]": metric})
        found[variable["name"]] = {each[label] for each in series}
    assert found["model"] == {"pair", "words", "centred"}
    assert found["version"] == {"1", "2", "7"}
    assert len(found["instance"]) == 1


def test_every_rule_gives_data(live: tuple[Path, Prometheus]) -> None:
    folder, prometheus = live
    empty = []
    for rule in rules(folder):
        asked = [rule["record"]] if "record" in rule else compared(rule["expr"])
        empty += [query for query in asked if not values(prometheus, query)]
    assert empty == []
    groups = prometheus.ask("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    firing = {a["labels"]["alertname"] for a in prometheus.ask("alerts")["alerts"]}
    assert not firing & {"ModelServerDown", "ModelServersMissing", "ModelVersionMissing"}


def test_the_first_row_has_only_names_of_tensorflow_serving() -> None:
    for panel in SERVING_PANELS:
        for query, _ in panel.queries:
            names = re.findall(r"([:\w]+)\{", query)
            assert names
            assert all(n == "up" or n.startswith(":tensorflow:serving:") for n in names), query
    for panel in WORKBENCH_PANELS:
        for query, _ in panel.queries:
            assert all(n.startswith("workbench_") for n in re.findall(r"([:\w]+)\{", query)), query


def test_a_wrong_name_of_a_metric_gives_no_data(live: tuple[Path, Prometheus]) -> None:
    """The check above would find it."""
    _, prometheus = live
    query = "sum(rate(:tensorflow:serving:request_count[1m]))"
    assert values(prometheus, query)
    assert prometheus.values(query.replace("request_count", "requests_count")) == []


def test_our_own_server_is_scraped_with_its_token(
    runtime: Path, fleet_folder: Path, tmp_path: Path
) -> None:
    plan = plan_of_folder(fleet_folder, servers=1)
    exported = export_plan(plan, tmp_path / "out", ExportOptions(workbench_image=OWN_IMAGE)).folder
    (tmp_path / "token").write_text(TOKEN)
    with (
        RunningExport(exported, fleet_folder, TOKEN_FILE=str(tmp_path / "token")) as run,
        Prometheus(exported, run.rest_port, tmp_path / "prometheus", TOKEN) as prometheus,
    ):
        assert values(prometheus, 'up{job="model-servers"} == 1') == [1]
        assert values(prometheus, 'count(workbench_version_state{state="AVAILABLE"})') == [3]
