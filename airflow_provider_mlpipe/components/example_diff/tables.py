"""The rows of splits as tables of a DuckDB database, which is a file in the executor's temporary folder.

DuckDB works within a limit of memory and uses the disk beyond it. Rows come to it as Arrow arrays, and none becomes a
Python object. A feature that is compared is a column of fingerprints, 64 bits for each row, as TFDV compares features
by fingerprints of 64 bits, too; null if there is no value. So the values themselves, which may be images, are not kept.
Only identifiers, and features whose values are counted, are columns of lists.

Floats are taken by their bits, so that they are equal if their serialized forms are.
"""

# ruff: noqa: S608 - the names of tables and columns are ours

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.components.example_diff.rounding import rounded
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records import duckdb_file
from airflow_provider_mlpipe.records.batches import columns_of, of_columns
from airflow_provider_mlpipe.records.chunks import example_sources
from airflow_provider_mlpipe.records.engine import batches_of, process_count
from airflow_provider_mlpipe.records.mixed_types import NAMES, mixed_types_of

_LISTS = {"INT": "BIGINT[]", "FLOAT": "INTEGER[]", "BYTES": "BLOB[]"}
_FINGERPRINT = "UBIGINT"


@dataclass(kw_only=True)
class Table:
    """The rows of a split. `kinds` is {feature: INT, FLOAT, BYTES, or None if it has no values}."""

    name: str
    examples: Examples
    split: str
    rows: int = 0
    kinds: dict[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"split {self.split!r} of {self.examples.uri}"

    def has_values(self, feature: str) -> bool:
        """Whether any row has a value of the feature, and so the table has its column."""
        return self.kinds.get(feature) is not None


class Database:
    """Loads splits, and runs queries. `row` is a row's number from 0.

    The features `kept` are columns `values_of(feature)`, all others but those `ignored` columns `fingerprint(feature)`;
    a feature may be kept and be compared, too.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        kept: Collection[str],
        ignored: Collection[str],
        float_digits: int | None,
    ) -> None:
        self._connection = connection
        self._kept, self._ignored = frozenset(kept), frozenset(ignored)
        self._float_digits = float_digits
        self._numbers: dict[str, int] = {}
        self._tables: dict[tuple[str, str], Table] = {}

    def values_of(self, feature: str) -> str:
        """Return the column with the values of a kept feature. SQL would ignore the case of the feature's own name."""
        return f"values{self._number(feature)}"

    def fingerprint(self, feature: str) -> str:
        """Return the column with the fingerprints of a feature."""
        return f"fingerprint{self._number(feature)}"

    def load(self, examples: Examples, split: str) -> Table:
        """Load a split, unless it has been loaded; raises InvalidInputError when its records cannot be read."""
        key = (examples.uri, split)
        if key not in self._tables:
            self._tables[key] = self._loaded(Table(name=f"t{len(self._tables)}", examples=examples, split=split))
        return self._tables[key]

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Run a query; its result can be fetched."""
        return self._connection.execute(query, parameters)

    def row(self, query: str) -> tuple[int, ...]:
        """Return the one row of a query for whole numbers."""
        found = self.execute(query).fetchone()
        assert found is not None
        return tuple(0 if value is None else int(value) for value in found)

    def _loaded(self, table: Table) -> Table:
        self.execute(f'CREATE TABLE {table.name} ("row" BIGINT)')
        for source in example_sources(table.examples, table.split):
            for batch in batches_of(source):
                self._append(table, batch)
        return table

    def _append(self, table: Table, batch: pa.RecordBatch) -> None:
        given = {"row": pa.array(np.arange(table.rows, table.rows + batch.num_rows))}
        made = ["row"]
        for feature, values in columns_of(batch).items():
            kind = None if pa.types.is_null(values.type) else NAMES[values.type.value_type]
            self._note_kind(table, feature, kind)
            if kind is not None and (columns := self._columns(feature, kind)):
                name = self.values_of(feature)
                given[name] = self._stored(values)
                made += [name if column == name else f"{_fingerprint(name)} AS {column}" for column in columns]
        self._connection.register("batch", pa.Table.from_batches([of_columns(given, batch.num_rows)]))
        self.execute(f"INSERT INTO {table.name} BY NAME SELECT {', '.join(made)} FROM batch")
        self._connection.unregister("batch")
        table.rows += batch.num_rows

    def _number(self, feature: str) -> int:
        return self._numbers.setdefault(feature, len(self._numbers))

    def _columns(self, feature: str, kind: str) -> dict[str, str]:
        """Return the columns of a feature and their types in SQL."""
        kept = {self.values_of(feature): _LISTS[kind]} if feature in self._kept else {}
        return kept if feature in self._ignored else {**kept, self.fingerprint(feature): _FINGERPRINT}

    def _note_kind(self, table: Table, feature: str, kind: str | None) -> None:
        known = table.kinds.setdefault(feature, None)
        if kind is None or kind == known:
            return
        if known is not None:
            raise mixed_types_of(table.examples, table.split) or InvalidInputError(
                f"{table}: feature {feature!r} is {known} in some records, but {kind} in others; create the examples "
                "again, with one type for each feature"
            )
        table.kinds[feature] = kind
        for column, sql_type in self._columns(feature, kind).items():
            self.execute(f"ALTER TABLE {table.name} ADD COLUMN {column} {sql_type}")

    def _stored(self, lists: pa.LargeListArray) -> pa.LargeListArray:
        """Return the lists with an empty one for each null, and floats as their bits."""
        lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        values = lists.flatten()
        if pa.types.is_floating(values.type):
            numbers = values.to_numpy(zero_copy_only=False)
            if self._float_digits is not None:
                numbers = rounded(numbers, self._float_digits)
            values = pa.array(np.ascontiguousarray(numbers).view(np.int32))
        return pa.LargeListArray.from_arrays(pa.array(offsets), values)


def _fingerprint(lists: str) -> str:
    """Return the fingerprint of lists in SQL. The length is in it, as DuckDB's hash of a list ignores leading zeros."""
    return f"CASE WHEN len({lists}) > 0 THEN hash(len({lists}), {lists}) END"


@contextlib.contextmanager
def opened(context: ExecutorContext, **how: Any) -> Iterator[Database]:
    """Open a new database in the temporary folder; `how` it works are the arguments of Database.

    Raises TransientError when its memory or the disk is too small for a query.
    """
    settings = {"threads": process_count(context), "preserve_insertion_order": False}
    try:
        with duckdb_file.opened(context, **settings) as connection:
            yield Database(connection, **how)
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise TransientError(
            f"the comparison of the examples ran out of memory or disk: {error}. Raise [mlpipe] max_memory_mb, or give "
            f"{context.tmp_dir} more space"
        ) from error
