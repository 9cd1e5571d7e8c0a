"""The README of an exported folder: which command comes next, what is estimated and why, and what
the servers do otherwise than planned."""

from __future__ import annotations

from urllib.parse import quote

from workbench.core.memory.budget import size
from workbench.deploy.export.dockerfiles import (
    build_model_image,
    build_workbench_image,
    models_folder,
)
from workbench.deploy.export.not_expressed import not_expressed
from workbench.deploy.export.serving_export import (
    MODELS,
    REST_PORT,
    ServingExport,
    package_version,
)
from workbench.deploy.export.tf_serving import VERSION_FILE, batching_of, version_files
from workbench.deploy.plan.plan import HEADROOM


def readme(export: ServingExport) -> str:
    """The text of ``README.md``."""
    sections = (
        _introduction(export),
        _models(export),
        _token(export),
        _this_machine(export),
        _kubernetes(export),
        _kserve(export),
        _ray(export),
        _monitoring(export),
        _estimates(export),
        _differences(export),
        _images(export),
    )
    return "\n".join(filter(None, sections))


def _introduction(export: ServingExport) -> str:
    server = "`workbench model-server`" if export.own_server else "TensorFlow Serving"
    return f"""\
# Fleet {export.name}

These files run the models of the plan below on many servers, with {server}. The same plan
gives the same files, so change the plan and export it again instead of editing them. `plan.json`
is the plan; its paths are those inside a container.

```
{export.mounted}
```
"""


def _models(export: ServingExport) -> str:
    folders = []
    for model in export.plan.models:
        folder = export.folders[model.name]
        versions = ", ".join(f"{folder}/{version}" for version in model.versions)
        folders.append(f"* `{model.name}`: {versions}")
    if export.options.copy_models:
        place = "Copies of these folders are in `models`.\n"
    else:
        place = """\
`workbench export` printed where these folders are on the machine that exported them; with
`--copy-models` it copies them. Set `MODELS` to the absolute path of a folder that has them all:

```bash
export MODELS=/path/to/models
```
"""
    own = """
The models are batched in different ways. Each version says how in a file of its own:

```bash
cp -R version-files/. "$MODELS"/
```
"""
    return f"""\
## The models

The servers expect a folder for each model, with its numbered versions in it:

{chr(10).join(folders)}

{place}{own if version_files(export) and not export.options.copy_models else ""}"""


def _token(export: ServingExport) -> str:
    if not export.own_server:
        return ""
    return f"""\
## The token

Callers must send a token, as `Authorization: Bearer TOKEN`. It is in no file of this export:

```bash
(umask 077 && openssl rand -hex 24 > token)                                    # this machine
kubectl create secret generic {export.name}-token --from-file=token=token      # Kubernetes
```
"""


def _this_machine(export: ServingExport) -> str:
    servers = export.plan.servers
    ask = f"curl http://127.0.0.1:8501/v1/models/{quote(export.plan.models[0].name, safe='')}"
    if export.own_server:
        ask += ' -H "Authorization: Bearer $(cat token)"'
        other = ""
    else:
        other = 'SERVER="workbench model-server" serving/run.sh   # the same files and flags\n'
    if servers > 1:
        last = REST_PORT - 1 + servers
        all_of = f"The {servers} servers (REST on {REST_PORT} to {last}, gRPC from 8600)"
    else:
        all_of = f"The server (REST on {REST_PORT}, gRPC on 8600)"
    return f"""\
## On this machine

One server, with the flags of all others:

```bash
serving/run.sh                                   # needs `{export.command[0]}`
{other}{ask}
```

{all_of}, with Prometheus (9090) and Grafana (3000):

```bash
echo "RUN_AS=$(id -u):$(id -g)" > .env           # a user who may read the models
docker compose --profile monitoring up --detach
```
"""


def _kubernetes(export: ServingExport) -> str:
    model = export.plan.models[0]
    folder, new = export.folders[model.name], max(model.versions, default=0) + 1
    pod = f"{export.name}-copy"
    no_token = """
TensorFlow Serving asks for no token. Let only those who may call it reach it, with a NetworkPolicy
or with a gateway that asks for one.
"""
    return f"""\
## On Kubernetes

Versions reach the servers in one of two ways. Choose one: the Deployment has the same name in both.

**A shared volume.** It needs a storage class that many nodes can read: check
`kubernetes/models-volume.yaml`.

```bash
kubectl apply -f kubernetes/models-volume.yaml -f kubernetes/copy-models.yaml
kubectl wait --for=condition=Ready --timeout=5m pod/{pod}
kubectl cp {models_folder(export)}/. {pod}:{MODELS}
kubectl apply -f kubernetes/common.yaml -f kubernetes/shared-volume.yaml
kubectl rollout status deployment/{export.name}
```

Copy a new version beside the others, under a name that is not a number, and rename it:

```bash
kubectl cp {new} {pod}:{MODELS}/{folder}/incoming
kubectl exec {pod} -- mv {MODELS}/{folder}/incoming {MODELS}/{folder}/{new}
```

{_what_follows(export)}
Delete the copying pod when you do not need it: `kubectl delete -f kubernetes/copy-models.yaml`.

**An image per version.** It needs a registry of yours. The image holds the server and the models.
A new image is a rolling update: a new server is ready before an old one ends.

```bash
{build_model_image(export)}
docker push {export.model_image}
kubectl apply -f kubernetes/common.yaml -f kubernetes/image-per-version.yaml
```

Export with `--model-image NAME@sha256:...` to name the image in your registry. Roll back with
`kubectl rollout undo deployment/{export.name}`.

REST clients call `http://{export.name}:8501`. A gRPC client keeps one connection, which would stay
with one server: it should call `dns:///{export.name}-grpc:8500` with the policy `round_robin`.
{"" if export.own_server else no_token}"""


