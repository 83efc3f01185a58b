"""What is out of reach may come back; only what is surely gone or changed is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rights import closed

from airflow_provider_mlpipe.artifacts import Artifact, Examples, FileSummary
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError, TransientError
from airflow_provider_mlpipe.storage.artifact_files import Look, Verify, look, loss
from airflow_provider_mlpipe.storage.digests import tree_digest, tree_look, tree_summary

Spoil = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact's folder, `<disk>/root/Make/examples/7`."""
    folder = tmp_path / "disk" / "root" / "Make" / "examples" / "7"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("text")
    return folder


def published(folder: Path) -> Artifact:
    return Examples(uri=str(folder), files=tree_summary(folder))


def imported(folder: Path) -> Artifact:
    return Examples(uri=str(folder), digest=tree_digest(folder))


def remove(*levels: int) -> Spoil:
    """Removes the folder that is so many levels above."""
    return lambda folder: [shutil.rmtree([folder, *folder.parents][level]) for level in levels]


def empty(level: int) -> Spoil:
    """The folder so many levels above becomes an empty one, as a mount point without its disk."""

    def spoil(folder: Path) -> None:
        remove(level)(folder)
        [folder, *folder.parents][level].mkdir()

    return spoil


def beside(spoil: Spoil) -> Spoil:
    """With another folder beside it."""

    def both(folder: Path) -> None:
        (folder.parent / "8").mkdir()
        spoil(folder)

    return both


def edit(text: str) -> Spoil:
    return lambda folder: (folder / "deep" / "file").write_text(text)


def replaced(text: str) -> Spoil:
    """Another file takes the place of the first."""

    def spoil(folder: Path) -> None:
        (folder / "new").write_text(text)
        (folder / "new").rename(folder / "deep" / "file")

    return spoil


def in_disguise(spoil: Spoil) -> Spoil:
    """With the times that the file had before; they are all that its owner can set."""

    def disguised(folder: Path) -> None:
        before = (folder / "deep" / "file").stat()
        spoil(folder)
        os.utime(folder / "deep" / "file", ns=(before.st_atime_ns, before.st_mtime_ns))

    return disguised


def link(target: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "deep" / "file").unlink()
        (folder / "deep" / "file").symlink_to(target)

    return spoil


@pytest.mark.parametrize("make", [published, imported])
def test_what_is_there_is_not_lost(folder: Path, make: Callable[[Path], Artifact]) -> None:
    for verify in ("exists", "digest"):
        assert loss(make(folder), verify) is None


@pytest.mark.parametrize(
    ("make", "spoil", "verify", "words"),
    [
        (published, remove(0), "exists", "is gone"),
        (published, remove(1), "exists", "is gone"),
        (published, empty(0), "exists", "has 0 files with 0 bytes, but was published with 1 files and 4 bytes"),
        (published, edit("longer"), "exists", "has 1 files with 6 bytes"),
        (published, edit("TEXT"), "digest", "have changed since they were published"),
        (published, edit("TEXT"), "exists", "have changed since they were published"),
        (published, in_disguise(edit("TEXT")), "exists", "have changed since they were published"),
        (published, in_disguise(replaced("TEXT")), "exists", "have changed since they were published"),
        (imported, beside(remove(0)), "exists", "is gone"),
        (imported, edit("TEXT"), "digest", "have changed since they were imported"),
    ],
)
def test_what_is_surely_gone_or_changed_is_lost(
    folder: Path, make: Callable[[Path], Artifact], spoil: Spoil, verify: Verify, words: str
) -> None:
    artifact = make(folder)
    spoil(folder)
    assert words in str(loss(artifact, verify))


@pytest.mark.parametrize("spoil", [edit("text"), replaced("text")])
def test_what_was_written_again_with_the_same_content_is_not_lost(folder: Path, spoil: Spoil) -> None:
    artifact = published(folder)
    spoil(folder)
    assert tree_look(folder).stamp != artifact.files.stamp  # type: ignore[union-attr]
    assert look(artifact, "exists") == Look(problem=None, stamp=tree_look(folder).stamp)


def test_files_are_not_read_when_nobody_wrote_them(folder: Path) -> None:
    stamp = tree_look(folder).stamp
    artifact = Examples(uri=str(folder), files=FileSummary(count=1, bytes=4, digest="not theirs", stamp=stamp))
    assert loss(artifact, "exists") is None
    assert "have changed" in str(loss(artifact, "digest"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_files_of_another_user_are_read(folder: Path) -> None:
    os.chown(folder, 65534, 65534)
    stamp = tree_look(folder).stamp
    artifact = Examples(uri=str(folder), files=FileSummary(count=1, bytes=4, digest="not theirs", stamp=stamp))
    assert "have changed" in str(loss(artifact, "exists"))


def test_files_of_an_earlier_version_are_read(folder: Path) -> None:
    artifact = Examples(uri=str(folder), files=replace(tree_summary(folder), stamp=""))
    assert loss(artifact, "exists") is None
    edit("TEXT")(folder)
    assert "have changed" in str(loss(artifact, "exists"))


@pytest.mark.parametrize(
    ("make", "spoil", "error", "words"),
    [
        (published, empty(3), TransientError, "root/Make is missing, so its disk may not be mounted. Mount it"),
        (published, remove(4), TransientError, "root/Make is missing"),
        (imported, empty(1), TransientError, "examples is empty, so its disk may not be mounted"),
        (imported, remove(1), TransientError, "examples is missing"),
        (imported, empty(0), TransientError, "7 is empty"),
        (published, link("/proc/self/mem"), TransientError, r"is out of reach: \[Errno 5\]"),
        (published, link("file"), InvalidInputError, r"is out of reach: \[Errno 40\]"),
        (published, link("/no/such/disk"), InvalidInputError, r"is out of reach: \[Errno 2\]"),
    ],
)
def test_what_may_come_back_is_out_of_reach(
    folder: Path, make: Callable[[Path], Artifact], spoil: Spoil, error: type[MlpipeError], words: str
) -> None:
    artifact = make(folder)
    spoil(folder)
    if artifact.files:  # so that the content is read although a device has no size
        artifact = replace(artifact, files=replace(artifact.files, bytes=0))
    with pytest.raises(error, match=words):
        loss(artifact, "digest")


@pytest.mark.parametrize("level", range(5))
def test_what_this_user_may_not_enter_is_out_of_reach(folder: Path, level: int) -> None:
    artifact = published(folder)
    with closed([folder, *folder.parents][level]), pytest.raises(InvalidInputError, match="Let this user read it"):
        loss(artifact, "exists")
    assert loss(artifact, "exists") is None
