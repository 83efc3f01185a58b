"""The Arrow sidecar of a split: its records once more, as columns, for the readers in this package.

It is `Arrow-<split>/data-00000-of-00001.arrow` in the folder of an Examples artifact, an Arrow IPC file compressed by
LZ4 (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format). It is beside `Split-<split>/`, where readers
of TFX look for records only. Rows and their order are those of the split's one file of records. A column is flat where
`records.examples` encodes it flat (null: a feature without values), else a list; columns are ordered by their names.

An artifact is whole without it: whoever reads it can read the records. The content digest leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import CHUNK_BATCHES, BatchCutter

FILE_NAME = "data-00000-of-00001.arrow"


def sidecar_path(examples: Examples, split: str) -> Path:
    """Return where the sidecar of a split is, if there is one."""
    return Path(examples.uri, f"Arrow-{split}", FILE_NAME)


def sidecar_of(records: Path) -> Path | None:
    """Return the sidecar of a file of records, if there is one: it is of the only file of a split."""
    folder = records.parent
    path = folder.with_name(f"Arrow-{folder.name.removeprefix('Split-')}") / FILE_NAME
    is_ours = folder.name.startswith("Split-") and path.exists() and list(folder.glob("*.gz")) == [records]
    return path if is_ours else None


class SidecarWriter:
    """Writes the sidecar of a split, in the batches that `records.batches` cuts.

    Errors of the disk come from `write` or `close` as OSError.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        self._file = pa.OSFile(str(path), "wb")
        self._writer: pa.RecordBatchFileWriter | None = None
        self._cutter = BatchCutter()
        self._pending: list[pa.RecordBatch] = []

    def __enter__(self) -> SidecarWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def write(self, rows: pa.RecordBatch, sizes: Iterable[int]) -> None:
        """Append rows as `stored` gives them, whose records have these sizes in bytes.

        Every call has the same columns of the same kinds.
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

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending).combine_chunks()
        self._pending = []
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(self._file, table.schema, options=options)
        self._writer.write_table(table)


def stored(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows as a sidecar holds them."""
    names = sorted(rows.schema.names, key=str.encode)
    return pa.RecordBatch.from_arrays([_plain(rows.column(rows.schema.get_field_index(name))) for name in names], names)


def _plain(column: pa.Array) -> pa.Array:
    """Decode a dictionary, and take the types that tf.Examples are decoded to."""
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
    """Return the places of the batches with which chunks start; raises InvalidInputError when the file is cut off."""
    with _opened(path) as batches:
        return range(0, batches.num_record_batches, CHUNK_BATCHES)


def read_batches(path: Path, first: int, stop: int) -> Iterator[pa.RecordBatch]:
    """Yield the batches `first` up to `stop`, as tf.Examples are decoded: every column a large_list, or null.

    A feature that no row of a batch has is no column of it.
    """
    with _opened(path) as batches:
        for number in range(first, min(stop, batches.num_record_batches)):
            batch = batches.get_batch(number)
            there = [
                name for name, column in zip(batch.schema.names, batch.columns, strict=True) if not _absent(column)
            ]
            yield pa.RecordBatch.from_arrays([_lists(batch.column(name)) for name in there], there)


def _opened(path: Path) -> pa.RecordBatchFileReader:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"{path} is cut off ({error}); make the examples anew, or delete this file") from error


def _absent(column: pa.Array) -> bool:
    return bool(pa.types.is_large_list(column.type) and column.null_count == len(column))


def _lists(column: pa.Array) -> pa.Array:
    if pa.types.is_null(column.type) or pa.types.is_large_list(column.type):
        return column
    lengths = column.is_valid().to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return pa.LargeListArray.from_arrays(pa.array(offsets), column.drop_null())
