"""Pairs the rows of two tables by their identifiers, and compares the features of each pair, in SQL.

The meaning is that of TFDV's feature_skew_detector, with one exception. A feature without values matches another one
without values, whether it is an empty list or left out: TFDV does not count two that are left out, and takes an empty
list and a left out one for a difference, but of no feature.
"""

# ruff: noqa: S608 - the names of tables and columns are ours; values are parameters

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from airflow_provider_mlpipe.components.example_diff.tables import Database, Table
from airflow_provider_mlpipe.exceptions import InvalidInputError

_FEATURES_AT_ONCE = 64


class Outcome(IntEnum):
    """What the comparison of a feature in a pair gives."""

    BOTH_EMPTY = 0
    MATCH = 1
    MISMATCH = 2
    BASE_ONLY = 3
    TEST_ONLY = 4


_DIFFERENT = f"({', '.join(str(int(each)) for each in (Outcome.MISMATCH, Outcome.BASE_ONLY, Outcome.TEST_ONLY))})"

Outcomes: TypeAlias = Mapping[Outcome, int]
RowPair: TypeAlias = tuple[int, int]
"""The numbers of a row of the base and of one of the test."""


@dataclass(frozen=True, kw_only=True)
class Matching:
    """How the identifiers of two splits match; the names and meanings are those of TFDV's MatchStats."""

    base_with_id_count: int
    test_with_id_count: int
    identifiers_count: int
    ids_missing_in_base_count: int
    ids_missing_in_test_count: int
    matching_pairs_count: int
    duplicate_id_count: int
    base_missing_id_count: int
    test_missing_id_count: int


