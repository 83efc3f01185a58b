"""TFDV's statistics as a kernel: TFDV's own generators, and a generator for the most frequent values.

TFDV counts the most frequent values on Beam only. This is the only module that uses private parts of TFDV.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation import constants
from tensorflow_data_validation.arrow import arrow_util
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators.stats_generator import CombinerStatsGenerator
from tensorflow_data_validation.statistics.generators.top_k_uniques_stats_generator import (
    TopKUniquesStatsGenerator,
    _to_topk_tuples,
)
from tensorflow_data_validation.utils import slicing_util, top_k_uniques_stats_util
from tensorflow_data_validation.utils.top_k_uniques_stats_util import FeatureValueCount
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics, DatasetFeatureStatisticsList
from tfx_bsl.statistics.merge_util import merge_dataset_feature_statistics

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import columns_of, of_columns
from airflow_provider_mlpipe.records.sample import sample_rows
from airflow_provider_mlpipe.records.value_counts import ValueCounts

RECORD_COLUMN = "__serialized_example__"

_SLICES_BY_SQL = hasattr(slicing_util, "GenerateSlicesSqlDoFn")  # not in TFDV 1.21

_Accumulator: TypeAlias = dict[str, list[Any]]
"""By slice, one accumulator per generator."""


def beam_only(options: tfdv.StatsOptions) -> list[str]:
    """Return the names of what runs on Beam only, so that a StatisticsKernel lacks it: some generators, and functions.

    Raises InvalidInputError, with TFDV's message, when the options or their schema are invalid.
    """
    specs = options.slicing_config.slicing_specs if options.slicing_config else ()
    if not _SLICES_BY_SQL and any(spec.slice_keys_sql for spec in specs):
        raise InvalidInputError(
            f"stats_options: TFDV {tfdv.__version__} does not support slice_keys_sql; slice by feature_keys or "
            "feature_values"
        )
    try:
        generators = stats_impl.get_generators(options)
    except ValueError as error:
        raise InvalidInputError(f"stats_options: {error}") from error
    in_kernel = (CombinerStatsGenerator, TopKUniquesStatsGenerator)
    outside = [generator for generator in generators if not isinstance(generator, in_kernel)]
    functions = ["experimental_slice_functions"] if options.experimental_slice_functions else []
    return [*dict.fromkeys(generator.name for generator in [*(options.generators or ()), *outside]), *functions]


@dataclass(frozen=True, kw_only=True)
class Features:
    """Which features to use, and which of them are weights. As in TFDV, an empty `allowed` means all features."""

    allowed: Sequence[str]
    weights: Mapping[str, str]
    """By weight feature, the option that names it."""

    @classmethod
    def of(cls, options: tfdv.StatsOptions) -> Features:
        """Read the features from the options."""
        weights = {
            name: "weight_feature" if name == options.weight_feature else "per_feature_weight_override"
            for name in sorted(options.example_weight_map.all_weight_features())
        }
        return cls(allowed=tuple(options.feature_allowlist or ()), weights=weights)

    def select(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the features of a batch, with all its rows. TFDV would drop the rows of a batch without any of them.

        Raises InvalidInputError unless every row has exactly one number as its weight.
        """
        selected = batch
        if self.allowed:
            columns = columns_of(batch)
            allowed = {name: columns[name] for name in self.allowed if name in columns}
            selected = of_columns(allowed, batch.num_rows)
        for name, option in self.weights.items():
            try:
                arrow_util.get_weight_feature(selected, name)
            except ValueError as error:
                raise InvalidInputError(
                    f"stats_options: {option}: {str(error).rstrip('.')}; name a feature that has exactly one number in "
                    "every example, and list it in feature_allowlist if that is set"
                ) from error
        return selected


