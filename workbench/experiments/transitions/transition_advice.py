"""In words: which policy to choose for a change of version, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

from workbench.experiments.transitions.transition_run import GAP, SERVES
from workbench.load.intervals import Interval

Measured = Mapping[str, Mapping[str, Interval]]

# Two samples of a worker's memory that are this near tell nothing: pages come and go.
_MEMORY_NOISE_MB = 4.0
_BESIDE = ("smooth",)


def advise(measured: Measured, rate: float) -> str:
    """A sentence on the choice, and one on each other policy that was measured."""
    never = [policy for policy, found in measured.items() if math.isinf(found[SERVES].estimate)]
    said = [f"Under {policy} the new version never served: look at its events." for policy in never]
    left = {policy: found for policy, found in measured.items() if policy not in never}
    if len(left) < 2:
        said += [f"{_capital(_alone(policy, left, rate))}." for policy in left]
        return " ".join([*said, "With another policy measured, there would be advice here."])
    smooth = left.get("smooth")
    if smooth is not None and smooth["failed requests"].high > 0:
        said.append(
            f"Even smooth lost up to {smooth['failed requests'].high:.0f} requests: look at the "
            "events of its runs before choosing."
        )
        return " ".join(said)
    if smooth is not None:
        said.append(
            f"Choose smooth if the memory is there: no request failed, and {_memory(left)}."
        )
        chosen = "smooth"
    else:
        chosen = min(left, key=lambda p: (left[p]["failed requests"].high > 0, left[p][GAP].high))
        said.append(f"Of these choose {chosen}: {_alone(chosen, left, rate)}.")
    said += [f"{_capital(_alone(p, left, rate))}." for p in left if p != chosen]
    return " ".join(said)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _memory(measured: Measured) -> str:
    """What smooth needs beyond the policies that never hold both."""
    smooth = measured["smooth"]
    least = min(found["peak memory (MB)"].estimate for found in measured.values())
    more = smooth["peak memory (MB)"].estimate - least
    if more <= _MEMORY_NOISE_MB:
        return "it needs hardly any more memory"
    return f"it needs {more:.0f} MB more for {smooth['both in memory (s)'].estimate:.2g} s"


def _alone(policy: str, measured: Measured, rate: float) -> str:
    """What a policy did, to go on after its name or "choose ...:"."""
    found = measured[policy]
    gap, failed = found[GAP].estimate, found["failed requests"]
    if policy in _BESIDE:
        return (
            f"under {policy} {failed.estimate:.0f} requests failed, and one version always served"
        )
    if policy.endswith("+hold"):
        wait = found["longest wait of those held (ms)"].estimate
        lost = "none failed" if failed.high == 0 else f"up to {failed.high:.0f} failed"
        held = found["held requests"].estimate
        return f"with {policy} {lost}: {held:.0f} waited up to {wait:.0f} ms"
    said = (
        f"at {rate:g} requests a second {policy} failed {failed.estimate:.0f} while nothing served "
        f"for {gap:.0f} ms"
    )
    plain = measured.get("unload_first")
    if policy == "unload_first":
        return said + ", and it never holds both versions"
    if plain is not None:
        said += f", {_shorter(found[GAP], plain[GAP])}"
        more = found["peak memory (MB)"].estimate - plain["peak memory (MB)"].estimate
        said += (
            f", for {more:.0f} MB more"
            if more > _MEMORY_NOISE_MB
            else ", for hardly any more memory"
        )
    return said


def _shorter(gap: Interval, plain: Interval) -> str:
    if gap.high < plain.low:
        return f"{1 - gap.estimate / plain.estimate:.0%} shorter than unload_first"
    if gap.low > plain.high:
        return f"{gap.estimate / plain.estimate - 1:.0%} longer than unload_first"
    return "not surely shorter than unload_first"
