"""A child and its keeper: the child begins when it is told to, how it ends is told, and it is never left behind.

The keeper is a process of its own, between the launcher and the child. A socket connects it with the launcher:

::

    launcher            keeper              child
                        forks          →    says that it lives
                   ←    {"pid": 7}
    "go"           →                   →    works, as the leader of a session of its own
                   ←    {"ended": 0}        ends, and with it what it started
    closes         →    ends

When the launcher closes its end, or is gone, however it went, the keeper kills the child's process group. Then, on
Linux, what has left that group: it comes to the keeper when its own parent has ended. A process and not a thread: a
library that keeps the interpreter to itself for minutes must not outlive its task. When the keeper itself is killed,
the kernel kills the child (on Linux).

Until "go" nothing has been done, so that a launcher whose patience ends before may have the same done elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

from airflow_provider_mlpipe.execution import linux

_READY, _GO = b"r", b"g"
_SECONDS_TO_DIE = 10.0
_PIPE_HOLDS = 1 << 20  # bytes at most (pipe(7)), unless root has set more


def keep(connection: socket.socket, launcher: int, work: Callable[[], None]) -> NoReturn:
    """Makes this process, which has one thread, the keeper of a child that calls `work`.

    `launcher` is the pid of the process at the other end. The child's exit code is 0, 1 if `work` raises, or its own.
    """
    ended, wakeup = _child_ends()
    gate, childs_gate = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        keeper = os.getppid()
        signal.set_wakeup_fd(-1)
        for other in (connection, ended, wakeup, gate):
            other.close()
        _be_child(childs_gate, keeper, launcher, work)
    linux.adopt_orphans()
    childs_gate.close()
    leave_output()  # whoever reads the child's must see its end
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more
        code = _watch(connection, gate, ended, pid)
        connection.sendall(_message(ended=code))
    os._exit(0)


def refuse(connection: socket.socket, why: str) -> None:
    """Tells the launcher that there will be no child."""
    connection.sendall(_message(refused=why))


def leave_output() -> None:
    """Standard input, output and error of this process lead nowhere from now on."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _child_ends() -> tuple[socket.socket, socket.socket]:
    """A socket that can be read when a child has ended, and its other end, which is to be kept open."""
    ended, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return ended, wakeup


def _be_child(gate: socket.socket, keeper: int, launcher: int, work: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        linux.die_with(keeper, signal.SIGKILL)
        os.setsid()
        linux.call_this_process(f"mlpipe {launcher}")
        gate.sendall(_READY)
        if gate.recv(1) == _GO:
            gate.close()
            work()
        code = 0
    except BaseException:  # noqa: BLE001 - SystemExit, too: nothing of what the keeper was doing may go on here
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the work has closed them
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watch(connection: socket.socket, gate: socket.socket, ended: socket.socket, child: int) -> int:
    """Passes on what launcher and child say, until the child has ended and its group was killed: its exit code."""
    with selectors.DefaultSelector() as selector:
        for each in (connection, gate, ended):
            selector.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                told = _read(key.fd)
                if key.fileobj is connection:
                    with contextlib.suppress(BrokenPipeError):
                        gate.sendall(told)
                    if not told:
                        _kill(child)
                elif key.fileobj is gate and told:
                    connection.sendall(_message(pid=child))
                if not told:
                    selector.unregister(key.fileobj)
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                _kill_group(child)
                _kill_adopted()
                return os.waitstatus_to_exitcode(status)


def _read(descriptor: int) -> bytes:
    """What is there; nothing when the other end is closed, with or without having read everything."""
    try:
        return os.read(descriptor, 1 << 16)
    except ConnectionResetError:
        return b""


def _kill(child: int) -> None:
    """The child, not yet waited for, and what it started."""
    os.kill(child, signal.SIGKILL)
    _kill_group(child)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; macOS says so of a dead leader's
        os.killpg(leader, signal.SIGKILL)


def _kill_adopted() -> None:
    """What has left the child's group, and what that had started, which comes here next."""
    while left := linux.children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            os.waitpid(pid, 0)


def _message(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


class Kept:
    """The launcher's end: a child that is kept, to be closed after use.

    `output` is the reading end of a pipe that the child writes to; `keeper` is the keeper's process, where that is a
    child of this one.
    """

    def __init__(self, connection: socket.socket, output: int, keeper: subprocess.Popen[bytes] | None = None) -> None:
        self.pid: int | None = None
        self.code: int | None = None
        self.was_killed = False
        self._connection = connection
        self._output = output
        self._keeper = keeper
        self._received = b""
        self._has_begun = False

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kills the child if it still works, and waits until it is gone."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(_SECONDS_TO_DIE)
            while self._has_begun and self.code is None and self._receive():
                pass
        self._connection.close()
        os.close(self._output)
        if self._keeper is not None:
            code = self._keeper.wait()
            self.code = code if self.code is None else self.code

    def begin(self) -> None:
        """Tells the child to work; nobody else may be told from now on."""
        self._connection.settimeout(None)
        self._has_begun = True
        with contextlib.suppress(BrokenPipeError):  # it is gone, as `stream` will find out
            self._connection.sendall(_GO)

    def kill(self) -> None:
        """Kills the child; may be called by another thread or a signal handler."""
        self.was_killed = True
        with contextlib.suppress(OSError):  # the keeper is gone
            self._connection.shutdown(socket.SHUT_WR if self._has_begun else socket.SHUT_RDWR)

    def wait_until_ready(self, seconds: float | None = None) -> str | None:
        """None when the child waits for `begin`, else why there is none, in words; raises TimeoutError."""
        self._connection.settimeout(seconds)
        while self.pid is None:
            message = self._receive()
            if not message:
                return f"it ended before it began, exit code {self.code}"
            if "refused" in message:
                return str(message["refused"])
        return None

    def stream(self) -> Iterator[bytes]:
        """What the child writes, as it is written, until it has ended; `code` is then how, None if the keeper died.

        What it left running may hold the pipe open, or write on, so the end of the pipe alone is not waited for.
        """
        still_there = _PIPE_HOLDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            has_ended = False
            while still_there > 0 and (found := selector.select(timeout=0 if has_ended else None)):
                for key, _ in found:
                    if key.fileobj is self._connection:
                        has_ended = has_ended or not self._receive() or self.code is not None
                        if has_ended:
                            selector.unregister(self._connection)
                    elif chunk := _read(self._output):
                        still_there -= len(chunk) if has_ended else 0
                        yield chunk
                    else:  # it closed its output, but may work on
                        selector.unregister(self._output)

    def _receive(self) -> dict[str, object]:
        """The next message; empty when the keeper is gone. Raises ConnectionError when it is no keeper's."""
        while b"\n" not in self._received:
            try:
                chunk = self._connection.recv(1 << 16)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return {}
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        try:
            message: dict[str, object] = dict(json.loads(line))
            self.pid = int(str(message["pid"])) if "pid" in message else self.pid
            self.code = int(str(message["ended"])) if "ended" in message else self.code
        except (TypeError, ValueError) as error:
            raise ConnectionError(f"whoever listens there is no keeper, and says {line[:80]!r}") from error
        return message
