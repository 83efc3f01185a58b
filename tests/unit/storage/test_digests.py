from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from airflow_provider_mlpipe.storage.digests import file_digest, path_digest, text_digest, tree_digest


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (3 << 20))
    assert file_digest(path) == hashlib.sha256(b"x" * (3 << 20)).hexdigest()
    assert path_digest(path) == file_digest(path)
    assert text_digest("é") == hashlib.sha256("é".encode()).hexdigest()


def test_tree_digest_knows_names_and_contents_but_not_the_place(tmp_path: Path) -> None:
    files = {"a": "1", "b/c": "2"}
    first = tree_digest(write(tmp_path / "first", files))
    assert tree_digest(write(tmp_path / "second", files)) == first
    assert tree_digest(write(tmp_path / "content", files | {"a": "3"})) != first
    assert tree_digest(write(tmp_path / "name", {"a": "1", "b/d": "2"})) != first
    assert tree_digest(write(tmp_path / "more", files | {"e": ""})) != first


def test_links_are_followed_and_loops_are_refused(tmp_path: Path) -> None:
    real = write(tmp_path / "real", {"f": "1"})
    tree = write(tmp_path / "tree", {"a": "1"})
    (tree / "d").symlink_to(real)
    before = tree_digest(tree)
    (real / "f").write_text("2")
    assert tree_digest(tree) != before
    (real / "loop").symlink_to(tree)
    with pytest.raises(OSError, match="links to a folder above it"):
        tree_digest(tree)


def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    assert tree_digest(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_file_is_an_error(tmp_path: Path, kind: str) -> None:
    """A pipe without a writer would wait for ever, and some devices never end."""
    path = tmp_path / "odd"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    for digest, where in ((tree_digest, tmp_path), (path_digest, path)):
        with pytest.raises(OSError, match=r"odd is not a regular file|No such device or address"):
            digest(where)


def test_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        path_digest(tmp_path / "nothing")
