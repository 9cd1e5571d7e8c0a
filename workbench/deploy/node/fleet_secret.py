"""The tokens of a fleet, made from one secret.

The servers get the secret from the engine that starts them, or through an environment variable.
Who has the secret can make both tokens; who has one token cannot make the other.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sys
from dataclasses import dataclass

from workbench.core.status import failed_precondition

SECRET_VARIABLE = "WORKBENCH_FLEET_SECRET"
_BYTES = 32


@dataclass(frozen=True)
class FleetTokens:
    """The tokens of one fleet. Their `repr` shows none.

    Attributes:
        data: what callers of models send; `control`: what those who operate the fleet send.
    """

    data: str
    control: str

    def __repr__(self) -> str:
        return "FleetTokens(...)"


def new_secret() -> str:
    """A random secret."""
    return secrets.token_hex(_BYTES)


def tokens_of(secret: str, fleet: str) -> FleetTokens:
    """The tokens of the fleet of that name."""
    return FleetTokens(_token(secret, f"data {fleet}"), _token(secret, f"control {fleet}"))


def tokens_here(fleet: str, secret: str | None = None) -> FleetTokens:
    """The tokens of a fleet, on one of its nodes.

    Args:
        secret: by default that in the environment.

    Raises:
        ServingError: FAILED_PRECONDITION, the environment has no secret.
    """
    secret = secret or os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        raise failed_precondition(
            f"The environment variable {SECRET_VARIABLE} is not set, so nobody could be told from "
            "a stranger: set it to a random text on every node of the fleet"
        )
    return tokens_of(secret, fleet)


def _token(secret: str, purpose: str) -> str:
    return hmac.new(secret.encode(), purpose.encode(), "sha256").hexdigest()


if __name__ == "__main__":
    # The token for callers of a fleet whose secret is in the environment.
    print(tokens_here(sys.argv[1]).data)