@dataclass(frozen=True)
class StatisticsKernel:
    """Computes the same statistics as `tfdv.GenerateStatistics`.

    `options_json` comes from `StatsOptions.to_json`. With a `sample_rate`, only sampled rows count, and batches must
    have their serialized records in RECORD_COLUMN. When merged counts of distinct values take more than `memory_bytes`,
    they are written to disk.
    """

    options_json: str
    sample_rate: float | None
    memory_bytes: int

    def create(self) -> _Accumulator:
        """Return an empty accumulator."""
        return {}

    def add(self, accumulator: _Accumulator, batch: pa.RecordBatch) -> _Accumulator:
        """Add the rows to each slice they are in."""
        tools = _tools(self.options_json)
        if self.sample_rate is not None:
            batch = sample_rows(batch, RECORD_COLUMN, self.sample_rate)
        for name, rows in tools.slices(batch):
            before = accumulator.get(name) or [one.create_accumulator() for one in tools.generators]
            accumulator[name] = [
                one.add_input(partial, rows) for one, partial in zip(tools.generators, before, strict=True)
            ]
        return accumulator

    def merge(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        """Merge slice by slice."""
        generators = _tools(self.options_json).generators
        merged = self.create()
        for accumulator in accumulators:
            for name, partials in accumulator.items():
                before = merged.get(name) or [one.create_accumulator() for one in generators]
                merged[name] = [
                    one.merge_accumulators([first, second])
                    for one, first, second in zip(generators, before, partials, strict=True)
                ]
            _spill(merged, self.memory_bytes)
        return merged

    def extract(self, accumulator: _Accumulator) -> DatasetFeatureStatisticsList:
        """Return one dataset per slice, the slice of all rows first. Without rows, return one empty dataset."""
        tools = _tools(self.options_json)
        found = DatasetFeatureStatisticsList()
        for name in sorted(accumulator, key=lambda name: (name != constants.DEFAULT_SLICE_KEY, name)):
            outputs = [
                one.extract_output(one.compact(partial))
                for one, partial in zip(tools.generators, accumulator[name], strict=True)
            ]
            (dataset,) = merge_dataset_feature_statistics(outputs).datasets
            dataset.name = name if tools.slicers else ""
            found.datasets.append(dataset)
        if not found.datasets:
            found.datasets.add()
        return found


def _spill(accumulator: _Accumulator, memory_bytes: int) -> None:
    counts = [
        one
        for partials in accumulator.values()
        for partial in partials
        if isinstance(partial, _Counts)
        for one in partial.values()
    ]
    used = sum(one.nbytes for one in counts)
    for one in sorted(counts, key=lambda one: one.nbytes, reverse=True):
        if used <= memory_bytes:
            break
        used -= one.nbytes
        one.spill()


@dataclass(frozen=True)
class _Tools:
    generators: list[CombinerStatsGenerator]
    slicers: list[Any]
    features: Features

    def slices(self, batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        batch = self.features.select(batch)
        if not self.slicers:
            yield constants.DEFAULT_SLICE_KEY, batch
        for slicer in self.slicers:
            yield from slicer(batch)


@functools.lru_cache(maxsize=1)
def _tools(options_json: str) -> _Tools:
    """Create the objects that cannot be pickled, once per process."""
    options = tfdv.StatsOptions.from_json(options_json)
    generators = [
        _TopK(generator) if isinstance(generator, TopKUniquesStatsGenerator) else generator
        for generator in stats_impl.get_generators(options)
    ]
    for generator in generators:
        generator.setup()
    return _Tools(generators=generators, slicers=_slicers(options), features=Features.of(options))


def _slicers(options: tfdv.StatsOptions) -> list[Any]:
    """Return functions that turn a batch into pairs of a slice and its rows; an empty list if there is no slicing."""
    config = options.slicing_config
    if not _SLICES_BY_SQL:
        functions, queries = slicing_util.convert_slicing_config_to_slice_functions(config), None
    elif config:
        functions, queries = slicing_util.convert_slicing_config_to_slice_functions_and_sqls(config)
    else:
        functions, queries = None, options.experimental_slice_sqls
    if functions:
        return [slicing_util.default_slicer, *functions]
    if queries:
        by_query = slicing_util.GenerateSlicesSqlDoFn(queries)
        by_query.setup()
        return [by_query.process]
    return []


class _Counts(dict[tuple[str, ...], ValueCounts]):
    """Counts of values by feature."""


class _TopK(CombinerStatsGenerator):  # type: ignore[misc]  # TFDV is untyped
    """Does in a process what TFDV's TopKUniquesStatsGenerator does on Beam: exact counts of the same features."""

    def __init__(self, on_beam: TopKUniquesStatsGenerator) -> None:
        super().__init__("TopK")
        self._wanted = on_beam.ptransform

    def create_accumulator(self) -> _Counts:
        return _Counts()

    def add_input(self, accumulator: _Counts, input_record_batch: pa.RecordBatch) -> _Counts:
        wanted = self._wanted
        tuples = _to_topk_tuples(
            (None, input_record_batch),
            wanted._bytes_features,
            wanted._categorical_numeric_types,
            wanted._example_weight_map,
        )
        for path, some in itertools.groupby(tuples, key=lambda one: one[0][1]):
            values, counts, weights = zip(*((key[2], *counted) for key, counted in some), strict=True)
            kind = pa.large_binary() if isinstance(values[0], bytes) else pa.int64()
            rounded = list(map(float, weights))  # integers, too: Arrow refuses to round them
            arrays = pa.array(values, kind), pa.array(counts, pa.int64()), pa.array(rounded, pa.float64())
            accumulator.setdefault(path, ValueCounts()).add(*arrays)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Counts]) -> _Counts:
        merged = _Counts()
        for accumulator in accumulators:
            for path, counts in accumulator.items():
                if path in merged:
                    merged[path].extend(counts)
                else:
                    merged[path] = counts
        return merged

    def extract_output(self, accumulator: _Counts) -> DatasetFeatureStatistics:
        protos = [proto for path, counts in accumulator.items() for proto in self._protos(path, counts)]
        if not protos:
            return DatasetFeatureStatistics()
        (dataset,) = merge_dataset_feature_statistics(protos).datasets
        return dataset

    def _protos(self, path: tuple[str, ...], counts: ValueCounts) -> Iterator[DatasetFeatureStatistics]:
        wanted = self._wanted
        top = counts.top(max(wanted._num_top_values, wanted._num_rank_histogram_buckets))
        yield top_k_uniques_stats_util.make_dataset_feature_stats_proto_unique_single(path, top.unique)
        by_count = [FeatureValueCount(value, count) for value, count, _ in top.by_count]
        by_weight = [FeatureValueCount(value, weight) for value, _, weight in top.by_weight]
        yield self._ranked(path, by_count, wanted._frequency_threshold, is_weighted=False)
        if wanted._example_weight_map.all_weight_features():
            yield self._ranked(path, by_weight, wanted._weighted_frequency_threshold, is_weighted=True)

    def _ranked(
        self, path: tuple[str, ...], values: list[FeatureValueCount], threshold: float, *, is_weighted: bool
    ) -> DatasetFeatureStatistics:
        wanted = self._wanted
        return top_k_uniques_stats_util.make_dataset_feature_stats_proto_topk_single(
            path, values, is_weighted, wanted._num_top_values, threshold, wanted._num_rank_histogram_buckets
        )
