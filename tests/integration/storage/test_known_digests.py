"""A file that has not changed is not read again, however large it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.storage.digests import file_digest
from airflow_provider_mlpipe.storage.known_digests import KnownDigests


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    return path


class Clock:
    """The time, as the code under test reads it: some seconds after now."""

    def __init__(self, seconds: float) -> None:
        self.offset = int(seconds * 1e9)

    def time_ns(self) -> int:
        import time

        return time.time_ns() + self.offset


def later(monkeypatch: pytest.MonkeyPatch, seconds: float = 60) -> None:
    monkeypatch.setattr("airflow_provider_mlpipe.storage.known_digests.time", Clock(seconds))


def remembered(store: MetadataStore, path: Path) -> Any:
    digests = KnownDigests(store, [path])
    return next(iter(digests._known.values()), None)


def test_the_digest_of_an_unchanged_file_is_remembered(
    store: MetadataStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch)
    first = KnownDigests(store, [file])
    assert first.of(file) == file_digest(file)
    assert remembered(store, file) is None
    first.remember()
    stamp, digest = remembered(store, file)
    assert digest == file_digest(file)
    (key,) = KnownDigests(store, [file])._known
    store.remember_file_digests({key: (stamp, "what the store says")})
    assert KnownDigests(store, [file]).of(file) == "what the store says"  # so the file was not read


@pytest.mark.parametrize("change", ["content", "size", "replaced", "touched"])
def test_a_file_that_has_changed_in_any_way_is_read(
    change: str, store: MetadataStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch)
    first = KnownDigests(store, [file])
    before, times = first.of(file), file.stat()
    first.remember()
    if change == "replaced":
        (file.parent / "other").write_text("a,b\n9,2\n")
        os.replace(file.parent / "other", file)
    elif change == "touched":
        file.touch()
    else:
        file.write_text("a,b\n9,2\n" if change == "content" else "a,b\n1,2\n3,4\n")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # who writes can set this time, but not the ctime
    after = KnownDigests(store, [file])
    assert after.of(file) == file_digest(file)
    assert (after.of(file) == before) == (change == "touched")
    after.remember()
    assert remembered(store, file)[1] == file_digest(file)


def test_a_file_that_was_just_written_is_not_remembered(store: MetadataStore, file: Path) -> None:
    digests = KnownDigests(store, [file])
    os.utime(file)
    assert digests.of(file) == file_digest(file)
    digests.remember()
    assert remembered(store, file) is None


def test_paths_of_any_length_and_bytes(store: MetadataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monkeypatch)
    folder = tmp_path / ("long" * 50) / ("longer" * 40) / os.fsdecode(b"\xff\xfe")
    folder.mkdir(parents=True)
    files = [folder / f"{number}.csv" for number in range(300)]
    for path in files:
        path.write_text(path.name)
    digests = KnownDigests(store, files)
    found = [digests.of(path) for path in files]
    digests.remember()
    assert [KnownDigests(store, files).of(path) for path in files] == found == list(map(file_digest, files))
    KnownDigests(store, []).remember()
