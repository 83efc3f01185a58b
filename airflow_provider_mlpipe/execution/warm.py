"""The warm parent, seen from outside: where it is, how it is started, asked for an executor, looked at and stopped.

It is one process (`warm_parent.py`) per machine, user, Airflow home and installation, which has imported the heavy
libraries, and forks a keeper with an executor for each connection to its Unix socket. Its folder holds, by key:

- `<key>.lock`: locked (flock) by the parent for as long as it lives; what is in it says who and in which state it is.
- `<key>.sock`: where it listens. It does so before it imports, so whoever connects waits in line.
- `<key>.log`: what it prints.

Nobody waits here without an end: whoever gets no warm executor in time is told so (ColdError), and has a fresh one.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT, is_installed
from airflow_provider_mlpipe.execution import linux
from airflow_provider_mlpipe.execution.keeper import Kept
from airflow_provider_mlpipe.execution.request import ExecutorRequest, born_with, executor_environment
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
"""An executor that begins with an import of one of these gains by a warm start."""
PRELOADED = (
    f"{PACKAGE}.records.keras3",  # first, as in every executor
    *sorted(
        f"{PACKAGE}.components.{path.parent.name}.executor" for path in PACKAGE_ROOT.glob("components/*/executor.py")
    ),
)
"""Every component's executor, and with it what that imports."""
FORK, LOOK = b"F", b"L"

_UNTIL_IT_LISTENS = 2.0
_UNTIL_IT_IS_NOBODYS = 30.0
_AFTER_A_FAILURE = 600.0
_GRACE = 5.0
_KEPT = 86_400.0
_POLL = 0.02


class ColdError(Exception):
    """There is no warm executor; says why."""


@dataclass(frozen=True, kw_only=True)
class WarmParent:
    """The warm parent of the Airflow whose home is `home`, for what is installed now.

    It imports the modules `preload`, in this order. Without an executor it leaves after `idle_seconds`, or when less
    than the part `least_free` of the memory is free; every `tick` seconds it looks whether it should. `patience` is how
    many seconds a launcher waits for an executor that can begin: what is left of the imports takes no longer than the
    imports of a fresh process would, so this is for a parent that hangs.
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
        """What the parent imports from: what is installed, and this package. Never from where user code is."""
        places = [(entry, Path(entry).resolve()) for entry in sys.path if entry]
        return [entry for entry, place in places if is_installed(place) or place == PACKAGE_ROOT.parent]

    @functools.cached_property
    def key(self) -> str:
        """Names the parent that this process may use."""
        spaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net", "pid", "user")]
        parts = [self.home, sys.executable, sys.version, *self.path, *self.preload, *spaces, installation(self.path)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def log(self) -> Path:
        """What the parent printed."""
        return self.folder / f"{self.key}.log"

    def fork(self, request: ExecutorRequest) -> Kept:
        """A child that will run the request, once it is ready (`wait_until_ready`); raises ColdError."""
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
        """Returns when the child waits to begin; else raises ColdError. A parent that hangs loses its socket."""
        with _cold_when_unreachable():
            try:
                why = child.wait_until_ready(self.patience)
            except TimeoutError:
                self._take_its_socket()
                why = f"it did not answer within {self.patience:.0f} seconds"
        if why is not None:
            raise ColdError(f"the warm parent gave none: {why}")

    def start(self) -> bool:
        """Starts the parent, without waiting until it is ready; False if there is one. Raises ColdError."""
        if linux.free_memory() < self.least_free:
            raise ColdError("there is no warm parent, since memory is short")
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
            raise ColdError(f"the last warm parent did not survive its imports; {self.log} says why")

    def _launch(self, folder: Path, lock: IO[str]) -> None:
        """Its process at once forks the parent and ends, so that the parent belongs to nobody."""
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
                env=_without_secrets(executor_environment(self.path)),
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
                raise ColdError("there was no warm parent; one is being started for those that follow")
            if time.monotonic() > deadline:
                raise ColdError("the warm parent is about to leave, or hangs")
            time.sleep(_POLL)  # it has its lock, and does not listen yet

    def _take_its_socket(self) -> None:
        """So that nobody else waits for it; if it lives, it notices and leaves."""
        with private_folder(self.folder) as folder:
            (folder / f"{self.key}.sock").unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class ParentState:
    """A warm parent that lives. What it would say itself is None while it imports, or if it hangs."""

    key: str
    pid: int
    state: str
    running: int | None = None
    forked: int | None = None
    idle_seconds: float | None = None


def is_possible() -> bool:
    """Whether a parent makes sense here: on Linux, and not in a pod that Airflow made for one task."""
    return linux.IS_LINUX and not os.environ.get("AIRFLOW_IS_K8S_EXECUTOR_POD")


def default_folder() -> Path:
    """Where this user's warm parents are: below TMPDIR."""
    return Path(tempfile.gettempdir(), f"mlpipe-warm-{os.geteuid()}")


