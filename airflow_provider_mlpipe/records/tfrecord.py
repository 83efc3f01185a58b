"""TFRecord files, gzipped: framing, checksums, a writer that hashes while it writes, a reader that checks.

One record is framed as (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details)::

    uint64 length, little endian
    uint32 masked CRC-32C of the length
    byte   data[length]
    uint32 masked CRC-32C of the data

with `masked(crc) = ((crc >> 15) | (crc << 17)) + 0xa282ead8`, modulo 2**32.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import google_crc32c
from isal import igzip, isal_zlib

from airflow_provider_mlpipe.exceptions import InvalidInputError

FILE_NAME = "data_tfrecord-00000-of-00001.gz"
"""The only shard of a split, named as TFX names it."""

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_GZIP = 31  # zlib's window bits for a gzip container; its header then holds no time, so equal records give equal bytes
_BROKEN: Any = (EOFError, OSError, zlib.error, isal_zlib.error)  # isal's stubs take its error for an instance


def examples_digest(splits: Mapping[str, str]) -> str:
    """Return the content digest of an Examples artifact from {split: `TFRecordWriter.digest` of its records}.

    It is sha256 over the lines `<split> <digest>`, in the order of the names.
    """
    lines = "".join(f"{name} {splits[name]}\n" for name in sorted(splits))
    return hashlib.sha256(lines.encode()).hexdigest()


class TFRecordWriter:
    """Writes one gzipped TFRecord file. Compression and hashing run in a thread of their own.

    `count` is the number of records written; `digest` is the hex sha256 of the uncompressed file, whose frames hold
    every record and its length in order. Both are final once the writer is closed. Errors of the disk come from
    `write` or `close` as OSError.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._hash = hashlib.sha256()
        self._compressor = isal_zlib.compressobj(level=2, wbits=_GZIP)
        self._file = path.open("wb")
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> TFRecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def digest(self) -> str:
        """The hex sha256 of what was written, uncompressed."""
        return self._hash.hexdigest()

    def write(self, records: Sequence[bytes]) -> None:
        """Append `records`. At most one earlier block still waits for the thread, so memory stays flat."""
        self.count += len(records)
        block = frame(records)
        self._wait()
        self._pending = self._thread.submit(self._append, block)

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if self._file.closed:
            return
        with self._file, self._thread:
            self._wait()
            self._file.write(self._compressor.flush())

    def _append(self, block: bytes) -> None:
        self._hash.update(block)
        self._file.write(self._compressor.compress(block))

    def _wait(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()


def frame(records: Sequence[bytes]) -> bytes:
    """Return `records` as an uncompressed TFRecord file holds them."""
    headers = map(_header, map(len, records))
    footers = map(_CRC.pack, map(_masked_crc, records))
    return b"".join(itertools.chain.from_iterable(zip(headers, records, footers, strict=True)))


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a gzipped TFRecord file, one at a time, each checked against its checksum.

    Raises InvalidInputError that names the file and the record (the first is 1) where it is cut off or corrupt.
    """
    number = 1
    with igzip.open(path) as file:
        try:
            while (record := _read_record(file)) is not None:
                yield record
                number += 1
        except _BROKEN as error:
            raise InvalidInputError(
                f"{path}: record {number} is corrupt ({error}); make the file anew from its source"
            ) from error


def _read_record(file: IO[bytes]) -> bytes | None:
    header = file.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise EOFError("the file ends within its header")
    length, crc = _HEADER.unpack(header)
    if crc != _masked_crc(header[: _LENGTH.size]):
        raise EOFError("the checksum of its length does not match")
    data = file.read(length + _CRC.size)
    if len(data) < length + _CRC.size:
        raise EOFError("the file ends within its data")
    record = data[:length]
    if _CRC.unpack(data[length:])[0] != _masked_crc(record):
        raise EOFError("the checksum of its data does not match")
    return record


@functools.lru_cache(maxsize=1 << 16)
def _header(length: int) -> bytes:
    return _HEADER.pack(length, _masked_crc(_LENGTH.pack(length)))


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
