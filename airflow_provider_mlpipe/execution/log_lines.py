"""An executor's output: each line goes to the task's log; if the executor dies, the error repeats the last lines."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Collection

from airflow.sdk._shared.secrets_masker import redact

_TAIL_LINES = 20
_MAX_LINE = 1 << 16


class LogLines:
    """Splits bytes into lines, passes each line to `log` and remembers the last ones; without what Airflow masks."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._unfinished = b""
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def write(self, chunk: bytes) -> None:
        """Passes on the lines that are complete with `chunk`."""
        *lines, self._unfinished = (self._unfinished + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._unfinished) > _MAX_LINE:
            self.close()

    def close(self) -> None:
        """Passes on the last, incomplete line."""
        if self._unfinished:
            self._line(self._unfinished)
            self._unfinished = b""

    def _line(self, line: bytes) -> None:
        text = str(redact(line.decode(errors="backslashreplace").rstrip()))
        self.tail.append(text)
        self._log(text)


def obituary(component_id: str, code: int | None, tail: Collection[str]) -> str:
    """The message for an executor that ended without a result: its exit code (None: its keeper died) and last lines."""
    how = f"exit code {code}"
    if code is None:
        how = "killed together with its keeper process"
    elif code < 0:
        how = f"killed by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            how += " (perhaps out of memory: give the machine more memory, or the component less data at a time)"
    died = f"the executor of {component_id} ended without a result, {how}"
    return "\n".join([died, "Its last lines:", *tail]) if tail else died
