"""Reads text files as UTF-8: as they are, gzipped, or in another encoding."""

from __future__ import annotations

import codecs
import contextlib
import io
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from isal import igzip

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.file_kinds import HEAD_BYTES
from airflow_provider_mlpipe.records.gzipped import BROKEN, MAGIC
from airflow_provider_mlpipe.storage.disk_errors import translated

_LET_READ = "Let the Airflow worker's user read it"
_BLOCK = 1 << 20
"""How many bytes are converted at a time."""


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A file of text in `encoding`, which is gzipped if its name ends in `.gz`.

    `name` is what errors call it, if that is not its path. What reads it raises InvalidInputError, with the place, for
    gzip that is cut off or corrupt, and for a byte that is not valid in an encoding other than UTF-8. Bytes that are
    not valid UTF-8 are left to the reader.
    """

    path: Path
    encoding: str = "utf-8"
    name: str | None = None

    def __str__(self) -> str:
        return self.name or str(self.path)

    @property
    def is_gzipped(self) -> bool:
        """Whether its name says so."""
        return self.path.suffix.lower() == ".gz"

    @property
    def is_utf8(self) -> bool:
        """Whether no byte needs to be converted, once it is decompressed."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    def head(self) -> bytes:
        """Return the first bytes, decompressed, in the file's own encoding."""
        with contextlib.closing(self._content()) as content:
            return next(content, b"")[:HEAD_BYTES]

    def open(self) -> TextIO:
        """Open it for the csv module. Bytes that are not valid UTF-8 become lone surrogates."""
        if self.is_utf8 and not self.is_gzipped:
            return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        stream = io.BufferedReader(_Stream(self._in_utf8()))
        return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")

    @contextlib.contextmanager
    def plain(self) -> Iterator[TextFile]:
        """The same text in a file in UTF-8 that is not gzipped: this one, or one in the temporary folder."""
        if self.is_utf8 and not self.is_gzipped:
            yield self
            return
        with tempfile.NamedTemporaryFile(prefix="mlpipe-text-") as file:
            for block in self._in_utf8():
                file.write(block)
            file.flush()
            yield TextFile(path=Path(file.name), name=str(self))

    def _in_utf8(self) -> Iterator[bytes]:
        if self.is_utf8:
            yield from self._content()
            return
        decoder = _Decoder(self)
        for block in self._content():
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)

    def _content(self) -> Generator[bytes, None, None]:
        """Yield the bytes, decompressed."""
        count = 0
        with self.path.open("rb") as raw:
            if self.is_gzipped and not raw.peek(len(MAGIC)).startswith(MAGIC):
                raise InvalidInputError(f"{self} is called .gz, but is not gzipped; gzip it, or rename it")
            file: Any = igzip.open(raw) if self.is_gzipped else raw
            while True:
                try:
                    block = file.read(_BLOCK)
                except BROKEN as error:
                    raise InvalidInputError(
                        f"{self}: gzip is cut off or corrupt, somewhere after {count:,} bytes of text ({error}); "
                        "create the file again from its source"
                    ) from error
                except OSError as error:
                    raise translated(error, f"{self} cannot be read", _LET_READ) from error
                if not block:
                    return
                yield block
                count += len(block)


class _Decoder:
    """Converts the blocks of a file to UTF-8."""

    def __init__(self, file: TextFile) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(file.encoding)()
        self._bytes = self._newlines = self._returns = 0

    def decode(self, block: bytes, *, final: bool = False) -> bytes:
        """Convert a block; raises InvalidInputError, with line and byte, for a byte that is not valid."""
        before = self._decoder.getstate()
        try:
            text = self._decoder.decode(block, final).encode()
        except UnicodeError:
            self._decoder.setstate(before)
            raise self._fault(block) from None
        self._count(text, len(block))
        return text

    def _count(self, text: bytes, length: int) -> None:
        self._bytes += length
        self._newlines += text.count(b"\n")
        self._returns += text.count(b"\r")

    def _fault(self, block: bytes) -> InvalidInputError:
        """Decode byte by byte, up to the one that is not valid."""
        said = ""
        try:
            for byte in block:
                self._count(self._decoder.decode(bytes([byte])).encode(), 1)
            self._decoder.decode(b"", final=True)
        except UnicodeError as error:
            said = getattr(error, "reason", None) or str(error)
        line = 1 + max(self._newlines, self._returns)
        return InvalidInputError(
            f"{self._file}: line {line}, near byte {self._bytes + 1:,}: the text is not valid {self._file.encoding} "
            f"({said}); give the encoding that it has"
        )


class _Stream(io.RawIOBase):
    """A file of what an iterator yields."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = filter(None, blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or memoryview(next(self._blocks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
