"""Functions of the Linux kernel for processes that Python's standard library does not offer. Only Linux has them."""

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
    """Sends this process, a child of `parent`, the signal when `parent` ends; at once if it has ended already."""
    if IS_LINUX:
        _prctl(_PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:
        os.kill(os.getpid(), how)


def adopt_orphans() -> None:
    """Makes this process the parent of its orphaned descendants, instead of init."""
    if IS_LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """The pids of the children of this process, which has one thread, including dead ones; empty without support."""
    pid = os.getpid()
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def call_this_process(name: str) -> None:
    """Sets the name that `ps -o comm` and `top` show (the first 15 bytes)."""
    with contextlib.suppress(OSError):  # there is no /proc
        Path("/proc/self/comm").write_text(name)


def umask() -> int:
    """The umask of this process. (`os.umask` would set it for a moment, also for other threads.)"""
    return int(re.search(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)[1], 8)  # type: ignore[index]


def peer(connection: socket.socket) -> tuple[int, int]:
    """The pid and uid of the process that connected to, or listens at, the other end of a Unix socket (unix(7))."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def free_memory() -> float:
    """The free part (0.0 to 1.0) of the memory that this process may use: the machine's or its control group's.

    For the machine this is the kernel's estimate (MemAvailable); for containers and services it comes from version 2
    of control groups. Files that are only cached count as free.
    """
    machine = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(machine["MemAvailable"].split()[0]) / int(machine["MemTotal"].split()[0])
    return min([free, *_free_in_groups()])


def _free_in_groups() -> list[float]:
    """The free part for the control group and its parents. In a container, /sys/fs/cgroup is its own group."""
    own = re.search("^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    group, found = Path("/sys/fs/cgroup", own[1] if own else ""), []
    for folder in (group, *list(group.parents)[:-3]):
        with contextlib.suppress(OSError, ValueError):  # the group has no limit, or the limit is "max"
            limit = int((folder / "memory.max").read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            used = int((folder / "memory.current").read_text()) - int(stat["inactive_file"])
            found.append(max(0.0, 1 - used / limit))
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
