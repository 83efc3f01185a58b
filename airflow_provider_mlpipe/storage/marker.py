"""The marker of a pipeline_root: a file that says which metadata store the root belongs to."""

from __future__ import annotations

import errno
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_provider_mlpipe.exceptions import TransientError

NAME = ".mlpipe-store.json"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True, kw_only=True)
class Marker:
    """The id of the store, and the first execution that found the root marked.

    What executions before that one made was there when the root got its marker, so it may belong to another store.
    """

    store: str
    from_execution: int


def read(root: Path) -> Marker | None:
    """Return the marker of a root, or None; raises OSError, and TransientError for a marker that is not complete."""
    path = root / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return Marker(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise TransientError(
            f"{path} is not complete: {error}. Another task may be writing it; if it stays so, remove it"
        ) from error


def write(root: Path, marker: Marker) -> Marker:
    """Write the marker unless there is one; return the one that is there then. Raises OSError.

    It appears complete or not at all, except on a file system without hard links.
    """
    path, temporary = root / NAME, root / f"{NAME}.{uuid.uuid4().hex}"
    try:
        _write(temporary, marker)
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _write_in_place(path, marker)
    finally:
        temporary.unlink(missing_ok=True)
    return read(root) or write(root, marker)  # None: somebody has removed it meanwhile


def _write_in_place(path: Path, marker: Marker) -> None:
    try:
        _write(path, marker)
    except FileExistsError:
        return


def _write(path: Path, marker: Marker) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(asdict(marker)) + "\n")
        file.flush()
        os.fsync(file.fileno())
