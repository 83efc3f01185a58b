"""What Linux's kernel does for processes and Python's library has no word for. Elsewhere it is not there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import struct
import sys
from pathlib import Path

IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)


def die_with(parent: int, how: signal.Signals) -> None:
    """This process, a child of `parent`, gets the signal when that ends, at once if it has ended already."""
    if IS_LINUX:
        _prctl(_PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:
        os.kill(os.getpid(), how)


def adopt_orphans() -> None:
    """What this process's descendants leave running comes to it, instead of to init."""
    if IS_LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """Those of this process, which has one thread, dead ones included; none where the kernel does not tell."""
    pid = os.getpid()
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def call_this_process(name: str) -> None:
    """What `ps -o comm` and `top` show; 15 bytes of it."""
    with contextlib.suppress(OSError):  # there is no /proc
        Path("/proc/self/comm").write_text(name)


def umask() -> int:
    """This process's, without setting it, which other threads would notice."""
    return int(re.search(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)[1], 8)  # type: ignore[index]


def peer(connection: socket.socket) -> tuple[int, int]:
    """The pid and uid of who made the other end of a Unix socket: who connected, or who listens there (unix(7))."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def free_memory() -> float:
    """Which part of the memory that this process may use is free, 0.0 to 1.0: the machine's, or its control group's.

    The kernel's own estimate for the machine (MemAvailable), version 2 of control groups for containers and services;
    files that are only cached count as free.
    """
    machine = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(machine["MemAvailable"].split()[0]) / int(machine["MemTotal"].split()[0])
    return min([free, *_free_in_groups()])


def _free_in_groups() -> list[float]:
    """Of the control group, and of those that it is in: a container sees its own as /sys/fs/cgroup itself."""
    own = re.search("^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    group, found = Path("/sys/fs/cgroup", own[1] if own else ""), []
    for folder in (group, *list(group.parents)[:-3]):
        with contextlib.suppress(OSError, ValueError):  # there is no limit, or it is "max"
            limit = int((folder / "memory.max").read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            used = int((folder / "memory.current").read_text()) - int(stat["inactive_file"])
            found.append(max(0.0, 1 - used / limit))
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
