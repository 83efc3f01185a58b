"""Checks that every row has as many values of a dense feature as the schema says.

tfx_bsl looks only at the number of values in a batch. If one row has a value too many and a later one has none, it
shifts the rows between them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TFExampleRecord


@dataclass(frozen=True, order=True)
class Misfit:
    """A row of a batch, counted from 0, with another number of values of a feature than the schema says."""

    row: int
    feature: str
    values: int
    expected: int

    def __str__(self) -> str:
        return (
            f"feature {self.feature!r} has {self.values or 'no'} value{'' if self.values == 1 else 's'}, but the "
            f"schema says {self.expected} for every row. Correct the data. If rows may differ, remove the feature's "
            f"shape from the schema, and it becomes a sparse tensor"
        )


@dataclass(frozen=True)
class _Dense:
    column: str
    size: int
    has_default: bool

    def misfit(self, column: pa.Array) -> Misfit | None:
        """Return the first row that does not fit; rows are lists of values, or null."""
        if not column.null_count and (np.diff(column.offsets.to_numpy()) == self.size).all():
            return None
        lengths = _lengths(column, null=self.size if self.has_default else 0)
        wrong = np.flatnonzero(lengths != self.size)
        return Misfit(int(wrong[0]), self.column, int(lengths[wrong[0]]), self.size) if len(wrong) else None


def first_misfit(batch: pa.RecordBatch, schema: bytes) -> Misfit | None:
    """Return the first row that cannot be part of the dense tensors that a serialized schema describes."""
    dense = (one for one in _dense_features(schema) if one.column in batch.schema.names)
    return min(filter(None, (one.misfit(batch.column(one.column)) for one in dense)), default=None)


def _lengths(column: pa.Array, *, null: int) -> npt.NDArray[np.int64]:
    if pa.types.is_null(column.type):
        return np.full(len(column), null, np.int64)
    return pc.list_value_length(column).fill_null(null).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=8)
def _dense_features(schema: bytes) -> tuple[_Dense, ...]:
    reader = TFExampleRecord("", schema=schema_pb2.Schema.FromString(schema), telemetry_descriptors=["mlpipe"])
    described = [one.dense_tensor for one in reader.TensorRepresentations().values() if one.HasField("dense_tensor")]
    return tuple(
        _Dense(one.column_name, math.prod(dim.size for dim in one.shape.dim), one.HasField("default_value"))
        for one in described
    )
