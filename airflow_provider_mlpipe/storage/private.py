"""Files and folders that only this user can have made: secrets and code are read there."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path
from typing import IO, Any

from airflow_provider_mlpipe.exceptions import InvalidInputError

_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Create the folder, or give the one that is there the mode; its missing parents get the usual mode.

    Raises OSError, and InvalidInputError when it belongs to another user, others may write there or in a folder above,
    or it is a link: what is in it may be theirs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        _refuse(path, path.lstat())
        if not path.is_dir():
            raise InvalidInputError(f"{path} is not a folder: choose another one") from None
    for above in path.absolute().parents:
        found = above.stat().st_mode
        if found & stat.S_IWOTH and not found & stat.S_ISVTX:
            raise InvalidInputError(f"everybody may replace what is in {above}: choose another folder than {path}")
    path.chmod(mode)  # mkdir's mode is subject to the umask


def opened(path: Path, mode: str) -> IO[Any]:
    """Open a text file that only this user may read and write; a new one is made so.

    Raises OSError, and InvalidInputError for a file of another user, one that others may write, and a link.
    """
    return open(path, mode, opener=_opener, encoding="utf-8")


def _opener(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InvalidInputError(f"{path} is a link: remove it") from error
        raise
    try:
        _refuse(Path(path), os.fstat(descriptor))
        os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse(path: Path, found: os.stat_result) -> None:
    """Raise InvalidInputError if somebody else can have written it."""
    if stat.S_ISLNK(found.st_mode):
        raise InvalidInputError(f"{path} is a link: remove it, or name the folder that it leads to")
    if found.st_uid != os.geteuid():
        raise InvalidInputError(
            f"{path} belongs to user {user_name(found.st_uid)}, so what is in it may be theirs: start as that user, or "
            "choose another folder"
        )
    if found.st_mode & _OF_OTHERS:
        raise InvalidInputError(
            f"others may write in {path}, so what is in it may be theirs: remove it, or look what is in it and run "
            f"`chmod go-w {path}`"
        )


def user_name(uid: int) -> str:
    """The name of a user; in a container it may have only a number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
