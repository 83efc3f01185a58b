"""Content digests (sha256 in hex) of files and directories."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from airflow_provider_mlpipe.artifacts import FileSummary

_CHUNK = 1 << 20


def text_digest(text: str) -> str:
    """sha256 of the text's UTF-8 bytes."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_digest(files: Iterable[tuple[str, str]]) -> str:
    """sha256 over sorted (relative path, sha256) pairs: it depends only on the names and contents."""
    digest = hashlib.sha256()
    for name, content in sorted(files):
        encoded = os.fsencode(name)  # a file's name may not be valid text
        digest.update(b"%d:%s=%s\n" % (len(encoded), encoded, content.encode()))
    return digest.hexdigest()


def tree_digest(root: Path) -> str:
    """`files_digest` of all files below a directory. Follows symbolic links; raises OSError, also for a loop."""
    return files_digest((path.relative_to(root).as_posix(), file_digest(path)) for path in _files(root))


def tree_summary(root: Path) -> FileSummary:
    """The number of files below a directory, their total size, and the `tree_digest`; raises OSError."""
    count, size = tree_size(root)
    return FileSummary(count=count, bytes=size, digest=tree_digest(root))


def tree_size(root: Path) -> tuple[int, int]:
    """The number of files below a directory and their total size in bytes; reads no file. Raises OSError."""
    sizes = [path.stat().st_size for path in _files(root)]
    return len(sizes), sum(sizes)


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise):
        path = Path(folder)
        if path.is_symlink() and path.resolve() in [above.resolve() for above in path.parents]:
            raise OSError(f"{path} links to a folder above it")
        subfolders.sort()
        yield from (path / name for name in sorted(names))


def _raise(error: OSError) -> None:
    raise error


def path_digest(path: Path) -> str:
    """The digest of a file or directory; raises FileNotFoundError when it does not exist."""
    return tree_digest(path) if path.is_dir() else file_digest(path)
