"""What another user may have made is not used."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from other_user import UID, needs_root

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage import private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def linked(path: Path) -> None:
    """A link to what would be fine itself."""
    path.rename(path.with_name("target"))
    path.symlink_to(path.with_name("target"))


OTHERS: list[tuple[Callable[[Path], None], str]] = [
    (linked, "is a link: remove it"),
    (lambda path: path.chmod(0o777), "others may write in "),
    (lambda path: path.chmod(0o720), "others may write in "),
]


def test_a_new_folder_is_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        private.make_folder(tmp_path / "a" / "b")
        private.make_folder(tmp_path / "a" / "c", 0o711)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a" / "b"), mode(tmp_path / "a" / "c")) == (0o700, 0o711)


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    private.make_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o700


@pytest.mark.parametrize(("spoil", "says"), OTHERS)
def test_a_folder_that_may_be_others_is_refused(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    (tmp_path / "a").mkdir()
    spoil(tmp_path / "a")
    with pytest.raises(InvalidInputError, match=re.escape(says)):
        private.make_folder(tmp_path / "a")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch(mode=0o600)
    with pytest.raises(InvalidInputError, match="a is not a folder"):
        private.make_folder(tmp_path / "a")


def test_a_folder_whose_place_others_may_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(InvalidInputError, match=r"everybody may replace what is in .*/open"):
        private.make_folder(tmp_path / "open" / "a")
    (tmp_path / "open").chmod(0o1777)  # as /tmp
    private.make_folder(tmp_path / "open" / "a")


@pytest.mark.parametrize("how", ["w", "r", "a"])
@pytest.mark.parametrize(("spoil", "says"), OTHERS)
def test_a_file_that_may_be_others_is_refused(
    tmp_path: Path, how: str, spoil: Callable[[Path], None], says: str
) -> None:
    (tmp_path / "a").write_text("secret")
    spoil(tmp_path / "a")
    with pytest.raises(InvalidInputError, match=re.escape(says)):
        private.opened(tmp_path / "a", how)


def test_a_file_is_for_this_user_alone(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("was readable")
    (tmp_path / "old").chmod(0o644)
    for name in ("old", "new"):
        with private.opened(tmp_path / name, "w") as file:
            file.write("secret")
        assert mode(tmp_path / name) == 0o600


@needs_root
def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch(mode=0o600)
    for name in ("folder", "file"):
        os.chown(tmp_path / name, UID, UID)
    with pytest.raises(InvalidInputError, match=f"folder belongs to user {UID}, so what is in it may be theirs"):
        private.make_folder(tmp_path / "folder")
    with pytest.raises(InvalidInputError, match=f"file belongs to user {UID}"):
        private.opened(tmp_path / "file", "r")
