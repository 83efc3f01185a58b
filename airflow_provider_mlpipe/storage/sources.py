"""Input files: which ones a pattern names, and what they hold.

The driver hashes them for the fingerprint, the executor reads them: both ask here, so that they mean the same files in
the same order.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.digests import file_digest, text_digest

_SHOWN = 10


def input_files(input_base: str, pattern: str) -> list[Path]:
    """Return the files in `input_base` that match the glob `pattern`, sorted by their path relative to it.

    `*` and `?` leave out hidden files, `**` descends. Raises InvalidInputError, saying what is there, when there are
    none.
    """
    base = Path(input_base)
    if not base.is_dir():
        raise InvalidInputError(
            f"input_base {input_base!r} is {'a file' if base.exists() else 'missing'}; give a folder"
        )
    matches = sorted(glob.glob(pattern, root_dir=base, recursive=True))
    files = [path for match in matches if (path := base / match).is_file()]
    if not files:
        raise InvalidInputError(
            f"no file matches {pattern!r} in input_base {input_base!r}, which holds {_content(base)}"
        )
    return files


def source_digest(files: Iterable[Path]) -> str:
    """Return the digest of what `files` hold, in this order; where they are and what they are called does not count.

    Raises OSError.
    """
    return text_digest("".join(f"{file_digest(path)}\n" for path in files))


def _content(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"
