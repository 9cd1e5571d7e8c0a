"""The listening sockets that a supervisor holds for its server process."""

from __future__ import annotations

import socket

from workbench.core.status import ServingError, failed_precondition


def listening_socket(host: str, port: int, last_port: int, backlog: int | None) -> socket.socket:
    """A bound socket, which listens if a backlog is given.

    Args:
        port: 0 takes `last_port` if it is free, else one that the system chooses.

    Raises:
        ServingError: FAILED_PRECONDITION, naming the port and the cure.
    """
    sock = socket.socket(_family(host), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            sock.bind((host, port or last_port))
        except OSError:
            if port:
                raise
            sock.bind((host, 0))
        if backlog is not None:
            sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _unusable(host, port, error) from error
    return sock


def reserved_socket(host: str, port: int, last_port: int) -> socket.socket:
    """A bound socket that reserves a port for server processes, one after another.

    The server process's own socket shares the port (SO_REUSEPORT) and gets all connections.
    Arguments and errors are those of `listening_socket`.
    """
    for candidate in (port,) if port else (last_port, 0):
        sock = socket.socket(_family(host), socket.SOCK_STREAM)
        try:
            with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
                # A shared bind would succeed on the port of another server of ours.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, candidate))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((host, candidate))
            return sock
        except OSError as error:
            sock.close()
            refusal = error
    raise _unusable(host, port, refusal) from refusal


def port_of(sock: socket.socket | None) -> int | None:
    """The port that a socket is bound to."""
    if sock is None:
        return None
    port: int = sock.getsockname()[1]
    return port


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _unusable(host: str, port: int, error: OSError) -> ServingError:
    where = f"Port {port} of {host}" if port else host
    cure = "port, or 0 to let the system choose" if port else "host"
    return failed_precondition(f"{where} cannot be used: {error.strerror}. Choose another {cure}.")
