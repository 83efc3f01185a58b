"""Disks that fill up: a try says so and publishes nothing, and once there is space the next one succeeds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench import Bench, Task

from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState

# The parent holds no lock that a child could need: what forks here is a test's main thread.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

TEXT = "x" * 400_000  # three files of it are more than the disk holds, two are not
NO_SPACE = "[Errno 28] No space left on device"


class Disk:
    """A file system of a megabyte and few files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mounted = _mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=40", "tmpfs", folder)
        if mounted.returncode != 0:
            pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.strip()}")

    def fill(self) -> None:
        with pytest.raises(OSError, match="No space left"):
            self._ballast.write_bytes(bytes(2**20 + 1))

    def use_up_names(self) -> None:
        """No file and no folder can be made any more, whatever space there is."""
        with pytest.raises(OSError, match="No space left"):
            list(map(Path.touch, (self.folder / f"name-{number}" for number in range(100))))

    def forbid_writing(self) -> None:
        mounted = _mount("-o", "remount,ro", self.folder)
        assert mounted.returncode == 0, mounted.stderr

    def make_space(self) -> None:
        grown = _mount("-o", "remount,rw,size=8m", self.folder)
        assert grown.returncode == 0, grown.stderr
        self._ballast.unlink(missing_ok=True)
        for path in self.folder.glob("name-*"):
            path.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


def _mount(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.unmount()


@pytest.fixture
def outputs_on_disk(bench: Bench, disk: Disk, tmp_path: Path) -> Bench:
    """A bench whose pipeline_root, and nothing else, is on the disk."""
    (disk.folder / "root").mkdir()
    (tmp_path / "root").symlink_to(disk.folder / "root")
    return bench


@pytest.fixture
def temporary_files_on_disk(bench: Bench, disk: Disk) -> Bench:
    return replace(bench, environment={"TMPDIR": str(disk.folder)})


def failed(bench: Bench, task: Task) -> Execution:
    """The one execution there is, which has failed and published nothing."""
    assert task.wait() == 3, task.output
    assert not bench.store.artifacts().items
    (execution,) = bench.store.executions().items
    assert execution.state is ExecutionState.FAILED
    assert str(execution.error) in task.output
    return execution


def start_and_fill_at(barrier: str, bench: Bench, disk: Disk) -> Task:
    """A try that finds the disk full from this point on."""
    bench.hold(barrier)
    task = bench.start(1)
    bench.wait_at(barrier)
    disk.fill()
    bench.release(barrier)
    return task


def assert_the_next_try_succeeds(bench: Bench, disk: Disk, text: str = "hello") -> None:
    disk.make_space()
    bench.succeed(2, text=text)
    bench.assert_sound()


def test_outputs_that_do_not_fit(outputs_on_disk: Bench, disk: Disk) -> None:
    execution = failed(outputs_on_disk, outputs_on_disk.start(1, text=TEXT))
    first, where = str(execution.error).splitlines()[:2]
    written = outputs_on_disk.root / "Make" / "examples" / str(execution.id)
    assert first.startswith(f"ExecutorFailedError: OSError: {NO_SPACE} (")  # and the line in its file
    assert f"bytes at {written}, " in where
    assert "`airflow mlpipe orphans --delete`" in where
    assert (written / "0.txt").stat().st_size == len(TEXT)  # what was written is there, and is nobody's artifact
    assert_the_next_try_succeeds(outputs_on_disk, disk, TEXT)


@pytest.mark.parametrize(
    ("spoil", "why"), [(Disk.use_up_names, NO_SPACE), (Disk.forbid_writing, "[Errno 30] Read-only file system")]
)
def test_outputs_that_cannot_even_be_begun(
    outputs_on_disk: Bench, disk: Disk, spoil: Callable[[Disk], None], why: str
) -> None:
    """Not permanent, as a folder of another user is: the disk may be mended before the retry."""
    bench = outputs_on_disk
    spoil(disk)
    execution = failed(bench, bench.start(1))
    assert str(execution.error).startswith(f"TransientError: pipeline_root {bench.root} cannot be written: {why}")
    assert_the_next_try_succeeds(bench, disk)


def test_no_space_for_what_the_executor_is_to_read(temporary_files_on_disk: Bench, disk: Disk) -> None:
    bench = temporary_files_on_disk
    task = start_and_fill_at("driver.started", bench, disk)
    assert f"folder {disk.folder} (TMPDIR) cannot be written: {NO_SPACE}" in str(failed(bench, task).error)
    assert_the_next_try_succeeds(bench, disk)


def test_no_space_for_the_result(temporary_files_on_disk: Bench, disk: Disk) -> None:
    bench = temporary_files_on_disk
    task = start_and_fill_at("runner.before_result", bench, disk)
    error = str(failed(bench, task).error)
    assert error.startswith("ExecutorDiedError: the executor of Make ended without a result, exit code 1")
    assert f"the result cannot be written to {disk.folder}/" in error
    assert f"below the worker's TMPDIR: {NO_SPACE}" in error
    assert_the_next_try_succeeds(bench, disk)


def test_publishing_needs_no_space(outputs_on_disk: Bench, disk: Disk) -> None:
    bench = replace(outputs_on_disk, environment={"TMPDIR": str(disk.folder)})
    bench.hold("launcher.ended")
    task = bench.start(1)
    bench.wait_at("launcher.ended")
    disk.fill()
    disk.use_up_names()
    bench.release("launcher.ended")
    assert task.wait() == 0, task.output
    bench.assert_sound()
