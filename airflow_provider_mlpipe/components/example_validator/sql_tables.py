"""The tables that SQL checks read, in a DuckDB database: the rows of the examples, and the statistics.

A column of `examples` has one of DuckDB's types BIGINT (INT), FLOAT, VARCHAR (BYTES, if all are UTF-8), BLOB (other
BYTES) and DOUBLE (INT in some splits, FLOAT in others). It is a list if the schema allows the feature several values,
or if a row has several. That is known when all rows were read. So a column begins with the narrowest type, and is
changed when a batch needs a wider one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics, FeatureNameStatistics, Histogram

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import columns_of
from airflow_provider_mlpipe.records.chunks import example_sources
from airflow_provider_mlpipe.records.engine import batches_of
from airflow_provider_mlpipe.records.statistics import features_of

EXAMPLES, STATISTICS = "examples", "statistics"
SPLIT = "split"
_BATCH = "batch"
_TYPES = {pa.int64(): "BIGINT", pa.float32(): "FLOAT", pa.large_utf8(): "VARCHAR", pa.large_binary(): "BLOB"}
_OF_SCHEMA = {schema_pb2.INT: "BIGINT", schema_pb2.FLOAT: "FLOAT", schema_pb2.BYTES: "VARCHAR"}
_WIDER = {frozenset(("BIGINT", "FLOAT")): "DOUBLE", frozenset(("VARCHAR", "BLOB")): "BLOB"} | {
    frozenset((number, "DOUBLE")): "DOUBLE" for number in ("BIGINT", "FLOAT")
}


@dataclass(frozen=True)
class _Column:
    """The type of a column of the table: of its values, and whether it has lists of them."""

    values: str
    is_list: bool

    @property
    def sql(self) -> str:
        return f"{self.values}[]" if self.is_list else self.values

    def changed(self, name: str, new: _Column) -> str:
        """What a value of this type is in a wider one."""
        if self.is_list:
            return f"[{_converted('v', self.values, new.values)} for v in {name}]"
        value = _converted(name, self.values, new.values)
        return f"CASE WHEN {name} IS NOT NULL THEN [{value}] END" if new.is_list else value


def _converted(value: str, old: str, new: str) -> str:
    if old == new:
        return value
    return f"encode({value})" if new == "BLOB" else f"CAST({value} AS {new})"


def create_examples(
    connection: duckdb.DuckDBPyConnection, examples: Examples, splits: Sequence[str], schema: schema_pb2.Schema
) -> None:
    """Create the table `examples`: the rows of the splits, a column for each feature of theirs and of the schema.

    A row without a value of a feature has NULL. The column `split` names the row's split. Raises InvalidInputError for
    names that SQL cannot tell apart, a feature with values of two types, and files that cannot be read.
    """
    table = _ExamplesTable(connection, schema)
    connection.execute("BEGIN")
    for split in splits:
        for source in example_sources(examples, split):
            for batch in batches_of(source):
                table.insert(split, batch)
    table.create_if_missing()
    connection.execute("COMMIT")


def _has_several(feature: schema_pb2.Feature) -> bool:
    """Whether the schema allows an example several values of the feature."""
    if feature.HasField("shape"):
        return math.prod(int(dimension.size) for dimension in feature.shape.dim) != 1
    if feature.HasField("value_count"):
        return int(feature.value_count.max) != 1
    return bool(feature.HasField("value_counts"))


class _ExamplesTable:
    """Takes rows, batch by batch. The first one creates the table, since each column that is added later takes long."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: schema_pb2.Schema) -> None:
        self._connection = connection
        self._lists = {feature.name for feature in schema.feature if _has_several(feature)}
        self._columns = {
            feature.name: _Column(_OF_SCHEMA[feature.type], feature.name in self._lists)
            for feature in schema.feature
            if feature.type in _OF_SCHEMA
        }
        self._unseen = set(self._columns)
        """Of these the type is the schema's, since no row had a value."""
        self._is_created = False

    def insert(self, split: str, batch: pa.RecordBatch) -> None:
        there = {name: _text_if_valid(column) for name, column in columns_of(batch).items()}
        there = {name: column for name, column in there.items() if not pa.types.is_null(column.type)}
        for name, column in there.items():
            self._widen(split, name, _TYPES[column.type.value_type], is_list=_longest(column) > 1)
        self.create_if_missing()
        numbered = [pa.nulls(batch.num_rows), *there.values()]  # the first one keeps the number of rows
        rows = pa.Table.from_arrays(numbered, [f"c{place}" for place in range(len(numbered))])
        chosen = [self._chosen(place, name, column) for place, (name, column) in enumerate(there.items(), start=1)]
        self._connection.register(_BATCH, rows)
        selected = ", ".join([f"? AS {SPLIT}", *chosen])
        self._connection.execute(f"INSERT INTO {EXAMPLES} BY NAME SELECT {selected} FROM {_BATCH}", [split])  # noqa: S608
        self._connection.unregister(_BATCH)

    def create_if_missing(self) -> None:
        if not self._is_created:
            self._check_names()
            columns = [f"{quoted(name)} {column.sql}" for name, column in self._columns.items()]
            self._connection.execute(f"CREATE TABLE {EXAMPLES} ({', '.join([f'{SPLIT} VARCHAR', *columns])})")
            self._is_created = True

    def _check_names(self) -> None:
        taken = {SPLIT: f"the column {SPLIT!r}"}
        for name in self._columns:
            if name.lower() in taken:
                raise InvalidInputError(
                    f"feature {name!r}: names in SQL ignore case, so sql_checks cannot tell it from "
                    f"{taken[name.lower()]} of the table {EXAMPLES}; rename the feature"
                )
            taken[name.lower()] = f"the feature {name!r}"

    def _widen(self, split: str, name: str, values: str, *, is_list: bool) -> None:
        seen = _Column(values, is_list or name in self._lists)
        old = self._columns.get(name)
        if old is None or name in self._unseen:
            self._set(name, seen, "NULL")
            self._unseen.discard(name)
            return
        kinds = frozenset((old.values, values))
        wider = old.values if len(kinds) == 1 else _WIDER.get(kinds)
        if wider is None:
            raise InvalidInputError(
                f"feature {name!r} is {values} in the split {split!r}, but {old.values} before; give it one type"
            )
        new = _Column(wider, old.is_list or seen.is_list)
        self._set(name, new, old.changed(quoted(name), new))

    def _set(self, name: str, column: _Column, values: str) -> None:
        """Set the type of a column, also in the table; `values` is what the values that are there become."""
        is_new = name not in self._columns
        if column == self._columns.get(name):
            return
        self._columns[name] = column
        if not self._is_created:
            return
        self._check_names()
        change = f"ADD COLUMN {quoted(name)} {column.sql}"
        if not is_new:
            change = f"ALTER {quoted(name)} TYPE {column.sql} USING {values}"
        self._connection.execute(f"ALTER TABLE {EXAMPLES} {change}")

    def _chosen(self, place: int, name: str, column: pa.Array) -> str:
        """What of a batch's column goes into the table's; a list without values is no value."""
        is_list, target = self._columns[name].is_list, self._columns[name]
        given = _Column(_TYPES[column.type.value_type], is_list)
        value = f"CASE WHEN len(c{place}) > 0 THEN c{place} END" if is_list else f"c{place}[1]"
        return f"{value if given == target else given.changed(f'({value})', target)} AS {quoted(name)}"


