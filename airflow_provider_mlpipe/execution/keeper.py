"""The keeper: a process that starts a child on command, reports how it ends, and never leaves it running alone.

The keeper is a separate process between the launcher and the child. A socket connects it to the launcher:

::

    launcher            keeper              child
                        forks          →    reports that it is ready
                   ←    {"pid": 7}
    "go"           →                   →    works, as the leader of its own session
                   ←    {"ended": 0}        ends, and the processes that it started are killed
    closes         →    ends

When the launcher closes its end of the socket or ends for any reason, the keeper kills the child's process group. On
Linux it then kills the processes that have left the group: the kernel makes them children of the keeper when their own
parent ends. The keeper is a process and not a thread, since a library may hold the interpreter's lock for minutes, and
the child must still end with its task. If the keeper itself is killed, the kernel kills the child (on Linux).

The child does nothing before "go". So a launcher that has waited too long can safely run the same work elsewhere.
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

    `launcher` is the pid of the process at the other end of `connection`. The child's exit code is 0, or 1 if `work`
    raises, or the one with which `work` ends the process.
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
    leave_output()  # the launcher must see the end of the child's output, so only the child may hold it open
    with contextlib.suppress(BrokenPipeError):  # the launcher is gone
        code = _watch(connection, gate, ended, pid)
        connection.sendall(_message(ended=code))
    os._exit(0)


def refuse(connection: socket.socket, why: str) -> None:
    """Tells the launcher why no child will be started."""
    connection.sendall(_message(refused=why))


def leave_output() -> None:
    """Redirects standard input, output and error of this process to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _child_ends() -> tuple[socket.socket, socket.socket]:
    """A socket that becomes readable when a child has ended, and its other end, which must stay open."""
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
    except BaseException:  # noqa: BLE001 - SystemExit, too: the child must not continue with the keeper's code
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # `work` may have closed them
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watch(connection: socket.socket, gate: socket.socket, ended: socket.socket, child: int) -> int:
    """Passes messages between launcher and child until the child's end; kills its group and returns its exit code."""
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
    """The bytes that can be read now; empty when the other end is closed, even if it did not read everything."""
    try:
        return os.read(descriptor, 1 << 16)
    except ConnectionResetError:
        return b""


def _kill(child: int) -> None:
    """Kills the child, which was not waited for yet, and its process group."""
    os.kill(child, signal.SIGKILL)
    _kill_group(child)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty (macOS: PermissionError)
        os.killpg(leader, signal.SIGKILL)


def _kill_adopted() -> None:
    """Kills the processes that have left the child's group, then their children, which the keeper adopts next."""
    while left := linux.children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            os.waitpid(pid, 0)


def _message(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


class Kept:
    """The launcher's end of a child with a keeper; must be closed after use.

    `output` is the reading end of the pipe that the child writes to. `keeper` is the keeper's process, if it is a child
    of this process.
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
        """Kills the child if it is still running, and waits until it has ended."""
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
        """Tells the child to work. From now on the same work must not be started elsewhere."""
        self._connection.settimeout(None)
        self._has_begun = True
        with contextlib.suppress(BrokenPipeError):  # the keeper is gone; `stream` will notice
            self._connection.sendall(_GO)

    def kill(self) -> None:
        """Kills the child; may be called from another thread or a signal handler."""
        self.was_killed = True
        with contextlib.suppress(OSError):  # the keeper is gone
            self._connection.shutdown(socket.SHUT_WR if self._has_begun else socket.SHUT_RDWR)

    def wait_until_ready(self, seconds: float | None = None) -> str | None:
        """Returns None when the child waits for `begin`, else the reason why there is no child; raises TimeoutError."""
        self._connection.settimeout(seconds)
        while self.pid is None:
            message = self._receive()
            if not message:
                return f"its keeper ended before the child was ready, exit code {self.code}"
            if "refused" in message:
                return str(message["refused"])
        return None

    def stream(self) -> Iterator[bytes]:
        """Yields the child's output until it has ended. Then `code` is its exit code, or None if the keeper died.

        It does not wait for the end of the pipe: processes that the child left running may keep it open and write to
        it.
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
                    else:  # the child has closed its output, but may still be working
                        selector.unregister(self._output)

    def _receive(self) -> dict[str, object]:
        """The next message; empty when the keeper is gone. Raises ConnectionError when it is not from a keeper."""
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
            raise ConnectionError(f"the process that answers is not a keeper; it sent {line[:80]!r}") from error
        return message
