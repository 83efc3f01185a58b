"""Statistics by the kernel, from either source and on either engine, against TFDV's own pipeline on Beam."""

from __future__ import annotations

import itertools
import os
import re
import resource
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow")
import stock
import tensorflow_data_validation as tfdv
from examples import EXAMPLES
from flights import data
from statistics_equality import assert_alike, assert_equal, datasets
from tensorflow_data_validation.utils import slicing_util
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics
from airflow_provider_mlpipe.components.statistics_gen.executor import run
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.sidecar import stored
from airflow_provider_mlpipe.records.split_writer import SplitWriter
from airflow_provider_mlpipe.records.statistics import read_statistics
from airflow_provider_mlpipe.records.stats_options import read_stats_options
from airflow_provider_mlpipe.records.tfrecord import frame
from airflow_provider_mlpipe.records.value_counts import ValueCounts

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:np.find_common_type is deprecated:DeprecationWarning"),  # TFDV's slices
]

DIRECT_RUNNER = ("--runner=DirectRunner",)
FLIGHTS = 10_000
UNCHECKED = ("--no_pipeline_type_check",)
"""TFDV's lift has type hints that Beam refuses."""

Folder = Callable[[], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return lambda: tmp_path_factory.mktemp("statistics")


@pytest.fixture(scope="module")
def flights(folder: Folder) -> Examples:
    """The first flights, prepared as in the DAG: numbers with and without gaps, words, a weight."""
    rows = list(itertools.islice(data.joined_flights(), FLIGHTS))
    columns = {name: column([row[name] for row in rows]) for name in rows[0]}
    return write(folder(), pa.RecordBatch.from_pydict(columns))


def column(cells: list[str]) -> pa.Array:
    for parse, kind in ((int, pa.int64()), (float, pa.float32())):
        try:
            return pa.array([parse(cell) if cell else None for cell in cells], kind)
        except ValueError:
            continue
    return pa.array([cell.encode() or None for cell in cells], pa.binary())


def write(folder: Path, rows: pa.RecordBatch) -> Examples:
    """Write an Examples artifact with a sidecar."""
    counts = {"train": rows.num_rows}
    examples = Examples(uri=str(folder), properties={"splits": ["train"], "record_counts": counts})
    with SplitWriter(examples, "train") as writer:
        writer.write(frame(encode_examples(rows)), stored(rows))
    return examples


def without_sidecar(examples: Examples, folder: Path) -> Examples:
    (folder / "Split-train").symlink_to(Path(examples.uri, "Split-train"))
    return Examples(uri=str(folder), properties=examples.properties)


def ours(
    examples: Examples,
    folder: Path,
    options: Mapping[str, Any] | None = None,
    beam_pipeline_args: tuple[str, ...] = UNCHECKED,
) -> DatasetFeatureStatisticsList:
    (out := folder / "out").mkdir()
    (tmp := folder / "tmp").mkdir()
    run(
        examples=examples,
        schema=None,
        stats_options=options,
        exclude_splits=[],
        sample_rate_by_split=None,
        statistics=ExampleStatistics(uri=str(out)),
        context=ExecutorContext(
            component_id="StatisticsGen", execution_id=1, tmp_dir=str(tmp), beam_pipeline_args=beam_pipeline_args
        ),
    )
    return read_statistics(ExampleStatistics(uri=str(out)), "train")


def tfdvs(examples: Examples, folder: Path, options: Mapping[str, Any] | None = None) -> DatasetFeatureStatisticsList:
    """What TFX's StatisticsGen makes of them."""
    pattern = str(Path(examples.uri, "Split-train", "*"))
    paths = stock.write_statistics({"train": pattern}, folder, read_stats_options(options), UNCHECKED)
    return DatasetFeatureStatisticsList.FromString(paths["train"].read_bytes())


OPTIONS: dict[str, Any] = {
    "defaults": {},
    "weights": {"weight_feature": "weight", "weighted_frequency_threshold": 5.0},
    "a weight of its own": {
        "per_feature_weight_override": {"carrier": "distance", "temp": "weight"},
        # No other words: TFDV gives those that have no weight one for each batch, so it depends on the batches.
        "feature_allowlist": ["carrier", "temp", "weight", "distance"],
    },
    "few": {"num_top_values": 3, "num_rank_histogram_buckets": 5, "frequency_threshold": 230},
    "allowed": {"feature_allowlist": ["carrier", "temp", "late"]},
    "slices": {"slicing_config": {"slicing_specs": [{"feature_keys": ["origin"]}, {"feature_values": {"late": "1"}}]}},
    "categorical": {
        "schema_json": '{"feature": [{"name": "flight", "type": "INT", "int_domain": {"is_categorical": true}},'
        '{"name": "tailnum", "type": "BYTES", "image_domain": {}}]}'
    },
    "sketches": {"use_sketch_based_topk_uniques": True, "feature_allowlist": ["carrier", "origin"]},
    "semantic": {"enable_semantic_domain_stats": True, "feature_allowlist": ["carrier", "temp", "date"]},
    "lift": {
        "schema_json": '{"feature": [{"name": "carrier", "type": "BYTES"}, {"name": "origin", "type": "BYTES"}]}',
        "label_feature": "origin",
        "feature_allowlist": ["carrier", "origin"],
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_flights_statistics_are_tfdvs(flights: Examples, folder: Folder, name: str) -> None:
    assert_equal(ours(flights, folder(), OPTIONS[name]), tfdvs(flights, folder(), OPTIONS[name]))


def test_weights_may_be_integers_that_no_float_holds(folder: Folder) -> None:
    weights = pa.array([2**53 + 1, 1] * 6, pa.int64())
    words = pa.array([b"a", b"b", b"a", b"c"] * 3, pa.large_binary())
    examples = write(folder(), pa.RecordBatch.from_pydict({"weight": weights, "word": words}))
    options = {"weight_feature": "weight"}
    assert_equal(ours(examples, folder(), options), tfdvs(examples, folder(), options))


NO_WEIGHT = {
    "word": '"word" must be of numeric type. Found large_binary',
    "nothing": '"nothing" cannot be null',
    "some": '"some" must have exactly one value in each example',
    "many": '"many" must have exactly one value in each example',
    "unknown": '"unknown" not present in the input record batch',
    "left_out": '"left_out" not present in the input record batch',
}


@pytest.fixture(scope="module")
def no_weights(folder: Folder) -> Examples:
    columns = {
        "word": pa.array([b"a"] * 3, pa.large_binary()),
        "nothing": pa.nulls(3),
        "some": pa.array([1, None, 1], pa.int64()),
        "many": pa.array([[1.0], [1.0, 2.0], [1.0]], pa.large_list(pa.float32())),
        "left_out": pa.array([1, 1, 1], pa.int64()),
    }
    return write(folder(), pa.RecordBatch.from_pydict(columns))


@pytest.mark.parametrize("name", NO_WEIGHT)
@pytest.mark.parametrize("lift", [False, True])
def test_a_weight_is_one_number_in_every_example(no_weights: Examples, folder: Folder, name: str, lift: bool) -> None:
    on_beam = {"schema_json": '{"feature": [{"name": "word", "type": "BYTES"}]}', "label_feature": "word"}
    options = {"feature_allowlist": ["word", "nothing", "some", "many"]} | (on_beam if lift else {})
    for weights in ({"weight_feature": name}, {"per_feature_weight_override": {"word": name}}):
        says = f"stats_options: {next(iter(weights))}: Weight column {NO_WEIGHT[name]}; name a feature"
        with pytest.raises(InvalidInputError, match=re.escape(says)):
            ours(no_weights, folder(), {**options, **weights})


@pytest.fixture(scope="module")
def rare(folder: Folder) -> Examples:
    """Records of which only those of the second batch have the feature `rare`."""
    examples = Examples(uri=str(folder()), properties={"splits": ["train"], "record_counts": {"train": 8_030}})
    word = pa.array([b"a"] * 8_000)
    with SplitWriter(examples, "train") as writer:
        writer.write(frame(encode_examples(pa.RecordBatch.from_pydict({"word": word}))), None)
        some = {"word": word[:30], "rare": pa.array([b"b", b"c", b"c"] * 10)}
        writer.write(frame(encode_examples(pa.RecordBatch.from_pydict(some))), None)
    return examples


def test_no_allowed_features_are_all_features(rare: Examples, folder: Folder) -> None:
    options: dict[str, Any] = {"feature_allowlist": []}
    assert_equal(ours(rare, folder(), options), tfdvs(rare, folder(), options))


def test_rows_without_an_allowed_feature_count(
    rare: Examples, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    found = ours(rare, folder(), {"feature_allowlist": ["rare", "unknown"]})
    expected = datasets(tfdvs(rare, folder()))[""]  # of all features, since TFDV drops the rows that have none
    del expected["word"]
    assert expected[""] == 8_030
    assert_alike(datasets(found)[""], expected)
    assert "feature_allowlist names features that no split has: 'unknown'" in caplog.text


def test_unknown_features_alone_are_an_error(rare: Examples, folder: Folder) -> None:
    with pytest.raises(InvalidInputError, match="features that no split has: 'raer', 'wrod'; correct"):
        ours(rare, folder(), {"feature_allowlist": ["raer", "wrod"]})


def test_slices_by_sql_are_tfdvs_where_it_has_them(flights: Examples, folder: Folder) -> None:
    query = "SELECT STRUCT(origin, late) FROM example.origin, example.late"
    options = {"slicing_config": {"slicing_specs": [{"slice_keys_sql": query}]}}
    if hasattr(slicing_util, "GenerateSlicesSqlDoFn"):
        found = ours(flights, folder(), options)
        assert len(found.datasets) == 7
        assert_equal(found, tfdvs(flights, folder(), options))
    else:
        with pytest.raises(InvalidInputError, match=r"TFDV .* does not support slice_keys_sql"):
            ours(flights, folder(), options)


def test_sources_and_engines_give_the_same_bytes(flights: Examples, folder: Folder) -> None:
    expected = ours(flights, folder()).SerializeToString(deterministic=True)
    records = without_sidecar(flights, folder())
    for examples, args in ((records, UNCHECKED), (flights, DIRECT_RUNNER), (records, DIRECT_RUNNER)):
        assert ours(examples, folder(), beam_pipeline_args=args).SerializeToString(deterministic=True) == expected


def test_lift_is_said_to_need_beam(flights: Examples, folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ours(flights, folder(), OPTIONS["lift"])
    assert "TFDV's pipeline on Beam does the work, because there is no kernel for LiftStatsGenerator" in caplog.text


ROWS = 7
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
FLOATS = st.floats(width=32, allow_infinity=False)
WORDS = st.sampled_from([b"", b"a", "\u00e9\u65e5".encode(), b"\xff\xfe", b"long" * 30]) | st.binary(max_size=3)
COLUMN = st.one_of(
    *(
        st.lists(st.none() | values, min_size=ROWS, max_size=ROWS).map(lambda cells, kind=kind: pa.array(cells, kind))
        for item, item_kind in ((NUMBERS, pa.int64()), (FLOATS, pa.float32()), (WORDS, pa.large_binary()))
        for values, kind in ((item, item_kind), (st.lists(item, max_size=3), pa.large_list(item_kind)))
    ),
    st.just(pa.nulls(ROWS)),
)


@settings(max_examples=2 * EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.dictionaries(st.sampled_from(["a", "b", "\u00fc", "x.y", "a b"]), COLUMN, min_size=1))
def test_any_columns_statistics_are_tfdvs(folder: Folder, columns: dict[str, pa.Array]) -> None:
    examples = write(folder(), pa.RecordBatch.from_arrays(list(columns.values()), list(columns)))
    expected = tfdvs(examples, folder())
    assert_equal(ours(examples, folder()), expected)
    assert_equal(ours(without_sidecar(examples, folder()), folder()), expected)


@given(st.lists(st.lists(st.tuples(st.binary(max_size=2) | st.just(b"x"), st.integers(1, 9)), max_size=20)))
def test_counts_are_exact_in_memory_and_on_disk(blocks: list[list[tuple[bytes, int]]]) -> None:
    expected: Counter[bytes] = Counter()
    in_memory, on_disk = ValueCounts(), ValueCounts()
    for block in blocks:
        for value, count in block:
            expected[value] += count
        values, counts = pa.array([v for v, _ in block], pa.large_binary()), pa.array([c for _, c in block], pa.int64())
        for one in (in_memory, on_disk):
            one.add(values, counts, counts.cast(pa.float64()))
        on_disk.spill()
    ranked = sorted(expected.items(), key=lambda item: (item[1], item[0]), reverse=True)[:5]
    for one in (in_memory, on_disk):
        top = one.top(5)
        assert top.unique == len(expected)
        assert [(value, count) for value, count, _ in top.by_count] == ranked
        assert [(value, weight) for value, _, weight in top.by_weight] == ranked


def test_more_counts_go_to_the_disk_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(map(int, os.listdir("/proc/self/fd"))) + 10
    counts = [ValueCounts() for _ in range(few)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        for word in (b"a", b"b"):
            for number, one in enumerate(counts):
                one.add(pa.array([word], pa.large_binary()), pa.array([number]), pa.array([1.0]))
                one.spill()
        found = [one.top(1).by_count for one in counts]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == [[(b"b", number, 1.0)] for number in range(few)]
    assert not list(tmp_path.iterdir())


def test_distinct_values_beyond_the_memory_go_to_the_disk(folder: Folder) -> None:
    from airflow_provider_mlpipe.records.statistics_kernel import StatisticsKernel

    rows = pa.RecordBatch.from_pydict(
        {"id": pa.array([[b"%08d" % n] for n in range(20_000)], pa.large_list(pa.large_binary()))}
    )
    found = []
    for memory_bytes in (1 << 30, 1):
        kernel = StatisticsKernel(tfdv.StatsOptions().to_json(), None, memory_bytes)
        parts = (kernel.add(kernel.create(), rows.slice(start, 5_000)) for start in range(0, 20_000, 5_000))
        found.append(kernel.extract(kernel.merge(parts)))
    assert found[0] == found[1]
    assert found[1].datasets[0].features[0].string_stats.unique == 20_000
