"""Content digests (sha256 in hex) of files and directories."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from airflow_provider_mlpipe.artifacts import FileSummary

_CHUNK = 1 << 20


def text_digest(text: str) -> str:
    """sha256 of the text's UTF-8 bytes."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes; raises OSError, also for a pipe, device or socket: to read it might never end."""
    digest = hashlib.sha256()
    with open(path, "rb", opener=_open_file) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _open_file(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)  # so that a pipe does not wait for its writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


def files_digest(files: Iterable[tuple[str, str]]) -> str:
    """sha256 over sorted (relative path, sha256) pairs: it depends only on the names and contents."""
    digest = hashlib.sha256()
    for name, content in sorted(files):
        encoded = os.fsencode(name)  # a file's name may not be valid text
        digest.update(b"%d:%s=%s\n" % (len(encoded), encoded, content.encode()))
    return digest.hexdigest()


def tree_digest(root: Path) -> str:
    """`files_digest` of all files below a directory. Follows symbolic links; raises OSError, also for a loop."""
    return files_digest(file_digests(root).items())


def file_digests(root: Path) -> dict[str, str]:
    """The `file_digest` of each file below a directory, by its path there; follows links, raises as `tree_digest`."""
    return {path.relative_to(root).as_posix(): file_digest(path) for path in _files(root)}


def tree_summary(root: Path) -> FileSummary:
    """The files below a directory; raises what `tree_digest` raises.

    Whoever writes to one of them while it is read changes the stamp, which is taken before.
    """
    look = tree_look(root)
    return replace(look, digest=tree_digest(root))


def tree_look(root: Path) -> FileSummary:
    """The summary without a digest: it reads no file. Raises OSError.

    The stamp is made of each file's name and `file_stamp`.
    """
    stats = {path.relative_to(root).as_posix(): path.stat() for path in _files(root)}
    stamps = ((name, file_stamp(s)) for name, s in stats.items())
    size = sum(s.st_size for s in stats.values())
    return FileSummary(count=len(stats), bytes=size, digest="", stamp=files_digest(stamps))


def file_stamp(stat: os.stat_result) -> str:
    """What changes whenever somebody writes, replaces or moves a file: its inode, size and times.

    Only root can set the change time (ctime), and only by the machine's clock.
    """
    return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


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
