"""Advises in words which transition policy to choose, from the measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping

from workbench.core.versions.policies import TRANSITIONS
from workbench.experiments.transitions.transition_run import GAP, SERVES
from workbench.load.intervals import Interval

Measured = Mapping[str, Mapping[str, Interval]]

# With five runs the interval of a median has 94 %.
_SURE = 0.9
# Smaller differences in a worker's memory are noise.
_MEMORY_NOISE_MB = 4.0
_BESIDE = [name for name, each in TRANSITIONS.items() if not each.makes_way]


def advise(measured: Measured, rate: float) -> str:
    """A sentence on the choice, and one on each other policy that was measured."""
    never = [policy for policy, found in measured.items() if math.isinf(found[SERVES].estimate)]
    said = [
        f"Under {policy} the new version never became available; look at the events of its runs."
        for policy in never
    ]
    left = {policy: found for policy, found in measured.items() if policy not in never}
    if len(left) < 2:
        said += [f"{_capital(_alone(policy, left, rate))}." for policy in left]
        return " ".join([*said, "Measure another policy to get advice."])
    smooth = left.get("smooth")
    if smooth is not None and smooth["failed requests"].high > 0:
        said.append(
            f"Even under smooth up to {smooth['failed requests'].high:.0f} requests failed; look "
            "at the events of its runs before choosing."
        )
        return " ".join(said)
    if smooth is not None:
        said.append(
            f"Choose smooth if there is enough memory: no request failed, and {_memory(left)}."
        )
        chosen = "smooth"
    else:
        chosen = min(left, key=lambda p: (left[p]["failed requests"].high > 0, left[p][GAP].high))
        so_far = "" if _is_clear(chosen, left) else "so far, and not with certainty, "
        said.append(f"Of these policies {so_far}choose {chosen}: {_alone(chosen, left, rate)}.")
    said += [f"{_capital(_alone(p, left, rate))}." for p in left if p != chosen]
    return " ".join(said)


def _is_clear(chosen: str, measured: Measured) -> bool:
    """Whether the policy is better than each other one that loses requests as it does."""
    mine = measured[chosen]
    loses = mine["failed requests"].high > 0
    return all(
        mine[GAP].high < found[GAP].low and found[GAP].confidence >= _SURE
        for policy, found in measured.items()
        if policy != chosen and (found["failed requests"].high > 0) == loses
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _memory(measured: Measured) -> str:
    """The memory that smooth needs beyond the policies that never hold both versions."""
    smooth = measured["smooth"]
    least = min(found["peak memory (MB)"].estimate for found in measured.values())
    more = smooth["peak memory (MB)"].estimate - least
    if more <= _MEMORY_NOISE_MB:
        return "it needs hardly more memory"
    return f"it needs {more:.0f} MB more memory for {smooth['both in memory (s)'].estimate:.2g} s"


def _alone(policy: str, measured: Measured, rate: float) -> str:
    """The measurements of a policy, as a clause."""
    found = measured[policy]
    gap, failed = found[GAP].estimate, found["failed requests"]
    if policy in _BESIDE:
        return (
            f"under {policy} {failed.estimate:.0f} requests failed, and one version always served"
        )
    if policy.endswith("+hold"):
        wait = found["longest wait of those held (ms)"].estimate
        lost = "no request failed" if failed.high == 0 else f"up to {failed.high:.0f} failed"
        held = found["held requests"].estimate
        return f"under {policy} {lost}, and {held:.0f} waited up to {wait:.0f} ms"
    said = (
        f"under {policy} {failed.estimate:.0f} requests failed while no version served for "
        f"{gap:.0f} ms (at {rate:g} requests/s)"
    )
    plain = measured.get("unload_first")
    if policy == "unload_first":
        return said + ", and both versions were never in memory together"
    if plain is not None:
        said += f", {_shorter(found[GAP], plain[GAP])}"
        more = found["peak memory (MB)"].estimate - plain["peak memory (MB)"].estimate
        said += (
            f", with {more:.0f} MB more memory"
            if more > _MEMORY_NOISE_MB
            else ", with hardly more memory"
        )
    return said


def _shorter(gap: Interval, plain: Interval) -> str:
    if gap.high < plain.low:
        return f"{1 - gap.estimate / plain.estimate:.0%} shorter than under unload_first"
    if gap.low > plain.high:
        return f"{gap.estimate / plain.estimate - 1:.0%} longer than under unload_first"
    most = max(plain.high - gap.low, gap.high - plain.low)
    return (
        f"not measurably shorter than under unload_first (the gaps differ by {most:.0f} ms at most)"
    )
