"""Sparse vectors of sums by group and cell. A group is a slice in a sample, a cell a place in a measure's sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

_DENSE = 1 << 22
"""Up to this many cells, over all groups, are added up in a dense array; more than that are sorted instead."""


@dataclass(frozen=True)
class Entries:
    """What to add where: `values` [n, width] to `cell` [n], for the examples `row` [n], in ascending order."""

    row: Places
    cell: Places
    values: Numbers

    @classmethod
    def of(cls, row: Places, *values: Array, cell: Places | None = None) -> Entries:
        """Stack values; without `cell`, all belong to cell 0."""
        stacked = np.stack([np.broadcast_to(one, len(row)) for one in values], axis=1).astype(np.float64, copy=False)
        return cls(row, np.zeros(len(row), np.int64) if cell is None else cell.astype(np.int64, copy=False), stacked)


@dataclass(frozen=True)
class Members:
    """Which examples are in which groups: pairs of `row` [n], in ascending order, and `group` [n].

    Each pair counts `times` [n], or once if that is None.
    """

    row: Places
    group: Places
    times: Places | None = None


@dataclass
class Sums:
    """Values [n, width] at pairs of `group` [n] and `cell` [n]; the pairs are distinct, and in ascending order."""

    width: int
    group: Places = field(default_factory=lambda: np.zeros(0, np.int64))
    cell: Places = field(default_factory=lambda: np.zeros(0, np.int64))
    values: Numbers = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        self.values = self.values.reshape(-1, self.width)

    @classmethod
    def of(cls, entries: Entries, members: Members) -> Sums:
        """Add up the entries of a batch by group and cell."""
        first = np.searchsorted(entries.row, members.row, side="left")
        count = np.searchsorted(entries.row, members.row, side="right") - first
        pair = np.repeat(np.arange(len(count)), count)
        entry = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count) + first[pair]
        values = entries.values[entry]
        if members.times is not None:
            values = values * members.times[pair, None]
        return cls.added(entries.values.shape[1], members.group[pair], entries.cell[entry], values)

    @classmethod
    def merged(cls, width: int, parts: Iterable[Sums]) -> Sums:
        """Add up several sums; the same sums in the same order give the same bits."""
        filled = [part for part in parts if len(part.group)]
        if len(filled) < 2:
            return filled[0] if filled else cls(width)
        group, cell = (np.concatenate([getattr(one, name) for one in filled]) for name in ("group", "cell"))
        return cls.added(width, group, cell, np.concatenate([one.values for one in filled]))

    @classmethod
    def added(cls, width: int, group: Places, cell: Places, values: Numbers) -> Sums:
        """Add up values wherever group and cell are the same."""
        if not len(group):
            return cls(width)
        cells = int(cell.max()) + 1
        if (int(group.max()) + 1) * cells <= _DENSE:
            return cls._added_by_place(width, group * cells + cell, cells, values)
        order = np.lexsort((cell, group))
        group, cell, values = group[order], cell[order], values[order]
        new = np.concatenate(([True], (np.diff(group) != 0) | (np.diff(cell) != 0)))
        return cls(width, group[new], cell[new], np.add.reduceat(values, np.flatnonzero(new), axis=0))

    @classmethod
    def _added_by_place(cls, width: int, place: Places, cells: int, values: Numbers) -> Sums:
        filled = np.flatnonzero(np.bincount(place))
        sums = [np.bincount(place, weights=column)[filled] for column in values.T]
        group, cell = np.divmod(filled, cells)
        return cls(width, group, cell, np.stack(sums, axis=1, dtype=np.float64))

    def renumbered(self, group: Places) -> Sums:
        """Change each group number `g` to `group[g]`."""
        return Sums.added(self.width, group[self.group], self.cell, self.values)

    def part(self, first: int, count: int) -> Sums:
        """Return `count` consecutive groups, renumbered from 0."""
        start, stop = np.searchsorted(self.group, (first, first + count))
        return Sums(self.width, self.group[start:stop] - first, self.cell[start:stop], self.values[start:stop])

    def of_groups(self, groups: Iterable[int]) -> tuple[Places, Numbers]:
        """Add up some groups, cell by cell. Return cells [n], in ascending order, and values [n, width]."""
        ranges = [np.searchsorted(self.group, (number, number + 1)) for number in groups]
        places = [np.arange(first, last) for first, last in ranges if first < last]
        if not places:
            return self.cell[:0], self.values[:0]
        if len(places) == 1:
            return self.cell[places[0]], self.values[places[0]]
        place = np.concatenate(places)
        summed = Sums.added(self.width, np.zeros(len(place), np.int64), self.cell[place], self.values[place])
        return summed.cell, summed.values