def _what_follows(export: ServingExport) -> str:
    """What a server does about a new version on the volume, and how to roll back."""
    pinned = [m.name for m in export.plan.models if not export.follows_folder(m)]
    if pinned:
        text = (
            f"The servers serve exactly the planned versions of {', '.join(pinned)}. For another\n"
            "version, export again, and apply `common.yaml` and `shared-volume.yaml`: that is a\n"
            "rolling update."
        )
    else:
        text = (
            "Each server loads it within seconds, all at about the same time. Roll back by moving\n"
            "its folder away."
        )
    if batching_of(export).by_version:
        text += f" It needs a `{VERSION_FILE}` of its own, or its requests run alone."
    if any(model.config.labels for model in export.plan.models):
        text += "\nLabels do not move by themselves: export again to move them."
    return text + "\n"


def _kserve(export: ServingExport) -> str:
    path = f"/v1/models/{quote(export.plan.models[0].name, safe='')}"
    return f"""\
## On KServe

```bash
kubectl apply -f kserve/inference-services.yaml
```

KServe has one InferenceService for each model, here on the volume from above; any other
`storageUri` with numbered folders works as well. In Knative mode (remove the annotation
`deploymentMode`, and the probes), `canaryTrafficPercent` sends a share of the requests to a change.
The paths of requests stay the same, as `{path}:predict`.
"""


def _ray(export: ServingExport) -> str:
    return f"""\
## On Ray

```bash
{build_workbench_image(export)}
docker push {export.own_image}
openssl rand -hex 32 > secret
kubectl create secret generic {export.name}-fleet --from-file=secret=secret
kubectl apply -f kubernetes/models-volume.yaml -f ray/ray-service.yaml
WORKBENCH_FLEET_SECRET=$(cat secret) python -m workbench.deploy.node.fleet_secret {export.name}
```

The last command prints the token that callers send; it is made from the secret, which only the
nodes need.

`DIST` is a folder with the wheel of serving-workbench {package_version()}. The cluster
needs the KubeRay operator. Each server is a workbench server, so nothing of the plan is lost.
"""


def _monitoring(export: ServingExport) -> str:
    second = (
        ""
        if export.own_server
        else " On TensorFlow Serving it is empty, and its alerts are silent."
    )
    return f"""\
## Monitoring

With the profile `monitoring`, compose starts Prometheus and Grafana. On Kubernetes, give your
Prometheus the job in `prometheus/prometheus-kubernetes.yaml` and the rules in
`prometheus/rules.yaml`, and import `grafana/dashboards/model-servers.json` into Grafana. The pods
also have the annotations `prometheus.io/scrape`, `port` and `path`.

The first row of the dashboard uses TensorFlow Serving's metrics, for both kinds of server. The
second has versions, queues and memory.{second}
"""


def _estimates(export: ServingExport) -> str:
    plan = export.plan
    if plan.memory_known == "measured":
        memory = "measured while the models served in a notebook"
    else:
        memory = "estimated from the sizes of the models' files: watch and correct it"
    if not export.own_server:
        memory += (
            ".\n  TensorFlow Serving has one process for all versions and keeps the memory of "
            "those that it\n  unloaded, so watch it all the same"
        )
    if plan.cpus:
        cpus = "as planned"
    elif plan.options.get("num_batch_threads"):
        cpus = "one for each batch thread"
    else:
        cpus = "a guess, because the plan does not say"
    steady = sum(model.steady_bytes for model in plan.models)
    changing = max(model.changing_bytes for model in plan.models)
    most, storage = export.most_servers, export.storage_mebibytes
    return f"""\
## What is estimated, and why

* Memory: {export.memory_mebibytes} MiB for each server, {memory}.
  It is the server itself ({size(plan.server_bytes)}), the versions that serve ({size(steady)}),
  one more version during a change ({size(changing)}), and {HEADROOM - 1:.0%} headroom.
* CPUs: {plan.cpu_count:g} for each server, {cpus}. They are requested, not a limit.
* Servers: {plan.servers}, and up to {most} while their CPUs are busier than 70 %. Measure how many
  requests one server bears with `workbench sweep`.
* Storage: {storage} MiB, three times the files of the versions that serve, at least 1 GiB.
* Alerts: 0.1 % of the requests may fail in a month, and 1 s is slow. Put your own targets in.
* Times: loading may take 15 minutes. A server answers for 10 s after the signal to end.
"""


def _differences(export: ServingExport) -> str:
    found = [f"* {each}." for each in not_expressed(export)] or ["Nothing."]
    return "## What differs from the plan\n\n" + "\n".join(found) + "\n"


def _images(export: ServingExport) -> str:
    names = (
        export.image,
        export.model_image,
        export.own_image,
        export.options.prometheus_image,
        export.options.grafana_image,
    )
    tags = "\n".join(f"* `{name}`" for name in sorted(set(names)) if "@" not in name)
    if not tags:
        return "## Images\n\nAll images are named by digest.\n"
    older = "TensorFlow Serving must not be older than the TensorFlow that saved the models.\n"
    return f"""\
## Images

A tag may mean another image tomorrow. Name these by digest (`NAME@sha256:...`) before you rely on
them; `workbench export --help` lists the options:

{tags}
{"" if export.own_server else chr(10) + older}"""
