from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_mlpipe.caching.reads import changes, from_struct, read_now, to_struct


def _rewrite_with_old_times(path: Path) -> None:
    before = path.stat()
    path.write_text("b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("name", "change", "how"),
    [
        ("file", lambda folder: None, None),
        ("file", lambda folder: (folder / "file").touch(), None),
        ("file", lambda folder: (folder / "file").write_text("other"), "changed"),
        ("file", lambda folder: _rewrite_with_old_times(folder / "file"), "changed"),
        ("file", lambda folder: (folder / "file").unlink(), "is gone"),
        ("none", lambda folder: None, None),
        ("none", lambda folder: (folder / "none").write_text(""), "is new"),
        (".", lambda folder: (folder / "file").write_text("other"), None),
        (".", lambda folder: (folder / "__pycache__").mkdir(), None),
        (".", lambda folder: (folder / "another").touch(), "changed"),
    ],
)
def test_what_has_changed_since(tmp_path: Path, name: str, change: Callable[[Path], object], how: str | None) -> None:
    (tmp_path / "file").write_text("a")
    path = str(tmp_path / name)
    stored = to_struct([read_now(path)])
    change(tmp_path)
    assert list(changes(from_struct(stored), {})) == ([f"{path}, which its code reads, {how}"] if how else [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: None, None),
        (lambda folder: (folder / "old" / "file").unlink(), None),
        (lambda folder: (folder / "new" / "file").write_text("other"), "new/file, which its code reads, changed"),
        (lambda folder: (folder / "new" / "file").unlink(), "new/file, which its code reads, is gone"),
        (lambda folder: (folder / "old" / "file").write_text("other"), "old/file, which its code reads, changed"),
    ],
)
def test_what_is_beside_code_is_looked_for_beside_it(
    tmp_path: Path, change: Callable[[Path], object], told: str | None
) -> None:
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "file").write_text("a")
    read = read_now(str(tmp_path / "old" / "file")).in_folders({"root": str(tmp_path), "code": str(tmp_path / "old")})
    assert (read.below, read.place) == ("code", "file")
    change(tmp_path)
    now = {"root": str(tmp_path), "code": str(tmp_path / "new")}
    assert list(changes(from_struct(to_struct([read])), now)) == ([f"{tmp_path}/{told}"] if told else [])
