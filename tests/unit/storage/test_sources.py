"""Input files: which ones, in which order, and what their digest is of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.sources import input_files, source_digest


def fill(base: Path, *names: str) -> None:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(name)


def test_files_are_sorted_by_their_relative_path(tmp_path: Path) -> None:
    fill(tmp_path, "b.csv", "a.csv", "sub/c.csv", ".hidden", "x.txt")
    assert input_files(str(tmp_path), "*.csv") == [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert input_files(str(tmp_path), "sub/*") == [tmp_path / "sub/c.csv"]
    assert [path.name for path in input_files(str(tmp_path), "*")] == ["a.csv", "b.csv", "x.txt"]
    assert [path.name for path in input_files(str(tmp_path), "**/*.csv")] == ["a.csv", "b.csv", "c.csv"]


def test_the_base_is_no_pattern(tmp_path: Path) -> None:
    base = tmp_path / "[2013]*"
    fill(base, "a.csv")
    assert input_files(str(base), "*") == [base / "a.csv"]


def test_no_match_says_what_is_there(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "sub/b.csv")
    words = r"no file matches '\*.csv' in input_base '.*', which contains: a.txt, sub/; correct input_base.*subfolders"
    with pytest.raises(InvalidInputError, match=words):
        input_files(str(tmp_path), "*.csv")
    fill(tmp_path, *(f"n{number:02}" for number in range(20)))
    with pytest.raises(InvalidInputError, match=r"a.txt, n00, .*, n08 and 12 more; correct"):
        input_files(str(tmp_path), "*.csv")


def test_an_empty_missing_or_wrong_base(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="which contains: nothing"):
        input_files(str(tmp_path), "*")
    with pytest.raises(InvalidInputError, match=r"input_base '.*/nowhere' is missing"):
        input_files(str(tmp_path / "nowhere"), "*")
    fill(tmp_path, "file")
    with pytest.raises(InvalidInputError, match=r"input_base '.*/file' is a file"):
        input_files(str(tmp_path / "file"), "*")


def test_the_digest_is_of_contents_in_order(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    lines = "".join(hashlib.sha256(name.encode()).hexdigest() + "\n" for name in "ab")
    assert source_digest([tmp_path / "a", tmp_path / "b"]) == hashlib.sha256(lines.encode()).hexdigest()
    assert source_digest([tmp_path / "b", tmp_path / "a"]) != source_digest([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/z").write_text("a")
    assert source_digest([tmp_path / "elsewhere/z"]) == source_digest([tmp_path / "a"])