class Comparison:
    """The comparison of two tables; `name` is its own in the database."""

    def __init__(self, database: Database, name: str, *, base: Table, test: Table, identifiers: Sequence[str]) -> None:
        self._database = database
        self._pairs, self._differing = f"{name}_pairs", f"{name}_differing"
        self._outcomes, self._sample = f"{name}_outcomes", f"{name}_sample"
        self._base_ids, self._test_ids = f"{name}_base_ids", f"{name}_test_ids"
        self._base, self._test = base, test
        self._keys = [database.values_of(feature) for feature in sorted(set(identifiers))]
        self._features: list[Sequence[str]] = []

    def matching(self) -> Matching:
        """Count the identifiers of both sides, one side after the other: each may need all of the memory."""
        for table, counted in ((self._base, self._base_ids), (self._test, self._test_ids)):
            self._database.execute(
                f"CREATE TABLE {counted} AS SELECT {', '.join(self._keys)}, count(*) AS n "
                f"FROM {table.name} WHERE {self._has_keys()} GROUP BY ALL"
            )
        counts = self._database.row(
            "SELECT sum(b.n), sum(t.n), count(*), count(*) FILTER (b.n IS NULL), count(*) FILTER (t.n IS NULL), "
            "sum(b.n * t.n), count(*) FILTER (b.n > 1 OR t.n > 1) "
            f"FROM {self._base_ids} b FULL JOIN {self._test_ids} t ON {self._same_keys()}"
        )
        missing = [
            self._database.row(f"SELECT count(*) FROM {table.name} WHERE NOT ({self._has_keys()})")[0]
            for table in (self._base, self._test)
        ]
        return Matching(**dict(zip(Matching.__dataclass_fields__, (*counts, *missing), strict=True)))

    def duplicate(self) -> tuple[Table, int, RowPair] | None:
        """Return a table with a duplicate, how many identifiers of it have one, and two rows with the same ones."""
        for table in (self._base, self._test):
            count, first, second = self._database.row(
                "SELECT count(*), min(rows[1]), arg_min(rows[2], rows[1]) FROM (SELECT "
                f'min("row", 2) AS rows FROM {table.name} WHERE {self._has_keys()} '
                f"GROUP BY {', '.join(self._keys)} HAVING count(*) > 1)"
            )
            if count:
                return table, count, (first, second)
        return None

    def some_row(self, table: Table) -> int:
        """Return the first row of a table that has the identifiers."""
        query = f'SELECT min("row") FROM {table.name} WHERE {self._has_keys()}'
        return self._database.row(query)[0]

    def pair(self) -> None:
        """Make the pairs: each row of the base with each of the test that has the same identifiers."""
        self._database.execute(
            f'CREATE TABLE {self._pairs} AS SELECT b."row" AS base, t."row" AS test '
            f"FROM {self._base.name} b JOIN {self._test.name} t ON {self._same_keys()} "
            f"WHERE {self._has_keys('b.')} AND {self._has_keys('t.')}"
        )

    def compare(self, features: Sequence[str]) -> dict[str, Outcomes]:
        """Count the outcomes of each feature over all pairs."""
        self._database.execute(f"CREATE TABLE {self._differing} (base BIGINT, test BIGINT)")
        counts: dict[str, Outcomes] = {}
        for first in range(0, len(features), _FEATURES_AT_ONCE):
            some = features[first : first + _FEATURES_AT_ONCE]
            counts.update(zip(some, self._compared(some), strict=True))
        return counts

    def differing_count(self) -> int:
        """Count the pairs that differ in a feature."""
        query = f"SELECT count(*) FROM (SELECT DISTINCT base, test FROM {self._differing})"
        return self._database.row(query)[0]

    def sample(self, size: int) -> dict[RowPair, dict[str, Outcome]]:
        """Return up to `size` of the pairs that differ, in the order of their rows, with the outcome of each feature.

        They are the same ones in every run.
        """
        self._database.execute(
            f"CREATE TABLE {self._sample} AS SELECT DISTINCT base, test FROM {self._differing} "
            "ORDER BY md5(base || ' ' || test), base, test LIMIT ?",
            [size],
        )
        sampled = self._database.execute(f"SELECT base, test FROM {self._sample} ORDER BY ALL").fetchall()
        outcomes: dict[RowPair, dict[str, Outcome]] = {pair: {} for pair in sampled}
        for place, features in enumerate(self._features):
            query = f"SELECT * FROM {self._outcomes}{place} JOIN {self._sample} USING (base, test)"
            for base, test, *values in self._database.execute(query).fetchall():
                outcomes[base, test].update(zip(features, map(Outcome, values), strict=True))
        return outcomes

    def confusion(self, feature: str) -> Iterator[tuple[bytes | None, bytes | None, int]]:
        """Yield each value of the base with each of the test, and how many pairs have both; None if there is no value.

        Raises InvalidInputError for a feature with several values.
        """
        column = self._database.values_of(feature)
        base, test = (
            f"{side}.{column}[1]" if table.has_values(feature) else "NULL::BLOB"
            for side, table in (("b", self._base), ("t", self._test))
        )
        for table in (self._base, self._test):
            self._check_one_value(table, feature)
        found = self._database.execute(
            f"SELECT {base} AS x, {test} AS y, count(*) AS n FROM {self._joined()} GROUP BY ALL ORDER BY n DESC, x, y"
        )
        while rows := found.fetchmany(10_000):
            yield from rows

    def _check_one_value(self, table: Table, feature: str) -> None:
        if not table.has_values(feature):
            return
        query = f'SELECT count(*), min("row") FROM {table.name} WHERE len({self._database.values_of(feature)}) > 1'
        count, first = self._database.row(query)
        if count:
            raise InvalidInputError(
                f"config: confusion_config names {feature!r}, but {count:,} rows of {table} have several values of it, "
                f"such as row {first + 1:,}; it needs a feature with at most one"
            )

    def _compared(self, features: Sequence[str]) -> list[Outcomes]:
        table = f"{self._outcomes}{len(self._features)}"
        self._features.append(features)
        codes = ", ".join(f"({self._outcome(feature)})::UTINYINT AS f{place}" for place, feature in enumerate(features))
        self._database.execute(f"CREATE TABLE {table} AS SELECT p.base, p.test, {codes} FROM {self._joined()}")
        differs = " OR ".join(f"f{place} IN {_DIFFERENT}" for place in range(len(features)))
        self._database.execute(f"INSERT INTO {self._differing} SELECT base, test FROM {table} WHERE {differs}")
        wanted = itertools.product(range(len(features)), Outcome)
        counted = ", ".join(f"count(*) FILTER (f{place} = {int(outcome)})" for place, outcome in wanted)
        counts = iter(self._database.row(f"SELECT {counted} FROM {table}"))
        return [{outcome: next(counts) for outcome in Outcome} for _ in features]

    def _joined(self) -> str:
        return (
            f'{self._pairs} p JOIN {self._base.name} b ON b."row" = p.base JOIN {self._test.name} t ON t."row" = p.test'
        )

    def _outcome(self, feature: str) -> str:
        column = self._database.fingerprint(feature)
        base, test = (
            f"{side}.{column}" if table.has_values(feature) else "NULL"
            for side, table in (("b", self._base), ("t", self._test))
        )
        is_of_one_type = self._base.kinds.get(feature) == self._test.kinds.get(feature)
        return (
            f"CASE WHEN {base} IS NULL AND {test} IS NULL THEN {Outcome.BOTH_EMPTY:d} "
            f"WHEN {base} IS NULL THEN {Outcome.TEST_ONLY:d} WHEN {test} IS NULL THEN {Outcome.BASE_ONLY:d} "
            f"WHEN {base} = {test} AND {is_of_one_type} THEN {Outcome.MATCH:d} ELSE {Outcome.MISMATCH:d} END"
        )

    def _has_keys(self, side: str = "") -> str:
        return " AND ".join(f"coalesce(len({side}{key}), 0) > 0" for key in self._keys)

    def _same_keys(self) -> str:
        return " AND ".join(f"b.{key} = t.{key}" for key in self._keys)
