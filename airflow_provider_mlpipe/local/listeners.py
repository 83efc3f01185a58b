"""Who listens on a port of this machine. Linux only."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

_LISTENS = "0A"
_HOSTS = (
    {"127.0.0.1": socket.AF_INET, "::ffff:127.0.0.1": socket.AF_INET6},  # the kernel prefers an exact address
    {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6},  # noqa: S104 - nobody is made to listen there
)


def listening_users(port: int) -> set[int]:
    """The uids of the processes that get the connections to this port of 127.0.0.1; empty if nobody listens.

    Format: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    listeners = [*_listeners()]
    for hosts in _HOSTS:
        places = {f"{_as_kernel_writes(family, host)}:{port:04X}" for host, family in hosts.items()}
        if users := {uid for place, uid in listeners if place in places}:
            return users
    return set()


def _listeners() -> Iterator[tuple[str, int]]:
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, place, _, state, _, _, _, uid, *_ = line.split()
            if state == _LISTENS:
                yield place, int(uid)


def _as_kernel_writes(family: socket.AddressFamily, host: str) -> str:
    """The address as hexadecimal words of four bytes in the machine's byte order."""
    packed = socket.inet_pton(family, host)
    words = (packed[begin : begin + 4] for begin in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
