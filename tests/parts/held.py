"""Holding processes at the package's announced barriers."""

from __future__ import annotations

from pathlib import Path

from waiting import PATIENCE, wait_for

BEFORE_THE_LAUNCH = [
    "driver.fingerprint",
    "driver.look_up",
    "driver.decided",
    "driver.before_start",
    "driver.started",
    "launcher.start",
]
"""What every task with a component that runs comes to, in this order, before there is an executor."""


class Held:
    """What has a folder of `barriers` (`MLPIPE_BARRIERS` of the processes) holds and releases there."""

    barriers: Path

    def hold(self, barrier: str) -> None:
        """Whoever comes to the barrier from now on stays there; who came before is forgotten, and so is its pid."""
        for earlier in self.barriers.glob(f"{barrier}@*"):
            earlier.unlink()
        (self.barriers / f"{barrier}.hold").touch()

    def release(self, barrier: str) -> None:
        (self.barriers / f"{barrier}.hold").unlink()

    def wait_at(self, barrier: str, seconds: float = PATIENCE) -> int:
        """The pid of a process that has come to the barrier and still is."""
        wait_for(lambda: self.there(barrier), seconds)
        return self.there(barrier)[0]

    def there(self, barrier: str) -> list[int]:
        """Who has come to the barrier, and lives."""
        pids = [int(path.name.rpartition("@")[2]) for path in self.barriers.glob(f"{barrier}@*")]
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
