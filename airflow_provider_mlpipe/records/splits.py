"""Which output split a record belongs to: TFX's hash rule."""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect
from collections.abc import Iterable, Mapping

from airflow_provider_mlpipe.exceptions import InvalidInputError


class HashSplit:
    """Deals records to the splits of `buckets` ({split: hash buckets}), whose order counts.

    A record's bucket is `int(sha256(key)) % sum(buckets)`; it goes to the first split whose cumulative bound is above
    its bucket. The key is the serialized record, or one serialized Feature of it.

    Raises InvalidInputError when a split has no bucket.
    """

    def __init__(self, buckets: Mapping[str, int]) -> None:
        for name, count in buckets.items():
            if count < 1:
                raise InvalidInputError(f"output split {name!r} has hash_buckets {count}; it needs at least 1")
        self.names = list(buckets)
        self._bounds = list(itertools.accumulate(buckets.values()))

    def deal(self, records: Iterable[bytes], keys: Iterable[bytes]) -> dict[str, list[bytes]]:
        """Return the records of each split, in their order; `keys` runs beside `records`."""
        bounds, total = self._bounds, self._bounds[-1]
        dealt: list[list[bytes]] = [[] for _ in self.names]
        for record, key in zip(records, keys, strict=True):
            bucket = int.from_bytes(hashlib.sha256(key).digest(), "big") % total
            dealt[bisect(bounds, bucket)].append(record)
        return dict(zip(self.names, dealt, strict=True))
