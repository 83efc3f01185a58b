"""The Arrow sidecar of a split: a copy of its records as columns, for the readers in this package.

It is `Arrow-<split>/data-00000-of-00001.arrow` in the folder of an Examples artifact, an Arrow IPC file compressed by
LZ4 (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format). It is beside `Split-<split>/`, not in it,
because TFX's readers expect only records there. Rows and their order are those of the split's one record file. A column
is flat where `records.examples` encodes it flat (null: a feature without values), otherwise a list; columns are ordered
by name.

Beside it is `data-00000-of-00001.crc32c`. Its first line, `records <size> <16 hex digits>`, identifies the record file
that was written with the sidecar, by its size in bytes and its last eight bytes, which are gzip's CRC-32 and length of
the content (https://www.rfc-editor.org/rfc/rfc1952#page-5). Arrow has no checksums. So there is another line for each
batch, and one for the rest of the file, with the place in the file where it ends and the CRC-32C of its bytes.

An artifact is complete without these files: every reader of a sidecar can read the records instead. The content digest
does not cover them.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import google_crc32c
import numpy as np
import pyarrow as pa

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import CHUNK_BATCHES, BatchCutter, columns_of, of_columns
from airflow_provider_mlpipe.records.short_columns import map_columns
from airflow_provider_mlpipe.storage.layout import sidecar_folder, sidecar_folder_beside

log = logging.getLogger(__name__)

FILE_NAME = "data-00000-of-00001.arrow"


def sidecar_path(examples: Examples, split: str) -> Path:
    """Return the path of a split's sidecar, whether or not it exists."""
    return sidecar_folder(examples, split) / FILE_NAME


def sidecar_of(records: Path) -> Path | None:
    """Return the sidecar of a record file, or None; only the single file of a split has one.

    A sidecar that was written with other records is ignored, and named in the log.
    """
    folder = sidecar_folder_beside(records.parent)
    if folder is None or list(records.parent.glob("*.gz")) != [records]:
        return None
    path = folder / FILE_NAME
    if not (path.exists() and _checksums_path(path).exists()):
        return None
    if _checksums_path(path).read_bytes().startswith(_records_line(records)):
        return path
    log.warning(
        "%s was not written with %s, so the records are read, which takes longer; create the examples again, or "
        "delete the first file",
        path,
        records,
    )
    return None


class SidecarWriter:
    """Writes the sidecar of a split, in the batches that `records.batches` cuts.

    `records` is the split's record file, which must be closed before the sidecar. `write` and `close` raise disk errors
    as OSError.
    """

    def __init__(self, path: Path, records: Path) -> None:
        path.parent.mkdir(parents=True)
        self._path = path
        self._records = records
        self._file = pa.OSFile(str(path), "wb")
        self._ends: list[int] = []
        self._writer: pa.RecordBatchFileWriter | None = None
        self._cutter = BatchCutter()
        self._pending: list[pa.RecordBatch] = []

    def __enter__(self) -> SidecarWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def write(self, rows: pa.RecordBatch, sizes: Iterable[int]) -> None:
        """Append rows as `stored` returns them, with the sizes of their records in bytes.

        Every call must have the same columns with the same types.
        """
        start = 0
        for stop in self._cutter.starts(sizes):
            self._pending.append(rows.slice(start, stop - start))
            self._flush()
            start = stop
        self._pending.append(rows.slice(start))

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if self._file.closed:
            return
        with self._file:
            self._flush()
            if self._writer:
                self._writer.close()
            self._ends.append(self._file.tell())
        _write_checksums(self._path, self._records, self._ends)

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending).combine_chunks()
        self._pending = []
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(self._file, table.schema, options=options)
        self._writer.write_table(table)
        if table.num_rows:
            self._ends.append(self._file.tell())


