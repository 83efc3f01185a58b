"""Finds the slices of each example in a batch.

TFMA derives the slices of an example from the values of its features. Many examples have the same values, so TFMA is
called once for each combination of values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.components.evaluator.measures import NotCovered
from airflow_provider_mlpipe.components.evaluator.sums import Array, Places

SliceKey = tuple[Any, ...]
"""TFMA's form: pairs of a feature's name and a value, in ascending order; () is the slice of all examples."""

Source = Mapping[str, pa.Array]
"""Features by name, each with a list of values per example."""

_NAN = float("nan")
"""NaN does not equal itself, but tuples with this one object are equal, so a dict finds them."""


@dataclass(frozen=True)
class SliceSpec:
    """What to slice by: the `features` that TFMA uses, and its function from their values to slice keys.

    `keys` takes the transformed features of each model that has some, and the raw features, as {name: values [n]}.
    """

    features: tuple[str, ...]
    keys: Callable[[list[dict[str, Array]], dict[str, Array]], frozenset[SliceKey]]


@dataclass
class Slicer:
    """Finds the slices of batches. It remembers the slices of each combination of values."""

    specs: Sequence[SliceSpec]
    known: list[dict[Any, frozenset[SliceKey]]] = field(init=False)

    def __post_init__(self) -> None:
        self.known = [{} for _ in self.specs]

    def pairs(
        self, rows: int, transformed: Sequence[Source], raw: Source, numbers: dict[SliceKey, int]
    ) -> tuple[Places, Places]:
        """Return the distinct pairs of row and slice number, in ascending order; new slices get new numbers."""
        found = [self._pairs(number, rows, [*transformed, raw], numbers) for number in range(len(self.specs))]
        row, group = (np.concatenate(parts) for parts in zip(*found, strict=True))
        pair = np.unique(row * (len(numbers) + 1) + group)
        unique_row, unique_group = np.divmod(pair, len(numbers) + 1)
        return unique_row, unique_group

    def _pairs(
        self, number: int, rows: int, sources: Sequence[Source], numbers: dict[SliceKey, int]
    ) -> tuple[Places, Places]:
        columns = [
            (place, name, *_coded(source[name]))
            for place, source in enumerate(sources)
            for name in self.specs[number].features
            if name in source
        ]
        code = np.zeros(rows, np.int64)
        for *_, of_row, values in columns:
            code = np.unique(code * len(values) + of_row, return_inverse=True)[1].reshape(-1)
        _, examples, combination = np.unique(code, return_index=True, return_inverse=True)
        slices = []
        for example in examples:
            features: list[dict[str, tuple[Any, ...]]] = [{} for _ in sources]
            for place, name, of_row, values in columns:
                features[place][name] = values[of_row[example]]
            keys = self._keys(number, features)
            slices.append(np.array([numbers.setdefault(key, len(numbers)) for key in sorted(keys, key=repr)], np.int64))
        if not slices:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        count = np.array([len(one) for one in slices])[combination.reshape(-1)]
        group = (
            np.concatenate([slices[one] for one in combination.reshape(-1)]) if count.any() else np.zeros(0, np.int64)
        )
        return np.repeat(np.arange(rows), count), group

    def _keys(self, number: int, features: list[dict[str, tuple[Any, ...]]]) -> frozenset[SliceKey]:
        seen = tuple(tuple(one.items()) for one in features)
        if seen not in self.known[number]:
            arrays = [{name: _array(values) for name, values in one.items()} for one in features]
            keys = self.specs[number].keys(arrays[:-1], arrays[-1])
            self.known[number][seen] = frozenset(map(comparable, keys))
        return self.known[number][seen]


def comparable(key: SliceKey) -> SliceKey:
    """Return a key that equals other such keys with NaN in the same places, within this process."""
    return tuple((name, _one_nan(value)) for name, value in key)


def _one_nan(value: Any) -> Any:
    return _NAN if value != value else value


def _array(values: tuple[Any, ...]) -> Array:
    return np.array(values, object if values and isinstance(values[0], bytes) else None)


def _coded(column: pa.Array) -> tuple[Places, list[tuple[Any, ...]]]:
    """Number the distinct lists of values in a column. Return each example's number, and the list of each number."""
    length = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    if length.max(initial=0) <= 1:
        flat = column.flatten().dictionary_encode()
        of_row = np.zeros(len(column), np.int64)
        of_row[length == 1] = flat.indices.to_numpy() + 1
        return of_row, [(), *((_one_nan(value),) for value in flat.dictionary.to_pylist())]
    seen: dict[tuple[Any, ...], int] = {}
    lists = (tuple(map(_one_nan, values or ())) for values in column.to_pylist())
    return np.array([seen.setdefault(values, len(seen)) for values in lists], np.int64), list(seen)


def listed(values: Any) -> pa.Array:
    """Turn a model's output [rows, ...] into lists of values; raises NotCovered for types that slices cannot have."""
    array = np.asarray(values)
    if array.dtype.kind not in "iufSO" or array.ndim < 1:
        raise NotCovered(f"slicing by a feature of the type {array.dtype}")
    flat = array.reshape(len(array), -1)
    offsets = np.arange(len(array) + 1, dtype=np.int32) * np.int32(flat.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.reshape(-1)))
