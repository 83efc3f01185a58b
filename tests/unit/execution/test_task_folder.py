"""A task's temporary folder, and what becomes of those that killed tasks left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlpipe.execution.task_folder import PREFIX, TaskFolder

HOLDER = """
import sys
from airflow_provider_mlpipe.execution.task_folder import TaskFolder
with TaskFolder() as folder:
    (folder / "scratch").write_text("much")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another task, which has a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def folder_of(holder: subprocess.Popen[str]) -> Path:
    """Its folder, which looks as if it were made an hour ago."""
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip())
    make_old(folder)
    return folder


def make_old(folder: Path) -> None:
    an_hour_ago = time.time() - 3600
    os.utime(folder, (an_hour_ago, an_hour_ago))


def test_it_is_gone_afterwards() -> None:
    with TaskFolder() as folder:
        (folder / "file").touch()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_what_a_killed_task_left_is_removed_and_what_a_living_one_has_is_not(holder: subprocess.Popen[str]) -> None:
    folder = folder_of(holder)
    with TaskFolder():
        assert (folder / "scratch").exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with TaskFolder() as own:
        assert not folder.exists()
        assert own.exists()


def test_what_was_just_made_is_left_alone(tmpdir: Path) -> None:
    """It is not locked yet, or hardly any more."""
    fresh, old = tmpdir / f"{PREFIX}fresh", tmpdir / f"{PREFIX}old"
    for folder in (fresh, old):
        folder.mkdir()
    make_old(old)
    with TaskFolder():
        assert fresh.exists()
        assert not old.exists()


def test_only_own_folders_are_removed(tmpdir: Path) -> None:
    elsewhere = tmpdir / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmpdir / f"{PREFIX}link").symlink_to(elsewhere)
    (tmpdir / f"{PREFIX}file").touch()
    (tmpdir / "mlpipe-other").mkdir()
    for path in tmpdir.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    with TaskFolder():
        assert {path.name for path in tmpdir.iterdir()} >= {
            "elsewhere",
            f"{PREFIX}link",
            f"{PREFIX}file",
            "mlpipe-other",
        }
        assert (elsewhere / "kept").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_left_alone(tmpdir: Path) -> None:
    theirs = tmpdir / f"{PREFIX}theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    make_old(theirs)
    with TaskFolder():
        assert theirs.exists()
