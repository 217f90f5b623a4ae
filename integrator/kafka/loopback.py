"""Chooses free TCP ports on loopback that a client's own connections cannot take away."""

from __future__ import annotations

import secrets
import socket

LOOPBACK = "127.0.0.1"
# Below the ports that systems hand out to outgoing connections (Linux from 32768, others from 49152): a client that
# tries a stopped broker again and again could otherwise be given that very port, connect to itself, and keep the
# broker out.
_LOWEST, _HIGHEST = 20000, 32000


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As Java does: a port whose last connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(*, without: int = 0) -> int:
    """Return a free port at random, so that two installations that start at once hardly choose the same."""
    while True:
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        if port != without and is_free(port):
            return port
