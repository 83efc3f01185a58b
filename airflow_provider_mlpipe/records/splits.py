"""Assigns records to output splits, by TFX's hash rule."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from airflow_provider_mlpipe.exceptions import InvalidInputError


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
