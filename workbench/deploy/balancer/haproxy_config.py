"""The configuration of HAProxy for a fleet.

Every setting here was measured against servers that were killed, and against servers whose packets
were dropped (`docs/reliability.md`). A request is sent again when its server fails, because asking
a model changes nothing; HAProxy can do that while the request fits into one of its buffers.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.status import invalid_argument

BALANCE = ("leastconn", "roundrobin", "random(1)", "random(2)")
"""HAProxy's names of the policies: least outstanding, round robin, random, two choices."""

REST, GRPC = "rest", "grpc"
"""The names of the two backends."""


@dataclass(frozen=True)
class BalancerSettings:
    """How a balancer listens and balances.

    Attributes:
        host: the address that it binds to: that of its node, and never all addresses.
        rest_port, grpc_port: where callers ask; `metrics_port`: HAProxy's page for Prometheus.
        balance: one of `BALANCE`.
        slots: the most servers that it can have.
        threads: of HAProxy.
        buffer_bytes: of one request; a larger one is lost if its server dies.
        server_seconds: the longest time until a server answers.
    """

    host: str
    rest_port: int
    grpc_port: int
    metrics_port: int
    balance: str = "leastconn"
    slots: int = 64
    threads: int = 1
    buffer_bytes: int = 65536
    server_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.balance not in BALANCE:
            raise invalid_argument(
                f"The balancing policy {self.balance!r} is not known: use {', '.join(BALANCE)}"
            )


def haproxy_config(settings: BalancerSettings, socket_path: str) -> str:
    """The text of HAProxy's configuration file. Servers are added while it runs."""
    milliseconds = round(settings.server_seconds * 1000)
    tracking = "\n".join(
        f"  server s{slot} 0.0.0.0:1 track {REST}/s{slot} disabled"
        for slot in range(1, settings.slots + 1)
    )
    return f"""\
global
  log stderr format raw local0 warning
  stats socket {socket_path} mode 600 level admin
  nbthread {settings.threads}
  tune.bufsize {settings.buffer_bytes}

defaults
  mode http
  log global
  balance {settings.balance}
  # HAProxy waits as long before it tries again after a refused connection.
  timeout connect 200ms
  timeout check 1s
  timeout queue 1s
  timeout client {milliseconds}ms
  timeout server {milliseconds}ms
  timeout http-keep-alive 60s
  # The first try of another server is the first retry.
  retries 4
  option redispatch 1
  retry-on conn-failure empty-response junk-response
  http-reuse always
  option http-no-delay

frontend {REST}_front
  bind {settings.host}:{settings.rest_port}
  default_backend {REST}

frontend {GRPC}_front
  bind {settings.host}:{settings.grpc_port} proto h2
  default_backend {GRPC}

frontend metrics
  bind {settings.host}:{settings.metrics_port}
  http-request use-service prometheus-exporter if {{ path /metrics }}
  http-request return status 404

backend {REST}
  option httpchk GET /health/ready
  http-check expect status 200
  # Shutting down the sessions of a server that is down sends their requests again, also where its
  # packets are dropped and no connection ends by itself.
  default-server check inter 250ms fastinter 100ms downinter 250ms fall 2 rise 1 observe layer4 \
error-limit 1 on-error mark-down on-marked-down shutdown-sessions
  server-template s 1-{settings.slots} 0.0.0.0:1 disabled

backend {GRPC}
  # A server that is not ready over REST is not ready over gRPC.
  default-server proto h2 on-marked-down shutdown-sessions
{tracking}
"""
