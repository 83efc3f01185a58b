"""Writes a split of an Examples artifact: its one record file, and the sidecar."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

import pyarrow as pa

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.records.sidecar import SidecarWriter, sidecar_path
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter, record_sizes
from airflow_provider_mlpipe.storage.layout import split_folder


class SplitWriter:
    """Writes a split of `examples`; `write` and the end of the `with` block raise disk errors as OSError."""

    def __init__(self, examples: Examples, split: str) -> None:
        folder = split_folder(examples, split)
        folder.mkdir(parents=True)
        self._records_path, self._sidecar_path = folder / FILE_NAME, sidecar_path(examples, split)
        self._open = ExitStack()
        self._records = self._open.enter_context(TFRecordWriter(self._records_path))
        self._sidecar: SidecarWriter | None = None

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._open:
            self._records.close()  # before the sidecar, which stores the last bytes of the record file

    @property
    def count(self) -> int:
        """The number of records written."""
        return self._records.count

    @property
    def digest(self) -> str:
        """`TFRecordWriter.digest` of the records; final once the `with` block has ended."""
        return self._records.digest

    def write(self, frames: pa.BinaryArray, rows: pa.RecordBatch | None) -> None:
        """Append framed records, and the same rows as `sidecar.stored` returns them; None if there is no sidecar."""
        self._records.append(frames)
        if rows is not None:
            self._sidecar = self._sidecar or self._open.enter_context(
                SidecarWriter(self._sidecar_path, self._records_path)
            )
            self._sidecar.write(rows, record_sizes(frames))
