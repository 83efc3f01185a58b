"""Runs an executor in its own process, streams its log, and never leaves it running.

The process is a fork of the warm parent, which has imported the heavy libraries (`warm.py`), or a fresh interpreter.
Both have a keeper (`keeper.py`), so everything after the start is the same.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import PERMANENT_ERRORS, ExecutorDiedError, ExecutorFailedError, TransientError
from airflow_provider_mlpipe.execution.keeper import Kept
from airflow_provider_mlpipe.execution.log_lines import LogLines, obituary
from airflow_provider_mlpipe.execution.request import ExecutorRequest, executor_environment
from airflow_provider_mlpipe.execution.task_folder import TaskFolder
from airflow_provider_mlpipe.execution.warm import ColdError, WarmParent
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExecutorInvocation, ExecutorResult

Log = Callable[[str], None]


class Launcher:
    """Launches one executor at a time; `kill` may be called from a signal handler."""

    def __init__(self) -> None:
        self._kept: Kept | None = None
        self._killed_why: str | None = None

    def launch(self, invocation: ExecutorInvocation, *, log: Log, warm: WarmParent | None = None) -> ExecutorResult:
        """Runs the executor and returns its result. If `warm` is given and answers, the process is forked from it.

        Raises ExecutorDiedError when the process ends without a result or is killed, and TransientError without a
        temporary folder. If the executor raised one of PERMANENT_ERRORS, raises that; for any other error,
        ExecutorFailedError.
        """
        with _task_folder() as folder:
            request = _prepare(folder, invocation)
            barrier("launcher.start")
            lines = LogLines(log)
            with self._start(request, warm, log) as kept:
                kept.begin()
                for chunk in kept.stream():
                    lines.write(chunk)
            lines.close()
            self._kept = None
            barrier("launcher.ended")
            if not request.answer.exists():
                raise self._died(invocation.component_id, kept.code, lines)
            result = ExecutorResult.FromString(request.answer.read_bytes())
        _raise_error_of(result)
        return result

    def kill(self, why: str) -> None:
        """Kills the executor and everything that it started; if it is not started yet, as soon as it is.

        `why` is the reason that the error gives, a sentence without its full stop.
        """
        self._killed_why = why
        kept = self._kept
        if kept is not None:
            kept.kill()

    def _died(self, component_id: str, code: int | None, lines: LogLines) -> ExecutorDiedError:
        if self._killed_why is not None:
            return ExecutorDiedError(f"the executor of {component_id} was killed: {self._killed_why}")
        return ExecutorDiedError(obituary(component_id, code, lines.tail))

    def _start(self, request: ExecutorRequest, warm: WarmParent | None, log: Log) -> Kept:
        """Starts a process that waits for `begin`."""
        if warm is not None:
            try:
                return self._hold(warm.fork(request), warm.wait_until_ready)
            except ColdError as why:
                log(f"the executor starts in a fresh process: {why}")
        return self._hold(_fresh(request), Kept.wait_until_ready)

    def _hold(self, kept: Kept, wait_until_ready: Callable[[Kept], object]) -> Kept:
        """Waits until the process is ready. If it is killed meanwhile, returns it; its stream then ends at once."""
        self._kept = kept
        if self._killed_why is not None:
            kept.kill()
        try:
            wait_until_ready(kept)
        except BaseException as error:
            if not (kept.was_killed and isinstance(error, ColdError)):
                kept.close()
                raise
        return kept


def _fresh(request: ExecutorRequest) -> Kept:
    files = [str(request.invocation), str(request.answer)]
    ours, theirs = socket.socketpair()
    output, theirs_to_write = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_provider_mlpipe.execution.runner", *files, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=theirs_to_write,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env=request.environment,
        )
    except BaseException:
        ours.close()
        os.close(output)
        raise
    finally:
        theirs.close()
        os.close(theirs_to_write)
    return Kept(ours, output, process)


@contextlib.contextmanager
def _task_folder() -> Iterator[Path]:
    try:
        folder = TaskFolder()
    except OSError as error:
        raise _no_temporary_folder(error) from error
    with folder as path:
        yield path


def _prepare(folder: Path, invocation: ExecutorInvocation) -> ExecutorRequest:
    try:
        invocation.tmp_dir = str(folder / "tmp")
        for name in ("tmp", "scratch", "work"):
            (folder / name).mkdir()
        (folder / "invocation.pb").write_bytes(invocation.SerializeToString())
    except OSError as error:
        raise _no_temporary_folder(error) from error
    # Files that libraries leave in the temporary folder are removed with it after the executor has ended.
    path = [os.path.abspath(entry) for entry in sys.path if entry]  # the executor works in a folder of its own
    environment = executor_environment(path) | {"TMPDIR": str(folder / "scratch")}
    return ExecutorRequest(
        invocation=folder / "invocation.pb", answer=folder / "result.pb", path=path, environment=environment
    )


def _no_temporary_folder(error: OSError) -> TransientError:
    folder = tempfile.tempdir or "(none found)"
    return TransientError(f"the worker's temporary folder {folder} (TMPDIR) cannot be written: {error}")


def _raise_error_of(result: ExecutorResult) -> None:
    if result.WhichOneof("outcome") == "error":
        error = PERMANENT_ERRORS.get(result.error.type, ExecutorFailedError)
        raise error(result.error.message)
