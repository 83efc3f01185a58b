"""Runs an executor in a process of its own, streams its log, and never leaves it behind.

The child is `python -m airflow_provider_mlpipe.runner`. It leads a process group of its own and holds the reading end
of a pipe whose writing end only this process has: when this process is gone, however it went, the child reads the end
of the pipe and kills its whole group.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import PERMANENT_ERRORS, ExecutorDiedError, ExecutorFailedError, TransientError
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExecutorInvocation, ExecutorResult
from airflow_provider_mlpipe.task_folder import TaskFolder

_TAIL_LINES = 20
_MAX_LINE = 1 << 16


class Launcher:
    """Launches one executor at a time; `kill` may be called from a signal handler."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, invocation: ExecutorInvocation, *, log: Callable[[str], None]) -> ExecutorResult:
        """Runs the executor and returns its result.

        Raises ExecutorDiedError when the child ends without a result, the error that the executor raised when it is one
        of PERMANENT_ERRORS, ExecutorFailedError for any other, and TransientError without a temporary folder.
        """
        with _temporary_folder() as folder:
            request, answer = folder / "invocation.pb", folder / "result.pb"
            _prepare(folder, request, invocation)
            barrier("launcher.start")
            with self._running(request, answer) as process:
                tail = _stream(process, log)
                code = process.wait()
            barrier("launcher.ended")
            if not answer.exists():
                raise ExecutorDiedError(_obituary(invocation, code, tail))
            result = ExecutorResult.FromString(answer.read_bytes())
        _raise_error_of(result)
        return result

    def kill(self) -> None:
        """Kills the executor and everything it started; does nothing when none runs."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def _running(self, request: Path, answer: Path) -> Iterator[subprocess.Popen[bytes]]:
        lifeline, holder = os.pipe()
        command = [sys.executable, "-m", "airflow_provider_mlpipe.runner", str(request), str(answer), str(lifeline)]
        environment = os.environ | {
            # The task's import path, so that user code finds what it finds in the DAG.
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",  # not the worker's current folder: a random.py there would be Python's own
            # What libraries leave in the temporary folder goes when the executor went.
            "TMPDIR": str(request.parent / "scratch"),
        }
        try:
            self._process = process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[lifeline],
                start_new_session=True,
                env=environment,
            )
        finally:
            os.close(lifeline)
        try:
            with process:
                try:
                    yield process
                finally:
                    self.kill()
        finally:
            self._process = None
            os.close(holder)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = TaskFolder()
    except OSError as error:
        raise _no_temporary_folder(error) from error
    with folder as path:
        yield path


def _prepare(folder: Path, request: Path, invocation: ExecutorInvocation) -> None:
    try:
        invocation.tmp_dir = str(folder / "tmp")
        Path(invocation.tmp_dir).mkdir()
        (folder / "scratch").mkdir()
        request.write_bytes(invocation.SerializeToString())
    except OSError as error:
        raise _no_temporary_folder(error) from error


def _no_temporary_folder(error: OSError) -> TransientError:
    folder = tempfile.tempdir or "(there is none)"
    return TransientError(f"the worker's temporary folder {folder} (TMPDIR) cannot be written: {error}")


def _stream(process: subprocess.Popen[bytes], log: Callable[[str], None]) -> deque[str]:
    """Logs each line as it is written, until the process has ended; returns the last lines."""
    assert process.stdout is not None
    lines = _Lines(log)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            # Whether it has ended is asked before reading: what it wrote is then all there to be read. What it left
            # running may hold the pipe open, so the end of the pipe alone is not waited for.
            ended = process.poll() is not None
            if selector.select(timeout=0 if ended else 1.0):
                if chunk := _read(process.stdout):
                    lines.write(chunk)
                else:  # it closed its output, but may work on
                    selector.unregister(process.stdout)
            elif ended:
                break
    lines.close()
    return lines.tail


def _read(output: IO[bytes]) -> bytes:
    return os.read(output.fileno(), 1 << 16)


class _Lines:
    """Cuts bytes into lines, passes each to `log` and remembers the last ones."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._unfinished = b""
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def write(self, chunk: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._unfinished) > _MAX_LINE:
            self.close()

    def close(self) -> None:
        if self._unfinished:
            self._line(self._unfinished)
            self._unfinished = b""

    def _line(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip()
        self.tail.append(text)
        self._log(text)


def _obituary(invocation: ExecutorInvocation, code: int, tail: deque[str]) -> str:
    how = f"exit code {code}"
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            how += " (perhaps for want of memory: give the machine more, or the component less data at a time)"
    last = "\n".join(tail)
    return f"the executor of {invocation.component_id} ended without a result, {how}. Its last lines:\n{last}"


def _raise_error_of(result: ExecutorResult) -> None:
    if result.WhichOneof("outcome") == "error":
        error = PERMANENT_ERRORS.get(result.error.type, ExecutorFailedError)
        raise error(result.error.message)
