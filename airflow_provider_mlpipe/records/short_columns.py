"""Works on many short columns at once.

A call of an Arrow function takes as long as its work on several hundred cells. A block of a wide table has thousands of
columns, but few rows. So the columns of a block with few rows are joined to one column, for one call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import pyarrow as pa

K = TypeVar("K", bound=Hashable)

FEW_ROWS = 2_000
"""Columns with fewer rows are short."""


def map_columns(
    work: Callable[[K, pa.Array], pa.Array], kinds: Sequence[K], columns: Sequence[pa.Array]
) -> list[pa.Array]:
    """Return `work(kind, column)` of each column. `work` must treat each of a column's values by itself.

    All columns have the same number of rows, and those of the same kind have the same Arrow type. Short results are
    slices of a common array.
    """
    if not columns or len(columns[0]) >= FEW_ROWS:
        return [work(kind, column) for kind, column in zip(kinds, columns, strict=True)]
    rows, done = len(columns[0]), list(columns)
    for kind, places in grouped(kinds).items():
        together = work(kind, pa.concat_arrays([columns[place] for place in places]))
        for number, place in enumerate(places):
            done[place] = together.slice(number * rows, rows)
    return done


def grouped(kinds: Sequence[K]) -> dict[K, list[int]]:
    """Return the places of each kind."""
    places: dict[K, list[int]] = {}
    for place, kind in enumerate(kinds):
        places.setdefault(kind, []).append(place)
    return places