def parents(home: str, folder: Path | None = None) -> list[ParentState]:
    """The warm parents of an Airflow home that live on this machine, under this user; raises OSError."""
    with private_folder(folder or default_folder()) as place:
        return [state for path in sorted(place.glob("*.lock")) if (state := _look(path, home)) is not None]


def stop(home: str, folder: Path | None = None) -> list[ParentState]:
    """Ends the warm parents of an Airflow home and returns them; executors that run go on. Raises OSError."""
    found = parents(home, folder)
    with private_folder(folder or default_folder()) as place:
        for parent in found:
            _end(place / f"{parent.key}.lock", parent.pid)
    return found


def installation(path: Sequence[str]) -> str:
    """A digest of what is installed in the folders of `path`, and of this package: another one after any change."""
    found = [(str(file), file.stat()) for file in sorted(PACKAGE_ROOT.rglob("*.py"))]
    for folder in filter(os.path.isdir, path):
        with os.scandir(folder) as entries:
            distributions = [entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
            found += [(entry.path, entry.stat()) for entry in sorted(distributions, key=lambda entry: entry.name)]
    text = "\n".join(f"{name} {stat.st_mtime_ns} {stat.st_size}" for name, stat in found)
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """The folder, made if need be, by a name that is short enough for a socket and means this very folder.

    Raises PermissionError when somebody else may use it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(f"{path} must be this user's alone: remove it, or give another TMPDIR")
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def write_state(lock: IO[str], **state: Any) -> None:
    """Says in the lock's file how its owner is."""
    lock.seek(0)
    lock.truncate()
    json.dump(state, lock)
    lock.flush()


def read_state(lock: IO[str]) -> dict[str, Any]:
    """What `write_state` wrote; empty if nothing was, or half of it."""
    lock.seek(0)
    try:
        return dict(json.load(lock))
    except (TypeError, ValueError):
        return {}


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Airflow's settings and connections are its tasks', and no library asks for them."""
    return {name: value for name, value in environment.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}


def _lock(path: Path) -> IO[str] | None:
    """The file, locked, until it is closed here and where it was handed to; None when somebody else has the lock."""
    lock = open(path, "a+", opener=_private)  # noqa: SIM115 - it is what is returned
    with contextlib.suppress(FileNotFoundError):  # it was removed, or is another by now
        if locks.take(lock, wait=False) and os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
            return lock
    lock.close()
    return None


def _remove_old(folder: Path) -> None:
    """What parents of earlier installations have left, and those who died too long ago to be asked why."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(FileNotFoundError):  # somebody else tidies up
            if abs(time.time() - path.stat().st_mtime) > _KEPT and (lock := _lock(path)) is not None:
                with lock:
                    for ending in (".sock", ".log", ".lock"):
                        path.with_suffix(ending).unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _connect(path: Path) -> socket.socket | None:
    """A connection to this user's own process; None when nobody listens."""
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
        raise PermissionError("another user's process listens there")
    return connection


def _send(connection: socket.socket, request: ExecutorRequest, output: int) -> None:
    """The request: file descriptors of the child's output and current folder, and the rest as a line of JSON."""
    current = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        socket.send_fds(connection, [FORK], [output, current])
    finally:
        os.close(current)
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
    if lock is not None:  # nobody lives
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
    """Asks it to end, then makes it; it has its lock until it has."""
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
