"""What an executor prints: line by line into its task's log, and its last lines once more when it dies."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable

_TAIL_LINES = 20
_MAX_LINE = 1 << 16


class LogLines:
    """Cuts bytes into lines, passes each to `log` and remembers the last ones."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._unfinished = b""
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def write(self, chunk: bytes) -> None:
        """Passes on the lines that `chunk` ends."""
        *lines, self._unfinished = (self._unfinished + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._unfinished) > _MAX_LINE:
            self.close()

    def close(self) -> None:
        """Passes on what has no end yet."""
        if self._unfinished:
            self._line(self._unfinished)
            self._unfinished = b""

    def _line(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip()
        self.tail.append(text)
        self._log(text)


def obituary(component_id: str, code: int | None, tail: Iterable[str]) -> str:
    """How an executor ended without a result, by its exit code (None: its keeper died, too), with its last lines."""
    how = f"exit code {code}"
    if code is None:
        how = "killed together with the process that kept it"
    elif code < 0:
        how = f"killed by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            how += " (perhaps for want of memory: give the machine more, or the component less data at a time)"
    last = "\n".join(tail)
    return f"the executor of {component_id} ended without a result, {how}. Its last lines:\n{last}"
