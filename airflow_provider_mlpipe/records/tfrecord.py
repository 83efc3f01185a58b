"""Gzipped TFRecord files: framing, checksums, a writer that computes a digest, a reader that verifies checksums.

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
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from isal import igzip, isal_zlib

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.binary import bytes_list, fixed_width, joined, values_buffer
from airflow_provider_mlpipe.records.gzipped import BROKEN, MAGIC
from airflow_provider_mlpipe.storage.disk_errors import translated

FILE_NAME = "data_tfrecord-00000-of-00001.gz"
"""The only shard of a split, named as TFX names it."""

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_GZIP = 31  # zlib's window bits for a gzip container; its header then holds no time, so equal records give equal bytes
_BLOCK = 4 << 20
"""How many bytes are read at a time, uncompressed."""
_LONGEST = (1 << 31) - 1
"""The most bytes that a record may have: protobuf reads no longer message."""
_MOST_COMPRESSED = 1032
"""Deflate's limit: a byte of a gzip file holds no more bytes than that (https://zlib.net/zlib_tech.html)."""


def examples_digest(splits: Mapping[str, str]) -> str:
    """Return the content digest of an Examples artifact from {split: `TFRecordWriter.digest` of its records}.

    It is sha256 over the lines `<split> <digest>`, in the order of the names.
    """
    lines = "".join(f"{name} {splits[name]}\n" for name in sorted(splits))
    return hashlib.sha256(lines.encode()).hexdigest()


class TFRecordWriter:
    """Writes one gzipped TFRecord file. Compression and hashing run in a separate thread.

    `count` is the number of records written; `digest` is the hex sha256 of the uncompressed file, whose frames hold
    every record and its length in order. Both are final once the writer is closed. `write` and `close` raise disk
    errors as OSError.
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
        """Append `records`."""
        self.append(frame(pa.array(records, pa.binary()), records))

    def append(self, frames: pa.BinaryArray) -> None:
        """Append framed records. At most one earlier block still waits for the thread, so memory does not grow."""
        self.count += len(frames)
        self._wait()
        self._pending = self._thread.submit(self._append, values_buffer(frames))

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if self._file.closed:
            return
        with self._file, self._thread:
            self._wait()
            self._file.write(self._compressor.flush())

    def _append(self, block: pa.Buffer) -> None:
        self._hash.update(block)
        self._file.write(self._compressor.compress(block))

    def _wait(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()


def frame(records: pa.BinaryArray, values: Sequence[bytes] | None = None) -> pa.BinaryArray:
    """Return each record as in a TFRecord file before compression; `values`, if given, are the records as bytes."""
    lengths, kinds = np.unique(pc.binary_length(records).to_numpy(), return_inverse=True)
    headers = [_HEADER.pack(length, _length_crc(length)) for length in lengths.tolist()]
    checksums = map(google_crc32c.value, bytes_list(records) if values is None else values)
    crcs = np.fromiter(checksums, np.uint64, len(records))
    header = pa.array(headers, pa.binary()).take(pa.array(kinds))
    footer = fixed_width(_CRC.size, _masked(crcs).astype("<u4").view(np.uint8))
    return joined(header, records, footer)


def record_sizes(frames: pa.BinaryArray) -> list[int]:
    """Return the length of each framed record, in bytes."""
    sizes: list[int] = (pc.binary_length(frames).to_numpy() - _HEADER.size - _CRC.size).tolist()
    return sizes


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file, one at a time, each checked against its checksum.

    Raises InvalidInputError, with the file and the record (the first is 1), where the file is cut off or corrupt.
    """
    for records in read_blocks(path):
        yield from records


def read_blocks(path: Path) -> Iterator[list[bytes]]:
    """Yield the records as `read_records` does, but many at a time, which is faster; the file need not be gzipped."""
    number, wanted = 1, 0  # how many bytes the next record needs, as far as that is known
    parts, have = [b""], 0
    with path.open("rb") as raw:
        try:
            gzipped = _is_gzipped(raw)
            file = igzip.open(raw) if gzipped else raw
            longest = min(_LONGEST, path.stat().st_size * (_MOST_COMPRESSED if gzipped else 1))
            while fresh := file.read(_BLOCK):
                parts.append(fresh)
                have += len(fresh)
                if have < wanted:
                    continue
                block = b"".join(parts)
                records, end, wanted, fault = _whole_records(block, longest)
                yield records
                number += len(records)
                if fault:
                    raise EOFError(fault)
                parts, have = [block[end:]], have - end
            if have:
                raise EOFError(f"the file ends within its {'header' if have < _HEADER.size else 'data'}")
        except BROKEN as error:
            raise InvalidInputError(
                f"{path}: record {number} is corrupt ({error}); create the file again from its source"
            ) from error
        except OSError as error:
            raise translated(error, f"{path} cannot be read", "Let the Airflow worker's user read it") from error


def _is_gzipped(file: BinaryIO) -> bool:
    """Whether a file at its start is gzipped; an empty one holds no records either way."""
    head = file.read(_HEADER.size)
    file.seek(0)
    if not head.startswith(MAGIC):
        return False
    length, crc = _HEADER.unpack(head) if len(head) == _HEADER.size else (0, None)
    return bool(crc != _length_crc(length))  # a record may have a length that looks like gzip's magic


def _whole_records(block: bytes, longest: int) -> tuple[list[bytes], int, int, str | None]:
    """Return the whole records at the start of a block, where they end, and what is wrong with the next record.

    The third is how many bytes the next record needs with its frame, 0 if its header is not there yet.
    """
    records: list[bytes] = []
    start = 0
    while start + _HEADER.size <= len(block):
        length, crc = _HEADER.unpack_from(block, start)
        if crc != _length_crc(length):
            return records, start, 0, "the checksum of its length does not match"
        if length > longest:
            return records, start, 0, f"it claims to have {length:,} bytes, more than the file can hold"
        data = start + _HEADER.size
        end = data + length + _CRC.size
        if end > len(block):
            return records, start, end - start, None
        record = block[data : data + length]
        if _CRC.unpack_from(block, data + length)[0] != _masked(google_crc32c.value(record)):
            return records, start, 0, "the checksum of its data does not match"
        records.append(record)
        start = end
    return records, start, 0, None


@functools.lru_cache(maxsize=1 << 16)
def _length_crc(length: int) -> int:
    crc: int = _masked(google_crc32c.value(_LENGTH.pack(length)))
    return crc


def _masked(crc: Any) -> Any:
    """Mask a checksum, or an array of them."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
