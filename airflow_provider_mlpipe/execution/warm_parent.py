"""The warm parent: imports the heavy libraries once, and forks a keeper with an executor for each connection.

`warm.py` starts it. It has one thread and runs no operation of TensorFlow. Only its forks read from a connection or
wait for a client. So no task, executor or user code can block or change the parent. An executor is the child of its
keeper, not of the parent, and continues when the parent has ended.

Unlike fresh processes, all forks have the same seed of `hash(str)`. Python's `random` and numpy's global generator get
a new seed; TensorFlow and Keras choose their seeds when an operation first needs one.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from airflow_provider_mlpipe.caching.address import Address, top_modules
from airflow_provider_mlpipe.caching.libraries import PACKAGE
from airflow_provider_mlpipe.execution import linux, runner, warm
from airflow_provider_mlpipe.execution.keeper import keep, leave_output, refuse
from airflow_provider_mlpipe.execution.request import born_with
from airflow_provider_mlpipe.execution.user_code import imported_user_files
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import from_map

_TO_READ = 10.0
_BACKLOG = 1024


@dataclass(frozen=True, kw_only=True)
class Imports:
    """What the parent had at its start (`born_with`), and what its imports changed.

    `variables` are the changed environment variables: {name: (before, after)}. `modules` are the imported modules'
    top-level names.
    """

    born_with: Mapping[str, str]
    variables: Mapping[str, tuple[str | None, str | None]]
    modules: frozenset[str]


@dataclass(kw_only=True)
class Parent:
    """The warm parent's process, from the imports until it ends."""

    key: str
    home: str
    folder: Path
    lock: IO[str]
    path: Sequence[str]
    preload: Sequence[str]
    idle_seconds: float
    least_free: float
    tick: float
    keepers: set[int] = field(default_factory=set)
    forked: int = 0
    used_at: float = field(default_factory=time.monotonic)

    def live(self) -> None:
        """Listens, imports, and serves until there is a reason to end, which it prints."""
        self._say("importing")
        installed = warm.installation(self.path)
        with warm.private_folder(self.folder) as folder, _listening(folder / f"{self.key}.sock") as listener:
            imports = import_all(self.preload)
            self._say("ready")
            self.used_at = time.monotonic()
            print(f"ends: {self._serve(listener, imports, installed)}")

    def _serve(self, listener: Listener, imports: Imports, installed: str) -> str:
        """Forks for each connection, until there is a reason to end."""
        looked_at = time.monotonic()
        while True:
            readable, _, _ = select.select([listener.socket], [], [], self.tick)
            self._reap()
            if readable:
                self._fork(listener, imports)
            if time.monotonic() - looked_at >= self.tick:
                looked_at = time.monotonic()
                if why := self._why_leave(installed, listener):
                    return why

    def _say(self, state: str) -> None:
        warm.write_state(self.lock, state=state, home=self.home, pid=os.getpid())

    def _why_leave(self, installed: str, listener: Listener) -> str | None:
        if not self.keepers:  # while forks run, ending would not free the memory that they share with the parent
            if time.monotonic() - self.used_at > self.idle_seconds:
                return f"no executor was needed for {self.idle_seconds:.0f} seconds"
            if (free := linux.free_memory()) < self.least_free:
                return f"too little memory is free: {free:.0%}"
        if not listener.is_there():
            return "its socket is gone"
        if warm.installation(self.path) != installed:
            return "the installed packages have changed"
        return None

    def _reap(self) -> None:
        for pid in list(self.keepers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.keepers.remove(pid)
                if status == 0:  # it was the keeper of an executor
                    self.forked += 1
                    self.used_at = time.monotonic()

    def _fork(self, listener: Listener, imports: Imports) -> None:
        connection, _ = listener.socket.accept()
        with connection:
            launcher, uid = linux.peer(connection)
            if uid != os.geteuid():
                print(f"refuses process {launcher} of user {uid}")
                return
            try:
                pid = os.fork()
            except OSError as error:
                print(f"cannot fork: {error}")
                return
            if pid == 0:
                listener.close()
                self.lock.close()
                self._answer(connection, launcher, imports)
            self.keepers.add(pid)

    def _answer(self, connection: socket.socket, launcher: int, imports: Imports) -> NoReturn:
        """In the fork: answers the request, and never returns."""
        try:
            os.setsid()
            connection.settimeout(_TO_READ)
            asked, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
            if asked == warm.FORK:
                _keep(connection, launcher, descriptors, imports)
            elif asked == warm.LOOK:
                look = {"running": len(self.keepers), "forked": self.forked, "idle_seconds": self._idle()}
                connection.sendall(json.dumps(look).encode() + b"\n")
        except BaseException:  # noqa: BLE001 - the fork must not continue with the parent's code
            traceback.print_exc()
        finally:
            os._exit(1)

    def _idle(self) -> float:
        return 0.0 if self.keepers else round(time.monotonic() - self.used_at, 1)


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A socket that listens at a path, and the file that it created there."""

    socket: socket.socket
    path: Path
    made: os.stat_result

    def close(self) -> None:
        """In a fork: closes the socket, and the folder's descriptor that is part of its path."""
        self.socket.close()
        os.close(int(self.path.parent.name))

    def is_there(self) -> bool:
        """Whether the path still leads to this socket."""
        try:
            return os.path.samestat(self.path.stat(), self.made)
        except OSError:
            return False


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[Listener]:
    path.unlink(missing_ok=True)  # of a dead parent: this process has the lock
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        made = Listener(socket=listener, path=path, made=path.stat())
        try:
            yield made
        finally:
            if made.is_there():
                path.unlink()


def import_all(modules: Sequence[str]) -> Imports:
    """Imports the modules in order, as an executor would; raises RuntimeError if forks would not be safe after that."""
    born, before = born_with(os.environ), dict(os.environ)
    runner.prepare()
    for module in modules:
        importlib.import_module(module)
    if user_files := imported_user_files():
        raise RuntimeError(f"user code was imported, which forks must not share: {', '.join(user_files)}")
    if threading.active_count() > 1:
        raise RuntimeError(f"a library has started threads, which do not exist in a fork: {threading.enumerate()}")
    gc.collect()
    gc.freeze()  # the garbage collector ignores the objects that exist now, so that forks can share their memory
    after = dict(os.environ)
    names = (name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Imports(
        born_with=born,
        variables={name: (before.get(name), after.get(name)) for name in names},
        modules=_installed_modules(),
    )


def _installed_modules() -> frozenset[str]:
    """The top-level names of imported libraries: a user's module may have the same name."""
    tops = {name for name in sys.modules if "." not in name}
    return frozenset(tops - sys.stdlib_module_names - {"__main__", "__mp_main__", PACKAGE})


def _keep(connection: socket.socket, launcher: int, descriptors: Sequence[int], imports: Imports) -> None:
    with connection.makefile("rb") as lines:
        request = json.loads(lines.readline())
    if why := _why_refuse(request, imports):
        refuse(connection, why)
        return
    (output,) = descriptors
    _become(request, output, imports)
    connection.settimeout(None)
    keep(connection, launcher, functools.partial(runner.run, *request["files"]))


def _why_refuse(request: Mapping[str, Any], imports: Imports) -> str | None:
    """Why a fork would differ from a fresh process, or None."""
    wanted, given = request["born_with"], imports.born_with
    others = [
        name
        for name in sorted(wanted.keys() | given.keys())
        if wanted.get(name) not in (given.get(name), *imports.variables.get(name, ())[1:])
    ]
    if others:
        return f"the parent was started with other values than this task for: {', '.join(others)}"
    invocation = pb.ExecutorInvocation.FromString(Path(request["files"][0]).read_bytes())
    values = [Address.parse(invocation.executor).module, *from_map(invocation.parameters).values()]
    modules = [value for value in values if str(value).endswith(".py")]
    folders = {Path(path).parent for path in modules} | {Path(entry) for entry in request["path"]}
    hidden = [str(path) for folder in sorted(folders) for path in top_modules(folder) if path.stem in imports.modules]
    return f"the parent has imported a library with the same name as {', '.join(hidden)}" if hidden else None


def _become(request: Mapping[str, Any], output: int, imports: Imports) -> None:
    """Makes this process like a fresh interpreter for the request."""
    leave_output()
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.umask(request["umask"])
    os.close(output)
    _set_environment(request["environment"], imports.variables)
    sys.path[:] = dict.fromkeys([*request["path"], *sys.path])
    sys.path_importer_cache.clear()
    sys.argv[1:] = request["files"]
    if numpy := sys.modules.get("numpy"):  # Python itself reseeds `random` in a fork
        numpy.random.seed()


def _set_environment(wanted: Mapping[str, str], variables: Mapping[str, tuple[str | None, str | None]]) -> None:
    """Sets the variables of the request, and those that the imports would have set in this environment, too."""
    os.environ.clear()
    os.environ.update(wanted)
    for name, (before, after) in variables.items():
        if wanted.get(name) == before:
            os.environ.pop(name, None)
            os.environ.update({} if after is None else {name: after})
    time.tzset()
    tempfile.tempdir = None


def main(life: str) -> None:
    """Forks the parent and ends, so that the parent is not a child of the process that started this one."""
    if os.fork():
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    given = json.loads(life)
    os.set_inheritable(given["lock"], False)
    with open(given.pop("lock"), "a+") as lock:
        Parent(**given | {"folder": Path(given["folder"])}, lock=lock).live()


if __name__ == "__main__":
    main(*sys.argv[1:])