def _text_if_valid(column: pa.Array) -> pa.Array:
    """A column of lists, with text for bytes if all are UTF-8."""
    if pa.types.is_null(column.type) or column.type.value_type != pa.large_binary():
        return column
    try:
        return pa.LargeListArray.from_arrays(column.offsets, column.values.cast(pa.large_utf8()))
    except pa.ArrowInvalid:
        return column


def _longest(column: pa.Array) -> int:
    return int(np.diff(column.offsets.to_numpy()).max(initial=0))


def quoted(name: str) -> str:
    """Return a name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


_COMMON = ("num_non_missing", "num_missing", "min_num_values", "max_num_values", "tot_num_values")
_COLUMNS: Mapping[str, pa.DataType] = {
    **dict.fromkeys((SPLIT, "feature", "type"), pa.string()),
    **dict.fromkeys(("num_examples", *_COMMON), pa.int64()),
    "avg_num_values": pa.float64(),
    **dict.fromkeys(("num_zeros", "num_nan"), pa.int64()),
    **dict.fromkeys(("min", "max", "mean", "std_dev", "median"), pa.float64()),
    "num_unique": pa.int64(),  # `unique` is a word of SQL's
    "avg_length": pa.float64(),
    "top_value": pa.string(),
    "top_count": pa.float64(),
}


def create_statistics(
    connection: duckdb.DuckDBPyConnection, statistics: Mapping[str, DatasetFeatureStatistics]
) -> None:
    """Create the table `statistics`: a row for each split and feature; NULL where a feature's type lacks a figure."""
    rows = [row for split, dataset in statistics.items() for row in _statistics_rows(split, dataset)]
    table = pa.Table.from_pylist(rows, pa.schema(list(_COLUMNS.items())))
    connection.register(_BATCH, table)
    connection.execute(f"CREATE TABLE {STATISTICS} AS FROM {_BATCH}")
    connection.unregister(_BATCH)


def _statistics_rows(split: str, dataset: DatasetFeatureStatistics) -> Iterator[dict[str, object]]:
    for name, feature in features_of(dataset).items():
        common = getattr(feature, str(feature.WhichOneof("stats"))).common_stats
        yield {
            SPLIT: split,
            "feature": name,
            "type": FeatureNameStatistics.Type.Name(feature.type),
            "num_examples": int(dataset.num_examples),
            **{figure: int(getattr(common, figure)) for figure in _COMMON},
            "avg_num_values": common.avg_num_values,
            **_figures(feature),
        }


def _figures(feature: FeatureNameStatistics) -> dict[str, object]:
    if feature.HasField("num_stats"):
        numbers = feature.num_stats
        figures = {name: getattr(numbers, name) for name in ("num_zeros", "min", "max", "mean", "std_dev", "median")}
        return figures | {"num_nan": _num_nan(numbers.histograms)}
    if feature.HasField("string_stats"):
        texts = feature.string_stats
        top = texts.top_values[:1]
        return {"num_unique": texts.unique, "avg_length": texts.avg_length} | {
            key: value for each in top for key, value in (("top_value", each.value), ("top_count", each.frequency))
        }
    if feature.HasField("bytes_stats"):
        return {"num_unique": feature.bytes_stats.unique, "avg_length": feature.bytes_stats.avg_num_bytes}
    return {}


def _num_nan(histograms: Iterable[Histogram]) -> int | None:
    return next((int(each.num_nan) for each in histograms if each.type == Histogram.STANDARD), None)
