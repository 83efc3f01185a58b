"""Processes of the tests: whose they are, that none is left, and how Postgres dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres


def processes_of(state_dir: Path) -> list[str]:
    """What still runs for this state folder: ours name it in their arguments or environment, or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            told = f"{arguments} {(process / 'environ').read_bytes().decode()} {os.readlink(process / 'cwd')}"
        except OSError:  # it ended meanwhile
            continue
        if str(state_dir) in told and int(process.name) != os.getpid():
            found.append(arguments)
    return found


def assert_nothing_left(state_dir: Path, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_of(state_dir):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether it runs, and is not only still to be waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int | None:
    """None when the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def task_of(executor: int) -> int | None:
    """The pid of the task that an executor works for, which is in its name; None when it is no executor, or gone."""
    try:
        kind, _, task = Path(f"/proc/{executor}/comm").read_text().strip().partition(" ")
    except OSError:
        return None
    return int(task) if kind == "mlpipe" else None


def kill_postgres(server: EmbeddedPostgres) -> None:
    """As the kernel would when memory runs out: the postmaster and all of its children at once."""
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)  # immediate shutdown: no checkpoint, sessions are cut
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
