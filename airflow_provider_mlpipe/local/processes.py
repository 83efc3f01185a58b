"""Airflow's four processes as children of one parent, which imports Airflow once. `airflow.py` starts it.

`python -m airflow_provider_mlpipe.local.processes LOG_FOLDER [--restart]` prepares Airflow's database and forks
api-server, scheduler, dag-processor and triggerer. It runs until its standard input ends. The starter has the other end
of that pipe, so this process ends when the starter ends for any reason. Then it stops all its descendants; it adopts
orphans (PR_SET_CHILD_SUBREAPER). If this process is killed, its children get SIGTERM (PR_SET_PDEATHSIG).

When one of the four dies, all end. With `--restart`, its remaining descendants are killed and it is started again after
a second, as systemd does with a unit and Docker with a container.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import psutil

from airflow_provider_mlpipe.caching.libraries import PACKAGE
from airflow_provider_mlpipe.execution import linux

COMMANDS = (("scheduler", "--skip-serve-logs"), ("dag-processor",), ("triggerer", "--skip-serve-logs"))
SHARED_IMPORTS = (
    "airflow.__main__",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.dag_processor_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.executors.local_executor",
    "airflow.sdk.execution_time.task_runner",
)
API_SERVER_IMPORTS = (
    "uvicorn",
    "airflow.api_fastapi.app",
    "airflow.api_fastapi.core_api.routes.public",
    "airflow.api_fastapi.core_api.routes.ui",
)
_GRACE = 3.0
_BEFORE_RESTART = 1.0


def main(log_folder: Path, restart: bool = False) -> int:
    """Run the four processes until standard input ends or SIGTERM; return the exit status: 1 if one of them died."""
    linux.adopt_orphans()
    signal.signal(signal.SIGTERM, _leave)
    children: dict[int, str] = {}

    def fork(name: str, run: Callable[[], None]) -> int:
        pid = _fork(log_folder / f"{name}.log", run)
        children[pid] = name
        return pid

    try:
        import airflow  # noqa: F401  (reads the configuration; takes the longest time)

        database_ready, tell = os.pipe()
        database = fork("database", _prepare_database)
        fork("api-server", functools.partial(_api_server, database_ready))
        _import(SHARED_IMPORTS)
        if os.waitpid(database, 0)[1] != 0:
            return _report(children.pop(database))
        del children[database]
        os.write(tell, b".")
        arguments = {command[0]: command for command in (("api-server",), *COMMANDS)}
        for command in COMMANDS:
            fork(command[0], functools.partial(_airflow, command))
        threading.Thread(target=_leave_with_the_starter, daemon=True).start()
        while True:
            pid, _ = os.waitpid(-1, 0)
            if pid in children:
                name = children.pop(pid)
                if not restart:
                    return _report(name)
                _kill_left_behind(children)
                time.sleep(_BEFORE_RESTART)
                fork(name, functools.partial(_airflow, arguments[name]))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _stop(children)


def _prepare_database() -> None:
    from airflow.utils import db

    db.initdb()


def _api_server(database_ready: int) -> None:
    """Import while the database is prepared, since imports take most of the start; then serve."""
    _import(API_SERVER_IMPORTS)
    os.read(database_ready, 1)
    _airflow(["api-server"])


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        importlib.import_module(module)


def _airflow(arguments: Sequence[str]) -> None:
    from airflow.__main__ import main

    sys.argv = ["airflow", *arguments]
    main()


def _fork(log: Path, run: Callable[[], None]) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        linux.die_with(parent, signal.SIGTERM)
        _redirect(log)
        run()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  (any error must be in the log)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _redirect(log: Path) -> None:
    null, file = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (file, 1), (file, 2)):
        os.dup2(source, target)


def _report(name: str) -> int:
    """Tell the starter which process ended."""
    print(name, flush=True)
    return 1


def _leave(signum: int, frame: object) -> NoReturn:
    raise SystemExit(0)


def _leave_with_the_starter() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(children: dict[int, str]) -> None:
    """Send SIGTERM up to three times (at the second, they do not wait for tasks); then kill all remaining processes."""
    for _ in range(3):
        for pid in children:  # they were not waited for yet, so the pids are still theirs
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while not _have_ended(children) and time.monotonic() < deadline:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            children.pop(pid, None)
            if pid == 0:
                time.sleep(0.02)
    if not _have_ended(children):
        print(f"killed, since they did not end: {', '.join(children.values())}", file=sys.stderr, flush=True)
    while True:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _have_ended(children: dict[int, str]) -> bool:
    """Whether all children have ended. A triggerer whose trigger process has ended counts: it waits ten seconds."""
    return all(name == "triggerer" and not _descendants(pid) for pid, name in children.items())


def _kill_left_behind(children: dict[int, str]) -> None:
    """Kill the processes that a dead child has started, above all the scheduler's tasks."""
    while left := _left_behind(children):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):  # its parent is in `left`, too: this process adopts it next
                os.waitpid(pid, 0)


def _left_behind(children: dict[int, str]) -> list[int]:
    """The descendants, except the four children, the warm parent, and the processes that these have started.

    The warm parent's executors end with their tasks.
    """
    descendants = _descendants(os.getpid())
    kept = [*children, *filter(_is_of_warm_parent, descendants)]
    alive = {other for pid in kept for other in (pid, *_descendants(pid))}
    return [pid for pid in descendants if pid not in alive]


def _is_of_warm_parent(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):  # it ended meanwhile
        return f"{PACKAGE}.execution.warm_parent" in psutil.Process(pid).cmdline()
    return False


def _descendants(root: int) -> list[int]:
    """The living descendants of a process."""
    with contextlib.suppress(psutil.Error):
        return [each.pid for each in psutil.Process(root).children(recursive=True) if _is_alive(each)]
    return []


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), restart="--restart" in sys.argv[2:]))
