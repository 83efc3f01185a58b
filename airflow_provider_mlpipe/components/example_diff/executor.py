"""Pairs examples by their identifiers, and compares the features of each pair, in a database on this machine's disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tensorflow.core.example.example_pb2 import Example

from airflow_provider_mlpipe.artifacts import Examples, ExamplesDiff
from airflow_provider_mlpipe.components.example_diff import results
from airflow_provider_mlpipe.components.example_diff.comparison import Comparison, Matching
from airflow_provider_mlpipe.components.example_diff.tables import Database, Table, opened
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExampleDiffConfig, PairedExampleSkew
from airflow_provider_mlpipe.records.inputs import split_files
from airflow_provider_mlpipe.records.tfrecord import read_blocks
from airflow_provider_mlpipe.spelling import did_you_mean, listed
from airflow_provider_mlpipe.storage.layout import folder_of
from airflow_provider_mlpipe.storage.split_pairs import SplitPair, select_split_pairs, split_pair_folder

log = logging.getLogger(__name__)

SUMMARY_FILE = "summary.json"
_MOST_DIFFERENT = 10
_MOST_CONFUSED = 50


def run(
    *,
    examples_test: Examples,
    examples_base: Examples,
    config: Mapping[str, Any],
    include_split_pairs: Sequence[Sequence[str]] | None,
    max_diff_share: float | None,
    example_diff_result: ExamplesDiff,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write TFX's files for every pair of splits, and `summary.json`.

    The executor ignores `max_diff_share`: the task checks it after the result is published. Raises InvalidInputError
    for an unknown split or feature, identifiers of different types, duplicates that are not allowed, a confusion
    feature with numbers or several values, and when no example has a partner.
    """
    wanted = parse_config(ExampleDiffConfig, config, parameter="config").paired_example_skew
    pairs = select_split_pairs(examples_test, examples_base, include_split_pairs)
    confusing = [each.feature_name for each in wanted.confusion_config]
    how = {
        "kept": [*wanted.identifier_features, *confusing],
        "ignored": [*wanted.identifier_features, *wanted.ignore_features],
        "float_digits": wanted.float_round_ndigits if wanted.HasField("float_round_ndigits") else None,
    }
    summary = {}
    with opened(context, **how) as database:
        tables = {
            pair: (database.load(examples_base, pair.base), database.load(examples_test, pair.test)) for pair in pairs
        }
        _check_features(wanted, [table for sides in tables.values() for table in sides])
        for place, (pair, (base, test)) in enumerate(tables.items()):
            folder = split_pair_folder(example_diff_result, pair)
            folder.mkdir()
            compared = _Pair(database, f"p{place}", pair=pair, base=base, test=test, wanted=wanted)
            summary[str(pair)] = compared.write(folder)
    path = folder_of(example_diff_result) / SUMMARY_FILE
    path.write_text(json.dumps({"split_pairs": summary}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {"example_diff_result": _produced(summary)}


def _produced(summary: Mapping[str, Any]) -> Produced:
    return Produced(
        properties={
            "splits": list(summary),
            "pair_counts": {pair: found["pairs"] for pair, found in summary.items()},
            "differing_counts": {pair: found["differing_pairs"] for pair, found in summary.items()},
        },
        custom_properties={"most_different": {pair: _most_different(found) for pair, found in summary.items()}},
    )


def _most_different(found: Mapping[str, Any]) -> dict[str, int]:
    counts = {feature: skew["diff_count"] for feature, skew in found["features"].items() if skew["diff_count"]}
    most = sorted(counts, key=lambda feature: (-counts[feature], feature))[:_MOST_DIFFERENT]
    return {feature: counts[feature] for feature in most}


def _check_features(wanted: PairedExampleSkew, tables: Sequence[Table]) -> None:
    """Raise InvalidInputError for a feature that no split has, and for a confusion feature with numbers."""
    known = sorted({feature for table in tables for feature in table.kinds})
    confusing = [each.feature_name for each in wanted.confusion_config]
    for parameter, names in (("ignore_features", wanted.ignore_features), ("confusion_config", confusing)):
        for name in names:
            if name not in known:
                meant = did_you_mean(name, known) or f"there are: {listed(known)}"
                raise InvalidInputError(f"config: {parameter} names {name!r}, which no split has; {meant}")
    for table in tables:
        for name in confusing:
            if table.kinds.get(name) in ("INT", "FLOAT"):
                raise InvalidInputError(
                    f"config: confusion_config names {name!r}, which is {table.kinds[name]} in {table}; it needs a "
                    "feature of texts (BYTES)"
                )


class _Pair:
    """The comparison of one pair of splits."""

    def __init__(
        self, database: Database, name: str, *, pair: SplitPair, base: Table, test: Table, wanted: PairedExampleSkew
    ) -> None:
        self._pair, self._base, self._test, self._wanted = pair, base, test, wanted
        self._identifiers = sorted(set(wanted.identifier_features))
        self._check_identifiers()
        self._comparison = Comparison(database, name, base=base, test=test, identifiers=self._identifiers)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files of the pair, and return its part of the summary."""
        matching = self._comparison.matching()
        self._check_matching(matching)
        self._comparison.pair()
        left_out = {*self._identifiers, *self._wanted.ignore_features}
        features = sorted({*self._base.kinds, *self._test.kinds} - left_out)
        skews = [results.feature_skew(feature, found) for feature, found in self._comparison.compare(features).items()]
        differing = self._comparison.differing_count()
        results.write_messages(folder, results.SKEW_STATS, skews)
        results.write_messages(folder, results.MATCH_STATS, [results.match_stats(matching)])
        log.info("split pair %s: %s of %s pairs differ", self._pair, differing, matching.matching_pairs_count)
        return {
            "pairs": matching.matching_pairs_count,
            "differing_pairs": differing,
            "match_stats": asdict(matching),
            "features": {skew.feature_name: results.plain_skew(skew) for skew in skews},
            "sample_pairs": self._write_sample(folder),
            "confusion": self._write_confusion(folder),
        }

    def _write_sample(self, folder: Path) -> list[dict[str, Any]]:
        sample = self._comparison.sample(self._wanted.skew_sample_size)
        bases = _records(self._base, {base for base, _ in sample})
        tests = _records(self._test, {test for _, test in sample})
        pairs = [
            (bases[base], tests[test], results.skew_pair(bases[base], tests[test], outcomes))
            for (base, test), outcomes in sample.items()
        ]
        results.write_messages(folder, results.SAMPLE_PAIRS, (pair for _, _, pair in pairs))
        return [results.plain_pair(*pair, self._identifiers) for pair in pairs]

    def _write_confusion(self, folder: Path) -> dict[str, list[list[Any]]]:
        features = list(dict.fromkeys(each.feature_name for each in self._wanted.confusion_config))
        if not features:
            return {}
        greatest: dict[str, list[list[Any]]] = {feature: [] for feature in features}

        def counted() -> Iterator[Any]:
            for feature in features:
                found = self._comparison.confusion(feature)
                yield from results.confusion_counts(feature, _noting(found, greatest[feature]))

        results.write_messages(folder, results.CONFUSION, counted())
        return greatest

    def _check_identifiers(self) -> None:
        if self._base is self._test:
            log.warning("split pair %s: %s is compared with itself", self._pair, self._test)
        for table in (self._base, self._test):
            if not table.rows:
                raise InvalidInputError(
                    f"split pair {self._pair}: {table} has no examples; leave this pair out with include_split_pairs"
                )
        for name in self._identifiers:
            kinds = [table.kinds.get(name) for table in (self._base, self._test)]
            for table, kind in zip((self._base, self._test), kinds, strict=True):
                if kind is None:
                    meant = did_you_mean(name, table.kinds) or f"it has: {listed(sorted(table.kinds)) or 'no feature'}"
                    raise InvalidInputError(
                        f"config: identifier_features names {name!r}, but {table} lacks it; {meant}"
                    )
            if len(set(kinds)) > 1:
                raise InvalidInputError(
                    f"config: identifier_features names {name!r}, which is {kinds[0]} in {self._base}, but {kinds[1]} "
                    f"in {self._test}, so no example has a partner; create one of them with the type of the other"
                )

    def _check_matching(self, matching: Matching) -> None:
        """Raise InvalidInputError for duplicates that are not allowed, and without pairs; warn of what is left out."""
        if matching.duplicate_id_count and not self._wanted.allow_duplicate_identifiers:
            raise self._duplicates(matching)
        if not matching.matching_pairs_count:
            raise self._nothing_in_common(matching)
        for table, without, alone in (
            (self._base, matching.base_missing_id_count, matching.ids_missing_in_test_count),
            (self._test, matching.test_missing_id_count, matching.ids_missing_in_base_count),
        ):
            if without:
                log.warning("%s: %s of %s rows lack an identifier; they are not compared", table, without, table.rows)
            if alone:
                log.warning("%s: %s identifiers have no partner; their rows are not compared", table, alone)

    def _duplicates(self, matching: Matching) -> InvalidInputError:
        found = self._comparison.duplicate()
        assert found is not None
        table, count, (first, second) = found
        return InvalidInputError(
            f"split pair {self._pair}: {matching.duplicate_id_count:,} identifiers occur more than once, {count:,} of "
            f"them in {table}, such as {self._shown(table, first)} in rows {first + 1:,} and {second + 1:,}; name more "
            "identifier_features, or set allow_duplicate_identifiers to compare each with each"
        )

    def _nothing_in_common(self, matching: Matching) -> InvalidInputError:
        described = "; ".join(
            f"{table} has {count:,} identifiers"
            + (f", such as {self._shown(table, self._comparison.some_row(table))}" if count else "")
            for table, count in (
                (self._base, matching.identifiers_count - matching.ids_missing_in_base_count),
                (self._test, matching.identifiers_count - matching.ids_missing_in_test_count),
            )
        )
        return InvalidInputError(
            f"split pair {self._pair}: no example has a partner with the same identifiers, so nothing can be compared: "
            f"{described}; correct identifier_features, or leave this pair out with include_split_pairs"
        )

    def _shown(self, table: Table, row: int) -> str:
        features = _records(table, {row})[row].features.feature
        return ", ".join(f"{name}={results.plain_values(features[name])}" for name in self._identifiers)


def _noting(found: Iterator[results.Confusion], greatest: list[list[Any]]) -> Iterator[results.Confusion]:
    """Pass the counts through, and note the first ones, which are the greatest."""
    for place, (base, test, count) in enumerate(found):
        if place < _MOST_CONFUSED:
            greatest.append([results.plain_text(base), results.plain_text(test), count])
        yield base, test, count


def _records(table: Table, rows: set[int]) -> dict[int, Example]:
    """Read some rows of a split from its records, by their numbers."""
    found: dict[int, Example] = {}
    first = 0
    for file in split_files(table.examples, table.split) if rows else ():
        for block in read_blocks(file):
            for row in rows.intersection(range(first, first + len(block))):
                found[row] = Example.FromString(block[row - first])
            first += len(block)
    return found
