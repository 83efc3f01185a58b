"""Holding processes at the package's announced barriers."""

from __future__ import annotations

from pathlib import Path

from waiting import wait_for


class Held:
    """What has a folder of `barriers` (`MLPIPE_BARRIERS` of the processes) holds and releases there."""

    barriers: Path

    def hold(self, barrier: str) -> None:
        (self.barriers / f"{barrier}.hold").touch()

    def release(self, barrier: str) -> None:
        (self.barriers / f"{barrier}.hold").unlink()

    def wait_at(self, barrier: str, seconds: float = 60) -> int:
        """The pid of a process that has come to the barrier and still is."""
        wait_for(lambda: self._there(barrier), seconds)
        return self._there(barrier)[0]

    def _there(self, barrier: str) -> list[int]:
        pids = [int(path.name.rpartition("@")[2]) for path in self.barriers.glob(f"{barrier}@*")]
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
