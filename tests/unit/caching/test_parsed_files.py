"""What files import is remembered on disk, by content; whatever is wrong with the file, parsing goes on."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlpipe.caching import parsed_files
from airflow_provider_mlpipe.caching.parsed_files import ParsedFiles


def never() -> list[Any]:
    raise AssertionError("parsed again")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "parsed"


def remember(folder: Path, digest: str, value: str) -> ParsedFiles:
    files = ParsedFiles(folder)
    assert files.get(digest, lambda: [value]) == [value]
    files.keep()
    return files


def test_another_process_finds_what_was_parsed(folder: Path) -> None:
    first = remember(folder, "a", "of a")
    assert first.get("a", never) == ["of a"]
    remember(folder, "b", "of b")
    later = ParsedFiles(folder)
    assert [later.get(digest, never) for digest in "ab"] == [["of a"], ["of b"]]
    assert first.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [first.path.name]


def test_nothing_is_written_if_nothing_is_new(folder: Path) -> None:
    path = remember(folder, "a", "of a").path
    before = path.stat()
    again = ParsedFiles(folder)
    again.get("a", never)
    again.keep()
    assert path.stat() == before


@pytest.mark.parametrize("content", ["", "nonsense", "[1]", '{"a": ', "\0"])
def test_a_damaged_file_is_replaced(folder: Path, content: str) -> None:
    path = remember(folder, "a", "of a").path
    path.write_text(content)
    remember(folder, "a", "anew")
    assert json.loads(path.read_text()) == {"a": ["anew"]}


def test_a_folder_that_others_can_write_is_not_read(folder: Path) -> None:
    remember(folder, "a", "theirs")
    folder.chmod(0o777)
    remember(folder, "a", "ours")


def test_a_place_where_nothing_can_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remember(tmp_path / "file" / "folder", "a", "of a")


def test_no_temporary_folder_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none_found)
    files = parsed_files.of_this_user()
    assert files.get("a", lambda: ["of a"]) == ["of a"]
    files.keep()
    assert not files.path.exists()


def test_it_does_not_grow_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed_files, "_MOST", 3)
    for digest in "abcd":
        path = remember(folder, digest, digest).path
    assert json.loads(path.read_text()) == {"d": ["d"]}
