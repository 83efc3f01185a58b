"""Where the files of artifacts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_mlpipe.artifacts import Examples, Model, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.layout import (
    base_model,
    file_of,
    output_uri,
    select_splits,
    sidecar_folder,
    split_folder,
)


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


@pytest.mark.parametrize("name", ["x/../../../../escaped", "..", ".", "", "a/b", "a\0b", "a\nb", "é" * 101])
def test_a_name_that_leads_elsewhere_is_no_part_of_a_path(name: str) -> None:
    examples = Examples(uri="/root/gen/examples/1", properties={"splits": [name]})
    uses = [
        lambda: split_folder(examples, name),
        lambda: sidecar_folder(examples, name),
        lambda: select_splits(examples, [], "exclude_splits"),
        lambda: output_uri("/root", name, "examples", 1),
    ]
    for use in uses:
        with pytest.raises(InvalidInputError, match=r"the (split|component) .* (cannot|has|is longer)"):
            use()


@pytest.mark.parametrize("name", ["train", "Köln, 2024-01", "a b.c", "...", "é" * 100])
def test_other_names_are(name: str) -> None:
    examples = Examples(uri="/root/gen/examples/1")
    assert split_folder(examples, name).parent == Path("/root/gen/examples/1")
    assert sidecar_folder(examples, name).parent == Path("/root/gen/examples/1")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["Format-Serving/saved_model.pb", "Format-TFMA/saved_model.pb"], "Format-Serving"),
        (["base.keras"], "base.keras"),
        (["base.keras", ".DS_Store"], "base.keras"),
        (["base.keras", "README.md"], ""),
        (["saved_model.pb", "variables/variables.index"], ""),
        (["variables/variables.index"], ""),
    ],
)
def test_what_a_training_can_start_from(files: list[str], found: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert base_model(Model(uri=str(tmp_path))) == tmp_path / found