def stored(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows in the form of a sidecar."""
    columns = columns_of(rows)
    names = sorted(columns, key=str.encode)
    ordered = [columns[name] for name in names]
    plain = map_columns(_plain, [column.type for column in ordered], ordered)
    return of_columns(dict(zip(names, plain, strict=True)), rows.num_rows)


def _plain(_: pa.DataType, column: pa.Array) -> pa.Array:
    """Decode a dictionary column, and cast to the types of decoded tf.Examples."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return column
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return column.cast(pa.large_list(_value_type(column.type.value_type)))
    return column.cast(_value_type(column.type), safe=False)


def _value_type(arrow_type: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(arrow_type):
        return pa.int64()
    return pa.float32() if pa.types.is_floating(arrow_type) else pa.large_binary()


def starts(path: Path) -> range:
    """Return the numbers of the batches that start a chunk; raises InvalidInputError when the file is cut off."""
    with _opened(path, range(0)) as batches:
        return range(0, batches.num_record_batches, CHUNK_BATCHES)


def read_batches(path: Path, first: int, stop: int) -> Iterator[pa.RecordBatch]:
    """Yield the batches from `first` to before `stop`, in the form of decoded tf.Examples: large_list or null columns.

    A batch has no column for a feature that none of its rows has. Raises InvalidInputError when the file is damaged.
    """
    with _opened(path, range(first, stop)) as batches:
        for number in range(first, min(stop, batches.num_record_batches)):
            batch = batches.get_batch(number)
            there = {name: _lists(column) for name, column in columns_of(batch).items() if not _absent(column)}
            yield of_columns(there, batch.num_rows)


def _opened(path: Path, places: Iterable[int]) -> pa.RecordBatchFileReader:
    """Open the file. Check the batches at these places, the first batch (together with the schema), and the end."""
    segments = _segments(path)
    file = pa.memory_map(str(path))
    for place in {0, *places, len(segments) - 1}.intersection(range(len(segments))):
        start, end, checksum = segments[place]
        if google_crc32c.value(file.read_at(end - start, start)) != checksum:
            raise _damaged(path)
    batches = pa.ipc.open_file(file)
    if batches.num_record_batches != len(segments) - 1:
        raise _damaged(path)
    return batches


def _damaged(path: Path) -> InvalidInputError:
    return InvalidInputError(f"{path} is damaged or cut off; create the examples again, or delete this file")


def _checksums_path(path: Path) -> Path:
    return path.with_suffix(".crc32c")


def _records_line(records: Path) -> bytes:
    with records.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        return b"records %d %s\n" % (size, file.read().hex().encode())


def _write_checksums(path: Path, records: Path, ends: Sequence[int]) -> None:
    with path.open("rb") as file:  # not mapped: that would count as this process's memory
        values = [google_crc32c.value(file.read(end - start)) for start, end in itertools.pairwise([0, *ends])]
    lines = [b"%d %08x\n" % line for line in zip(ends, values, strict=True)]
    _checksums_path(path).write_bytes(_records_line(records) + b"".join(lines))


def _segments(path: Path) -> list[tuple[int, int, int]]:
    """Return start, end and checksum of each segment; raises InvalidInputError unless they cover the whole file."""
    checksums = _checksums_path(path)
    try:
        lines = [line.split() for line in checksums.read_text().splitlines()[1:]]
        found = [(int(end), int(value, 16)) for end, value in lines]
    except ValueError as error:
        raise _damaged(checksums) from error
    ends = [0, *(end for end, _ in found)]
    if not found or ends != sorted(set(ends)) or ends[-1] != path.stat().st_size:
        raise _damaged(path)
    return [(start, end, value) for start, (end, value) in zip(ends, found, strict=False)]


def _absent(column: pa.Array) -> bool:
    return bool(pa.types.is_large_list(column.type) and column.null_count == len(column))


def _lists(column: pa.Array) -> pa.Array:
    if pa.types.is_null(column.type):
        return column
    if pa.types.is_large_list(column.type):
        # An Arrow file has no buffer for an empty array of values, but tfx_bsl reads it anyway.
        return column if len(column.values) else pa.array(column.to_pylist(), column.type)
    lengths = column.is_valid().to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return pa.LargeListArray.from_arrays(pa.array(offsets), column.drop_null())
