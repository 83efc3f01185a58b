"""Locks are for one user's processes, and say who holds them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from other_user import needs_root, started
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.storage import locks

TAKE = """
import fcntl, sys
fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX)
"""


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o644, 0o640), (0o660, 0o660)])
def test_others_cannot_open_the_file(tmp_path: Path, before: int | None, after: int) -> None:
    path = tmp_path / "lock"
    if before is not None:
        path.touch()
        path.chmod(before)
    with locks.exclusively(path):
        assert path.stat().st_mode & 0o777 == after


@needs_root
def test_another_user_cannot_take_the_lock(open_tmp_path: Path) -> None:
    path = open_tmp_path / "lock"
    path.touch(mode=0o644)  # as an earlier version made it
    with locks.exclusively(path):
        pass
    with started(TAKE, str(path)) as other:
        assert other.wait(PATIENCE) != 0
    with locks.exclusively(path):
        pass


def test_who_waits_says_for_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "lock"
    taken = threading.Event()

    def wait() -> None:
        with locks.exclusively(path):
            taken.set()

    with locks.exclusively(path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_for(lambda: caplog.records)
        assert not taken.is_set()
    waiting.join()
    assert taken.is_set()
    (record,) = caplog.records
    assert f"waits for the lock of {path}, which process {os.getpid()} (" in record.getMessage()
    assert ") of user " in record.getMessage()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Too many levels"), locks.exclusively(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
