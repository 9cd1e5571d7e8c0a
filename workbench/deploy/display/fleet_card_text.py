"""The card of a fleet as text, for a terminal; and the words that both cards share."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from workbench.client.display.tables import aligned
from workbench.core.memory.budget import size
from workbench.deploy.display.fleet_state import (
    FleetState,
    ServerState,
    balanced_words,
    clock,
    rollout_words,
    versions_words,
)
from workbench.deploy.plan.plan import Plan, batching_words

_HEAD = (
    "node", "server", "state", "versions", "revision", "answered", "failed", "memory", "balancers",
)  # fmt: skip


def plan_words(plan: Plan) -> Iterator[tuple[str, str]]:
    """What the plan says, as pairs of a name and words: two or more for each model."""
    for model in plan.models:
        config = model.config
        versions = ", ".join(map(str, model.versions)) or "none"
        labels = ", ".join(f"{name} = {version}" for name, version in config.labels.items())
        said = f"version{'s' * (len(model.versions) != 1)} {versions}"
        yield model.name, f"{said}; labels: {labels}" if labels else said
        yield "transition", config.transition
        yield "batching", batching_words(config)


def how_to_ask(state: FleetState) -> tuple[str, ...]:
    """Code that asks the fleet, in Python and with curl. It reads the token when it runs."""
    python = f'import workbench as wb\nwb.fleet("{state.name}").predict(x)'
    if state.orders is None or not state.addresses:
        return (python,)
    model = quote(state.orders.plan.models[0].name, safe="")
    token = f'import workbench as wb; print(wb.fleet(\\"{state.name}\\").token)'
    curl = (
        f'curl -H "Authorization: Bearer $(python -c "{token}")" \\\n'
        f"     -d '{{\"instances\": [...]}}' {state.addresses[0]}/v1/models/{model}:predict"
    )
    return python, curl


def fleet_text(state: FleetState) -> str:
    """The card of a fleet as text."""
    lines = [f"Fleet {state.name}, as of {clock(state.wall)}: {state.headline}"]
    lines += [f"  {text}" for text in state.troubles]
    lines += [f"  Ray says: {state.engine}"] * bool(state.engine)
    if state.rollout is not None:
        said, cures = rollout_words(state.rollout, len(state.servers))
        lines.append(f"  {said}" + (f" Go on or go back with {' or '.join(cures)}." * bool(cures)))
    if state.orders is not None:
        pairs = aligned([(f"{name}:", text) for name, text in plan_words(state.orders.plan)])
        lines += [f"  {line}" for line in pairs]
    lines += ["", *_table(state)]
    return "\n".join([*lines, "", *(f"  {address}" for address in state.addresses)])


def _table(state: FleetState) -> list[str]:
    if not state.servers:
        return ["  no server is known"]
    head, *rows = aligned([_HEAD, *(_row(server) for server in state.servers)])
    lines = [head]
    for row, server in zip(rows, state.servers, strict=True):
        said = (*([server.error] if server.error else []), *server.differs)
        lines += [row, *(f"    {text}" for text in said)]
    return [f"  {line}" for line in lines]


def _row(server: ServerState) -> tuple[str, ...]:
    numbers = (server.revision, server.answered, server.failed)
    return (
        server.node,
        server.name,
        server.state,
        versions_words(server),
        *("" if value is None else f"{value:,}" for value in numbers),
        "" if server.memory_bytes is None else size(server.memory_bytes),
        balanced_words(server),
    )
