"""Input files: finds the files that match a pattern, and computes their digest.

The driver hashes them for the fingerprint, and the executor reads them. Both use this module, so they get the same
files in the same order.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.digests import file_digest, text_digest

_SHOWN = 10
_DEEPER = " ('**/*' looks into subfolders)"


def input_files(input_base: str, pattern: str) -> list[Path]:
    """Return the files in `input_base` that match the glob `pattern`, sorted by their path relative to it.

    `*` and `?` do not match hidden files; `**` matches subfolders. Raises InvalidInputError when no file matches; the
    message lists what is there.
    """
    base = folder_with_inputs(input_base)
    matches = sorted(glob.glob(pattern, root_dir=base, recursive=True))
    files = [path for match in matches if (path := base / match).is_file()]
    if not files:
        raise no_match(base, input_base, pattern)
    return files


def folder_with_inputs(input_base: str) -> Path:
    """Return the folder; raises InvalidInputError when it is none."""
    base = Path(input_base)
    if not base.is_dir():
        raise InvalidInputError(
            f"input_base {input_base!r} is {'a file' if base.exists() else 'missing'}; give a folder"
        )
    return base


def no_match(base: Path, input_base: str, pattern: str) -> InvalidInputError:
    """The error for a pattern that matches no file; it lists what is there."""
    return InvalidInputError(
        f"no file matches {pattern!r} in input_base {input_base!r}, which contains: {_content(base)}; correct "
        f"input_base, or the pattern in input_config{_DEEPER * any(path.is_dir() for path in base.iterdir())}"
    )


def source_digest(files: Iterable[Path], digest_of: Callable[[Path], str] = file_digest) -> str:
    """Return the digest of the files' contents, in this order; their names and folders do not count.

    Raises OSError.
    """
    return text_digest("".join(f"{digest_of(path)}\n" for path in files))


def _content(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"
