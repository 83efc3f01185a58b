"""A file of Arrow batches, in the order in which they were appended, for rows that wait in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

_SIZE = 8  # bytes before each batch, for its length


def append(file: BinaryIO, batch: pa.RecordBatch) -> None:
    """Write a batch; those of one file may have different types. Raises OSError."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    content = sink.getvalue()
    file.write(content.size.to_bytes(_SIZE, "big"))
    file.write(content)


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches, one in memory at a time. Raises OSError."""
    with path.open("rb") as file:
        while size := file.read(_SIZE):
            yield pa.ipc.open_stream(file.read(int.from_bytes(size, "big"))).read_next_batch()
