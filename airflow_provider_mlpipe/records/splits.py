"""Assigns records to output splits, by TFX's hash rule or by a feature's value."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SplitConfig


def splitter(deal: SplitConfig) -> HashSplit | ValueSplit:
    """Return what assigns records as `deal` says."""
    if any(split.values or split.before for split in deal.splits):
        return ValueSplit(deal)
    return HashSplit({split.name: split.hash_buckets for split in deal.splits})


class HashSplit:
    """Assigns records to the splits of `buckets` ({split: hash buckets}), whose order matters.

    A record's bucket is `int(sha256(key)) % sum(buckets)`. The record belongs to the first split whose cumulative bound
    is above its bucket. The key is the serialized record, or one serialized Feature of it.

    Raises InvalidInputError when a split has no bucket.
    """

    def __init__(self, buckets: Mapping[str, int]) -> None:
        for name, count in buckets.items():
            if count < 1:
                raise InvalidInputError(f"output split {name!r} has hash_buckets {count}; it needs at least 1")
        self.names = list(buckets)
        self._bounds = list(itertools.accumulate(buckets.values()))

    def assign(self, keys: Sequence[bytes]) -> npt.NDArray[np.intp]:
        """Return the place in `names` of each key's split."""
        words = np.frombuffer(b"".join(hashlib.sha256(key).digest() for key in keys), ">u4").reshape(-1, 8)
        buckets = np.zeros(len(keys), np.uint64)
        for word in words.T:  # most significant first; below 2**64, because there are fewer than 2**32 buckets
            buckets = ((buckets << np.uint64(32)) + word) % np.uint64(self._bounds[-1])
        return np.searchsorted(self._bounds, buckets, side="right")


class ValueSplit:
    """Assigns each record to the first split that takes the value of the feature `partition_feature_name`.

    A split takes its `values`, or values smaller than `before`: whole numbers by size, other values by their bytes,
    which is the order of dates like 2013-10-01. A split with neither takes the rest.
    """

    def __init__(self, deal: SplitConfig) -> None:
        self.names = [split.name for split in deal.splits]
        self._deal = deal

    def assign(self, column: pa.Array) -> npt.NDArray[np.intp]:
        """Return the place in `names` of each row's split; `column` is the feature's, flat or of lists.

        Raises InvalidInputError for a row with no value, with several, or with one that no split takes, and for a
        `values` or `before` that is no whole number where the feature's values are.
        """
        values = self._values(column).dictionary_encode()
        rules = [self._rule(split, pa.types.is_integer(values.type.value_type)) for split in self._deal.splits]
        places = [self._place(value, rules) for value in values.dictionary.to_pylist()]
        rows: npt.NDArray[np.intp] = np.array(places, np.intp)[values.indices.to_numpy()]
        return rows

    def _values(self, column: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        of_lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        counts = pc.fill_null(pc.list_value_length(column), 0) if of_lists else pc.cast(column.is_valid(), pa.int64())
        if wrong := [count for count in pc.unique(counts).to_pylist() if count != 1]:
            raise InvalidInputError(
                f"a record has {wrong[0]} values of the partition feature {self._deal.partition_feature_name!r}; a "
                "split by value needs exactly one in each"
            )
        return column.flatten() if of_lists else column

    def _rule(self, split: SplitConfig.Split, is_integer: bool) -> _Rule:
        def typed(text: str) -> Any:
            try:
                return int(text) if is_integer else text.encode()
            except ValueError:
                raise InvalidInputError(
                    f"output split {split.name!r} has {text!r}, but {self._deal.partition_feature_name!r} holds whole "
                    "numbers; give one (for a column of dates, the days since 1970-01-01)"
                ) from None

        values = frozenset(map(typed, split.values))
        return _Rule(values=values, before=typed(split.before) if split.before else None)

    def _place(self, value: int | str | bytes, rules: Sequence[_Rule]) -> int:
        value = value.encode() if isinstance(value, str) else value
        for place, rule in enumerate(rules):
            if rule.takes(value):
                return place
        shown = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
        raise InvalidInputError(
            f"no output split takes records whose {self._deal.partition_feature_name!r} is {shown!r}; name the value "
            "in a split's values, or add a last split that has only a name, for the rest"
        )


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What a split takes, in the type of the feature: int or bytes."""

    values: frozenset[Any]
    before: Any

    def takes(self, value: Any) -> bool:
        is_rest = not self.values and self.before is None
        return is_rest or value in self.values or (self.before is not None and value < self.before)
