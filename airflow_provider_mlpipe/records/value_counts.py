"""Exact counts of how often each value of a feature occurs; on disk when they take too much memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_PARTS = 64
"""On disk, a hash divides the distinct values into this many parts. One part must fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Top:
    """The number of distinct values, and the most frequent ones as (value, count, weight), greatest first."""

    unique: int
    by_count: list[tuple[Any, int, float]]
    by_weight: list[tuple[Any, int, float]]


class ValueCounts:
    """Counts and summed weights by value. The values are either all bytes or all ints.

    Counts on disk have a file of their own. It is open only while it is written or read, because there may be more
    features than a process may have open files. `top` deletes the file, so call it last.
    """

    def __init__(self) -> None:
        self._pieces: list[pa.Table] = []
        self._path: str | None = None
        self._places: list[list[int]] = [[] for _ in range(_PARTS)]

    @property
    def nbytes(self) -> int:
        """How much memory the counts take, in bytes."""
        return sum(piece.nbytes for piece in self._pieces)

    def add(self, values: pa.Array, counts: pa.Array, weights: pa.Array) -> None:
        """Add counts of values; a value may occur several times."""
        self._pieces.append(pa.table({"value": values, "count": counts, "weight": weights}))

    def extend(self, other: ValueCounts) -> None:
        """Add the counts that `other` has in memory."""
        self._pieces += other._pieces
        self.compact()

    def compact(self) -> None:
        """Merge the counts in memory, so that each distinct value is there once."""
        self._pieces = [_summed(self._pieces)] if self._pieces else []

    def spill(self) -> None:
        """Move the counts from memory to disk, into the temporary folder. Disk errors are raised as OSError."""
        self.compact()
        if self._path is None:
            descriptor, self._path = tempfile.mkstemp()
            os.close(descriptor)
        with open(self._path, "ab") as file:
            for piece in self._pieces:
                part_of = pd.util.hash_array(piece["value"].to_numpy(), categorize=False) % _PARTS
                for number, places in enumerate(self._places):
                    places.append(file.tell())
                    with pa.ipc.new_stream(file, piece.schema) as stream:
                        stream.write_table(piece.filter(pa.array(part_of == number)))
        self._pieces = []

    def top(self, k: int) -> Top:
        """Return the `k` most frequent values by count and by weight; at equal frequency the greater value is first."""
        unique, by_count, by_weight = 0, [], []
        for table in self._tables():
            unique += table.num_rows
            by_count += _greatest(table, "count", k)
            by_weight += _greatest(table, "weight", k)
        by_count.sort(key=lambda row: (row[1], row[0]), reverse=True)
        by_weight.sort(key=lambda row: (row[2], row[0]), reverse=True)
        return Top(unique=unique, by_count=by_count[:k], by_weight=by_weight[:k])

    def _tables(self) -> Iterator[pa.Table]:
        """Yield tables that have no value in common."""
        if self._path is None:
            self.compact()
            yield from self._pieces
        else:
            self.spill()
            with open(self._path, "rb") as file:
                os.unlink(self._path)
                for places in self._places:
                    yield _summed([_read(file, place) for place in places])


def _summed(pieces: list[pa.Table]) -> pa.Table:
    """Sum up in the order of the rows, so that weights have the same last digits wherever the same rows are spilled."""
    table = pa.concat_tables(pieces).combine_chunks()
    if not table.num_rows:
        return table
    distinct = table["value"].chunk(0).dictionary_encode()
    places = distinct.indices.to_numpy()
    counts = np.bincount(places, weights=table["count"].to_numpy()).astype(np.int64)
    weights = np.bincount(places, weights=table["weight"].to_numpy())
    return pa.table({"value": distinct.dictionary, "count": counts, "weight": weights})


def _greatest(table: pa.Table, column: str, k: int) -> list[tuple[Any, int, float]]:
    if not table.num_rows:
        return []
    order = [(column, "descending"), ("value", "descending")]
    rows = table.take(pc.select_k_unstable(table, k=min(k, table.num_rows), sort_keys=order))
    return list(zip(*(rows[name].to_pylist() for name in ("value", "count", "weight")), strict=True))


def _read(file: IO[bytes], place: int) -> pa.Table:
    file.seek(place)
    return pa.ipc.open_stream(file).read_all()
