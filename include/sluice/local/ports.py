"""Free TCP ports on loopback."""

from __future__ import annotations

import random
import socket
import threading

from sluice.local.errors import PortTakenError

HOST = "127.0.0.1"
PREFERRED_TRIES = 100
# Below the range from which the kernel takes the ports of outgoing connections, so that none of
# those can slip in between the choice of a port and its use.
LOWEST, HIGHEST = 20_000, 32_000

_given: set[int] = set()
_lock = threading.Lock()


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: the remains of closed connections do not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Choose a free port that this process has not given away before."""
    with _lock:
        for _ in range(1_000):
            port = random.SystemRandom().randint(LOWEST, HIGHEST)
            if port not in _given and is_free(port):
                _given.add(port)
                return port
    raise PortTakenError(f"no free port between {LOWEST} and {HIGHEST} on {HOST}")


def preferred_port(wanted: int) -> int:
    """Choose `wanted`, or the next free port after it."""
    last = min(wanted + PREFERRED_TRIES, 65_536)
    for port in range(wanted, last):
        if is_free(port):
            return port
    raise PortTakenError(f"ports {wanted} to {last - 1} of {HOST} are all taken; name another one")


def require_port(port: int, service: str) -> int:
    """Insist on one port; an occupied one is an error that names it."""
    if not is_free(port):
        raise PortTakenError(f"{service} needs port {port} of {HOST}, which another program uses")
    return port
