"""Where the files of artifacts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_mlpipe.artifacts import Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.layout import file_of


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["schema.pbtxt"], "schema.pbtxt"),
        (["schema.pbtxt", "notes.txt"], "schema.pbtxt"),
        (["mine.pbtxt"], "mine.pbtxt"),
        (["mine.pbtxt", ".DS_Store"], "mine.pbtxt"),
    ],
)
def test_the_file_in_a_folder(files: list[str], found: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert file_of(Schema(uri=str(tmp_path))) == tmp_path / found


def test_a_file_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.pbtxt").touch()
    assert file_of(Schema(uri=str(tmp_path / "mine.pbtxt"))) == tmp_path / "mine.pbtxt"


@pytest.mark.parametrize("files", [[], ["one.pbtxt", "other.pbtxt"]])
def test_one_of_several_files_is_not_guessed(files: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InvalidInputError, match=rf"schema\.pbtxt does not exist, and .* has {len(files)} other files"):
        file_of(Schema(uri=str(tmp_path)))
