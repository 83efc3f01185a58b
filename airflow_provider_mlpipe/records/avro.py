"""Reads Avro files (https://avro.apache.org/docs/1.12.0/specification/#object-container-files), many blocks at a time.

The process that reads cuts a file into its blocks; the one that works decompresses and decodes them.
"""

from __future__ import annotations

import bz2
import contextlib
import io
import json
import lzma
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import fastavro
import pyarrow as pa
from isal import isal_zlib

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.avro_schema import AvroColumn, columns_of_schema, values_at, without_logical_types
from airflow_provider_mlpipe.records.batches import of_columns
from airflow_provider_mlpipe.records.gzipped import BROKEN
from airflow_provider_mlpipe.records.table_columns import feature_types
from airflow_provider_mlpipe.records.tables import Described, unreadable

CHUNK_BYTES = 2 << 20
CHUNK_ROWS = 16_000
"""As many blocks are a chunk as have this many bytes in the file, or rows."""

MOST_BLOCK_BYTES = 256 << 20
"""How large a block may become when it is decompressed. Writers make blocks of kilobytes, or of one large record."""

_DECOMPRESSORS: Mapping[str, Callable[[], Any]] = {
    "deflate": lambda: isal_zlib.decompressobj(wbits=-15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}
"""Those of Python; Avro's other codecs are for fastavro, with libraries that the user installs."""
_TOO_LARGE = f"it has more than {MOST_BLOCK_BYTES >> 20} MiB when it is decompressed"

_SYNC = 16  # bytes of the marker that ends the header and each block
_BROKEN: Any = (
    *BROKEN, lzma.LZMAError, OSError, MemoryError,
    ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeError,
)  # fmt: skip
_AGAIN = "create the file again from its source"


@dataclass(frozen=True, kw_only=True)
class _Block:
    """A block as the file holds it: `content` is compressed records, with their number and the block's place before."""

    offset: int
    rows: int
    content: bytes


@dataclass(frozen=True, kw_only=True)
class AvroRows:
    """Some blocks of the file `where`; `rows_before` is how many of its rows come before them."""

    where: str
    rows_before: int
    schema: Any
    codec: str
    blocks: tuple[_Block, ...]

    @cached_property
    def rows(self) -> pa.RecordBatch:
        """The rows as columns of leaves. Raises InvalidInputError, with the place of the block, for a corrupt one."""
        try:
            records = self._decoded(self.blocks)
        except InvalidInputError:
            for block in self.blocks:  # to name the corrupt one
                self._decoded([block])
            raise
        columns = columns_of_schema(self.schema, self.where)
        return of_columns({column.name: self._column(column, records) for column in columns}, len(records))

    def _decoded(self, blocks: Sequence[_Block]) -> list[Mapping[str, Any]]:
        plain = without_logical_types(self.schema)
        known = self.codec in _DECOMPRESSORS
        some = [_decompressed(block, self.codec, self.where) for block in blocks] if known else blocks
        try:
            found: list[Any] = list(fastavro.reader(io.BytesIO(_file_of(plain, "null" if known else self.codec, some))))
        except _BROKEN as error:
            raise _corrupt(self.where, blocks[0].offset, _said(error)) from error
        if len(found) != _rows(blocks):
            raise _corrupt(self.where, blocks[0].offset, f"it has {len(found)} rows instead of {_rows(blocks)}")
        return found

    def _column(self, column: AvroColumn, records: list[Mapping[str, Any]]) -> pa.Array:
        try:
            return column.array(values_at(records, column.path))
        except (pa.ArrowException, OverflowError) as error:
            rows = f"rows {self.rows_before + 1:,} to {self.rows_before + len(records):,}"
            raise InvalidInputError(
                f"{self.where}, column {column.name!r}, {rows}: {_said(error)}; {_AGAIN}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class AvroFile:
    """An Avro file as a source of rows."""

    path: Path

    def describe(self) -> Described:
        """Read the header; raises InvalidInputError for a file that is not Avro, and for columns without a form."""
        with self.path.open("rb") as file, _disk_errors(self.path):
            header = _Header.read(file, self.path)
        columns = columns_of_schema(header.schema, str(self.path))
        kinds = [(column.name, pa.large_list(column.kind) if column.is_list else column.kind) for column in columns]
        return Described(types=feature_types(pa.schema(kinds), str(self.path)), rows=None)

    def chunks(self) -> Iterator[AvroRows]:
        """Yield the rows in order; raises InvalidInputError, with the place in bytes, where the file is cut off."""
        with self.path.open("rb") as file, _disk_errors(self.path):
            header = _Header.read(file, self.path)
            rows, some = 0, list[_Block]()
            for block in _blocks(file, header.sync, str(self.path)):
                some.append(block)
                if sum(len(each.content) for each in some) >= CHUNK_BYTES or _rows(some) >= CHUNK_ROWS:
                    yield self._rows_of(header, some, rows)
                    rows, some = rows + _rows(some), []
            if some:
                yield self._rows_of(header, some, rows)

    def _rows_of(self, header: _Header, blocks: list[_Block], rows_before: int) -> AvroRows:
        return AvroRows(
            where=str(self.path),
            rows_before=rows_before,
            schema=header.schema,
            codec=header.codec,
            blocks=tuple(blocks),
        )


@dataclass(frozen=True, kw_only=True)
class _Header:
    schema: Any
    codec: str
    sync: bytes

    @staticmethod
    def read(file: BinaryIO, path: Path) -> _Header:
        """Read the header; the file is then at its first block."""
        try:
            reader = fastavro.block_reader(file)
            end = file.tell()
            file.seek(end - _SYNC)
            return _Header(schema=reader.writer_schema, codec=reader.codec, sync=file.read(_SYNC))
        except _BROKEN as error:
            raise unreadable(error, path, f"{path} is no Avro file") from error


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreadable(error, path, str(path)) from error


def _blocks(file: BinaryIO, sync: bytes, where: str) -> Iterator[_Block]:
    end = os.fstat(file.fileno()).st_size
    while True:
        offset = file.tell()
        if not file.read(1):
            return
        file.seek(offset)
        rows, size = _read_long(file, where, offset), _read_long(file, where, offset)
        if rows < 0 or size < 0:
            raise _corrupt(where, offset, "its size is negative")
        content = file.read(min(size, end))  # a claim costs no memory
        if len(content) < size or file.read(_SYNC) != sync:
            raise _corrupt(where, offset, "it is cut off, or does not end with the file's sync marker")
        yield _Block(offset=offset, rows=rows, content=content)


def _decompressed(block: _Block, codec: str, where: str) -> _Block:
    """Decompress a block; raises InvalidInputError where it is corrupt, or would take too much memory."""
    decompressor = _DECOMPRESSORS[codec]()
    try:
        content = decompressor.decompress(block.content, MOST_BLOCK_BYTES)
    except _BROKEN as error:
        raise _corrupt(where, block.offset, _said(error)) from error
    if not decompressor.eof:
        is_full = len(content) == MOST_BLOCK_BYTES
        raise _corrupt(where, block.offset, _TOO_LARGE if is_full else "its compressed data is cut off")
    return replace(block, content=content)


def _rows(blocks: Sequence[_Block]) -> int:
    return sum(block.rows for block in blocks)


def _read_long(file: BinaryIO, where: str, offset: int) -> int:
    """Read a zigzag varint."""
    number = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise _corrupt(where, offset, "it is cut off")
        number |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return (number >> 1) ^ -(number & 1)


def _file_of(schema: Any, codec: str, blocks: Sequence[_Block]) -> bytes:
    """Return an Avro file with these blocks."""
    metadata = {"avro.schema": json.dumps(schema), "avro.codec": codec}
    entries = b"".join(_bytes(key.encode()) + _bytes(value.encode()) for key, value in metadata.items())
    sync = bytes(_SYNC)
    header = b"Obj\x01" + _long(len(metadata)) + entries + _long(0) + sync
    return header + b"".join(_long(block.rows) + _bytes(block.content) + sync for block in blocks)


def _bytes(content: bytes) -> bytes:
    return _long(len(content)) + content


def _long(number: int) -> bytes:
    """Encode a number that is not negative as a zigzag varint."""
    number *= 2
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _corrupt(where: str, offset: int, why: str) -> InvalidInputError:
    return InvalidInputError(f"{where}: the block at byte {offset:,} is corrupt: {why}; {_AGAIN}")


def _said(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
