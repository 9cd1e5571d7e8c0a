"""Finds the version and the signature that a request means. An error lists those that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.core.signature import INIT_SIGNATURE, Signature
from workbench.core.status import Reason, invalid_argument, not_found, unavailable

Signatures = dict[int, dict[str, Signature]]
"""By version and name."""


def available_signatures(data: Mapping[str, Any]) -> Signatures:
    """The signatures of the available versions of a described model."""
    return {
        v["version"]: Signature.all_from_json(v)
        for v in data["versions"]
        if v["state"] == "AVAILABLE" and "signatures" in v
    }


def signatures_of(data: Mapping[str, Any], version: int | None) -> dict[str, Signature]:
    """The signatures of the version that answers a request for `version` (None: the highest). A
    version that crashed counts: the server holds requests until it is back.

    Raises:
        ServingError: NOT_FOUND, with the states of all versions; UNAVAILABLE, the version crashed
            and its signatures are not known.
    """
    available = available_signatures(data)
    if version is None and available:
        return available[max(available)]
    if version in available:
        return available[version]
    for outage in reversed(data["outages"]):
        if version in (None, outage["version"]):
            if not outage["signatures"]:
                raise unavailable(outage["message"])
            return Signature.all_from_json(outage)
    check_available(data, version)
    raise AssertionError("unreachable")


def labelled(data: Mapping[str, Any], label: str) -> int:
    """The version with that label.

    Raises:
        ServingError: INVALID_ARGUMENT, with the labels that there are.
    """
    labels: Mapping[str, int] = data["labels"]
    if label not in labels:
        there = ", ".join(f"{name} ({version})" for name, version in sorted(labels.items()))
        raise invalid_argument(
            f"Unrecognized servable version label: {label}; the labels of {data['name']} are: "
            f"{there or 'none'}"
        )
    return labels[label]


def check_available(data: Mapping[str, Any], version: int | None) -> None:
    """Check that a version (None: any) is available.

    Raises:
        ServingError: NOT_FOUND, with the states of all versions.
    """
    states = {v["version"]: v["state"] for v in data["versions"]}
    if "AVAILABLE" in states.values() if version is None else states.get(version) == "AVAILABLE":
        return
    name = data["name"]
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    there = [f"{v['version']} {'failed' if v['error'] else v['state']}" for v in data["versions"]]
    there += [f"{v} waiting" for v in data["waiting"]]
    raise not_found(
        f"Servable not found for request: {wanted}; the versions of {name} are: "
        f"{', '.join(there) or 'none'}"
    )


def unknown_model(model: str, there: Sequence[str]) -> Exception:
    """NOT_FOUND, with the models that a server has."""
    return not_found(
        f"Could not find model {model}; the models of this server are: "
        f"{', '.join(there) or 'none'}",
        Reason.MODEL_UNKNOWN,
    )


def named(signatures: Mapping[str, Signature], name: str) -> Signature:
    """The signature of that name.

    Raises:
        ServingError: INVALID_ARGUMENT, with the signatures that there are.
    """
    if name not in signatures:
        raise invalid_argument(
            f'Serving signature name: "{name}" not found in signature def; there are: '
            f"{', '.join(sorted(signatures.keys() - {INIT_SIGNATURE}))}"
        )
    return signatures[name]
