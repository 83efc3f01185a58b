"""The client of the warm parent: finds, starts, inspects and stops it, and asks it for an executor process.

The warm parent (`warm_parent.py`) is one process per machine, user, Airflow home and installation. It has imported the
heavy libraries, and forks a keeper with an executor for each connection to its Unix socket. Its folder has, by key:

- `<key>.lock`: locked (flock) by the parent as long as it lives; it contains the parent's pid and state.
- `<key>.sock`: the socket. The parent listens before it imports, so a client that connects early waits in the queue.
- `<key>.log`: the parent's output.

All waiting here has a limit. A client that does not get a warm executor in time gets a ColdError and starts a fresh
process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT, is_installed
from airflow_provider_mlpipe.execution import linux
from airflow_provider_mlpipe.execution.keeper import Kept
from airflow_provider_mlpipe.execution.request import ExecutorRequest, born_with, executor_environment, without_secrets
from airflow_provider_mlpipe.storage import locks

HEAVY = frozenset(
    {
        "apache_beam",
        "keras",
        "tensorflow",
        "tensorflow_data_validation",
        "tensorflow_model_analysis",
        "tensorflow_transform",
        "tfx_bsl",
    }
)
"""If an executor imports one of these at its start, a warm start makes it faster."""
PRELOADED = (
    f"{PACKAGE}.records.keras3",  # first, as in every executor
    *sorted(
        f"{PACKAGE}.components.{path.parent.name}.executor" for path in PACKAGE_ROOT.glob("components/*/executor.py")
    ),
)
"""The executor modules of all components; they import the heavy libraries."""
FORK, LOOK = b"F", b"L"

_UNTIL_IT_LISTENS = 2.0
_UNTIL_IT_IS_NOBODYS = 30.0
_AFTER_A_FAILURE = 600.0
_GRACE = 5.0
_KEPT = 86_400.0
_POLL = 0.02


class ColdError(Exception):
    """No warm executor is available; the message says why."""


@dataclass(frozen=True, kw_only=True)
class WarmParent:
    """The warm parent of the Airflow with the home folder `home`, for the packages that are installed now.

    It imports the modules `preload`, in this order. When it has no executor, it ends after `idle_seconds`, or when less
    than the fraction `least_free` of the memory is free; it checks this every `tick` seconds. A launcher waits up to
    `patience` seconds for an executor that is ready. This limit is for a parent that hangs: waiting for its imports
    takes no longer than the imports of a fresh process.
    """

    home: str
    idle_seconds: float
    preload: Sequence[str] = PRELOADED
    folder: Path = field(default_factory=lambda: default_folder())
    least_free: float = 0.1
    tick: float = 5.0
    patience: float = 60.0

    @functools.cached_property
    def path(self) -> list[str]:
        """The parent's import path: the installed packages and this package, but not the folders of user code."""
        places = [(entry, Path(entry).resolve()) for entry in sys.path if entry]
        return [entry for entry, place in places if is_installed(place) or place == PACKAGE_ROOT.parent]

    @functools.cached_property
    def key(self) -> str:
        """Identifies the parent that this process may use."""
        spaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net", "pid", "user")]
        parts = [self.home, sys.executable, sys.version, *self.path, *self.preload, *spaces, installation(self.path)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def log(self) -> Path:
        """The file with the parent's output."""
        return self.folder / f"{self.key}.log"

    def fork(self, request: ExecutorRequest) -> Kept:
        """Asks the parent for a child that will run the request (see `wait_until_ready`); raises ColdError."""
        with _cold_when_unreachable():
            connection = self._connected()
            output, childs_output = os.pipe()
            kept = Kept(connection, output)
            try:
                connection.settimeout(self.patience)
                _send(connection, request, childs_output)
            except BaseException:
                kept.close()
                raise
            finally:
                os.close(childs_output)
            return kept

    def wait_until_ready(self, child: Kept) -> None:
        """Returns when the child waits for `begin`, else raises ColdError. If the parent hangs, removes its socket."""
        with _cold_when_unreachable():
            try:
                why = child.wait_until_ready(self.patience)
            except TimeoutError:
                self._take_its_socket()
                why = f"it did not answer within {self.patience:.0f} seconds"
        if why is not None:
            raise ColdError(f"the warm parent started no executor: {why}")

    def start(self) -> bool:
        """Starts the parent without waiting until it is ready; False if it is running. Raises ColdError."""
        if linux.free_memory() < self.least_free:
            raise ColdError("there is no warm parent, since too little memory is free")
        with _cold_when_unreachable(), private_folder(self.folder) as folder:
            _remove_old(folder)
            lock = _lock(folder / f"{self.key}.lock")
            if lock is None:
                return False
            with lock:
                self._check_last(lock)
                write_state(lock, state="importing", home=self.home)
                self._launch(folder, lock)
                return True

    def _check_last(self, lock: IO[str]) -> None:
        age = time.time() - os.fstat(lock.fileno()).st_mtime
        if read_state(lock).get("state") == "importing" and 0 <= age < _AFTER_A_FAILURE:
            raise ColdError(f"the last warm parent died during its imports; its log {self.log} says why")

    def _launch(self, folder: Path, lock: IO[str]) -> None:
        """Starts a process that forks the parent and ends at once, so that the parent is not this process's child."""
        life = {
            "key": self.key,
            "home": self.home,
            "folder": str(self.folder),
            "lock": lock.fileno(),
            "path": self.path,
            "preload": list(self.preload),
            "idle_seconds": self.idle_seconds,
            "least_free": self.least_free,
            "tick": self.tick,
        }
        with open(folder / f"{self.key}.log", "wb", opener=_private) as log:
            subprocess.run(
                [sys.executable, "-m", "airflow_provider_mlpipe.execution.warm_parent", json.dumps(life)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,
                cwd="/",
                env=without_secrets(executor_environment(self.path)),
                timeout=_UNTIL_IT_IS_NOBODYS,
                check=True,
            )

    def _connected(self) -> socket.socket:
        deadline = time.monotonic() + _UNTIL_IT_LISTENS
        while True:
            with private_folder(self.folder) as folder:
                if (connection := _connect(folder / f"{self.key}.sock")) is not None:
                    return connection
            if self.start():
                raise ColdError("there was no warm parent; one is being started for later executors")
            if time.monotonic() > deadline:
                raise ColdError("the warm parent is about to end, or hangs")
            time.sleep(_POLL)  # the parent has its lock, but does not listen yet

    def _take_its_socket(self) -> None:
        """Removes the parent's socket, so that no other launcher waits for it. A living parent notices it and ends."""
        with private_folder(self.folder) as folder:
            (folder / f"{self.key}.sock").unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class ParentState:
    """A living warm parent. The numbers, which it reports itself, are None while it imports or if it hangs."""

    key: str
    pid: int
    state: str
    running: int | None = None
    forked: int | None = None
    idle_seconds: float | None = None


def is_possible() -> bool:
    """Whether a warm parent makes sense here: on Linux, and not in a pod that Airflow started for one task."""
    return linux.IS_LINUX and not os.environ.get("AIRFLOW_IS_K8S_EXECUTOR_POD")


def default_folder() -> Path:
    """The folder of this user's warm parents, below TMPDIR."""
    return Path(tempfile.gettempdir(), f"mlpipe-warm-{os.geteuid()}")


def parents(home: str, folder: Path | None = None) -> list[ParentState]:
    """The living warm parents of an Airflow home on this machine for this user; raises OSError."""
    with private_folder(folder or default_folder()) as place:
        return [state for path in sorted(place.glob("*.lock")) if (state := _look(path, home)) is not None]


def stop(home: str, folder: Path | None = None) -> list[ParentState]:
    """Ends the warm parents of an Airflow home and returns them; running executors continue. Raises OSError."""
    found = parents(home, folder)
    with private_folder(folder or default_folder()) as place:
        for parent in found:
            _end(place / f"{parent.key}.lock", parent.pid)
    return found


def installation(path: Sequence[str]) -> str:
    """A digest of the packages installed in the folders of `path`, and of this package; any change changes it."""
    found = [(str(file), file.stat()) for file in sorted(PACKAGE_ROOT.rglob("*.py"))]
    for folder in filter(os.path.isdir, path):
        with os.scandir(folder) as entries:
            distributions = [entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
            found += [(entry.path, entry.stat()) for entry in sorted(distributions, key=lambda entry: entry.name)]
    text = "\n".join(f"{name} {stat.st_mtime_ns} {stat.st_size}" for name, stat in found)
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """Opens the folder, creates it if needed, and yields a path to it that is short enough for a socket.

    The path still refers to this folder if another is moved to its place. Raises PermissionError when other users may
    use the folder.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(f"only this user may have access to {path}: remove it, or set another TMPDIR")
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def write_state(lock: IO[str], **state: Any) -> None:
    """Writes the state of the lock's owner to its file."""
    lock.seek(0)
    lock.truncate()
    json.dump(state, lock)
    lock.flush()


def read_state(lock: IO[str]) -> dict[str, Any]:
    """The state that `write_state` wrote; empty if it wrote nothing, or not all of it yet."""
    lock.seek(0)
    try:
        return dict(json.load(lock))
    except (TypeError, ValueError):
        return {}


def _lock(path: Path) -> IO[str] | None:
    """The file with its lock, or None when another process has it. The lock ends when all processes have closed it."""
    lock = locks.opened(path)
    with contextlib.suppress(FileNotFoundError):  # the file may have been removed or replaced meanwhile
        if locks.take(lock, wait=False) and os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
            return lock
    lock.close()
    return None


def _remove_old(folder: Path) -> None:
    """Removes the files of ended parents that are more than a day old: their logs are not needed any more."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(FileNotFoundError):  # another process removes it, too
            if abs(time.time() - path.stat().st_mtime) > _KEPT and (lock := _lock(path)) is not None:
                with lock:
                    for ending in (".sock", ".log", ".lock"):
                        path.with_suffix(ending).unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _connect(path: Path) -> socket.socket | None:
    """A connection to a process of this user; None when no process listens."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_UNTIL_IT_LISTENS)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    if linux.peer(connection)[1] != os.geteuid():
        connection.close()
        raise PermissionError("a process of another user listens there")
    return connection


def _send(connection: socket.socket, request: ExecutorRequest, output: int) -> None:
    """Sends the request: the file descriptor of the child's output, the rest as a line of JSON."""
    socket.send_fds(connection, [FORK], [output])
    message = {
        "files": [str(request.invocation), str(request.answer)],
        "path": [entry for entry in request.path if entry],
        "environment": dict(request.environment),
        "umask": linux.umask(),
        "born_with": born_with(request.environment),
    }
    connection.sendall(json.dumps(message).encode() + b"\n")


@contextlib.contextmanager
def _cold_when_unreachable() -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        raise ColdError(f"the warm parent cannot be reached: {error}") from error


def _look(path: Path, home: str) -> ParentState | None:
    lock = _lock(path)
    if lock is not None:  # its parent is dead
        lock.close()
        return None
    with path.open() as file:
        told = read_state(file)
    if told.get("home") != home or "pid" not in told:
        return None
    if told["state"] != "ready":
        return ParentState(key=path.stem, pid=told["pid"], state=told["state"])
    answer = _ask(path.with_suffix(".sock"))
    return ParentState(key=path.stem, pid=told["pid"], state="ready" if answer else "does not answer", **answer)


def _ask(path: Path) -> dict[str, Any]:
    try:
        connection = _connect(path)
        if connection is None:
            return {}
        with connection, connection.makefile("rb") as answer:
            connection.sendall(LOOK)
            return dict(json.loads(answer.readline() or b"{}"))
    except (OSError, TypeError, ValueError):
        return {}


def _end(path: Path, pid: int) -> None:
    """Asks the parent to end, then kills it; it has its lock until it has ended."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline:
            lock = _lock(path)
            if lock is not None:
                with lock:
                    write_state(lock, state="stopped")
                return
            time.sleep(_POLL)
