"""What a comparator can read, held against what TFDV measures."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import pandas as pd
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatistics,
    DatasetFeatureStatisticsList,
    Histogram,
)

from airflow_provider_mlpipe.records.comparators import why_not_comparable, why_not_compared
from airflow_provider_mlpipe.records.statistics import overall

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

INFINITY = "infinity_norm { threshold: 0.2 }"
DIFFERENCE = "normalized_abs_difference { threshold: 0.2 }"
DIVERGENCE = "jensen_shannon_divergence { threshold: 0.2 }"
QUANTILES = "jensen_shannon_divergence { threshold: 0.2 source { type: QUANTILES } }"
COLUMNS: dict[str, list[Any]] = {
    "integers": [1, 2, 3, 4],
    "floats": [0.5, 1.5, 2.5, 3.25],
    "missing": [None] * 4,
    "texts": ["a", "b", "a", "c"],
    "images": [b"\xff\x00", b"\xfe", b"\xff\x00", b"\xfe"],
}


def statistics_of(column: list[Any]) -> DatasetFeatureStatistics:
    frame = pd.DataFrame({"x": pd.Series(column, dtype="float64" if column[0] is None else None)})
    return overall(tfdv.generate_statistics_from_dataframe(frame))


def comparator(text: str) -> schema_pb2.FeatureComparator:
    return text_format.Parse(text, schema_pb2.FeatureComparator())


def measured(current: DatasetFeatureStatistics, previous: DatasetFeatureStatistics, text: str) -> list[float]:
    """The distances that TFDV measures."""
    schema = text_format.Parse(f'feature {{ name: "x" type: INT drift_comparator {{ {text} }} }}', schema_pb2.Schema())
    lists = [DatasetFeatureStatisticsList(datasets=[each]) for each in (current, previous)]
    found = tfdv.validate_statistics(lists[0], schema, previous_statistics=lists[1])
    return [each.value for info in found.drift_skew_info for each in info.drift_measurements]


@pytest.mark.parametrize("text", [INFINITY, DIFFERENCE, DIVERGENCE, QUANTILES])
@pytest.mark.parametrize("sides", list(itertools.product(COLUMNS, COLUMNS)), ids="-".join)
def test_what_can_be_compared_is_what_tfdv_measures(sides: tuple[str, str], text: str) -> None:
    current, previous = (statistics_of(COLUMNS[side]) for side in sides)
    problem = why_not_compared(current, previous, "x", comparator(text))
    distances = measured(current, previous, text)
    # TFDV has a distance of categories even for numbers, and to a side without a value.
    is_silent = "jensen" not in text and sides[0] != "missing"
    assert len(distances) == (problem is None or is_silent)


@pytest.mark.parametrize("text", [INFINITY, DIFFERENCE])
def test_a_distance_of_categories_is_refused_for_numbers(text: str) -> None:
    problem = why_not_comparable(statistics_of([1, 2, 3]), "x", comparator(text))
    name = text.split()[0]
    assert problem == (
        f"{name} compares categories, but 'x' is a number (INT), for which it would always be 0; use "
        "jensen_shannon_divergence"
    )
    assert measured(statistics_of([1, 2, 3]), statistics_of([7, 8, 9]), text) == [0.0]


def test_without_the_histogram_that_is_asked_for() -> None:
    dataset = statistics_of([1, 2, 3])
    histograms = dataset.features[0].num_stats.histograms
    kept = [each for each in histograms if each.type == Histogram.QUANTILES]
    del histograms[:]
    histograms.extend(kept)
    assert why_not_comparable(dataset, "x", comparator(QUANTILES)) is None
    problem = why_not_comparable(dataset, "x", comparator(DIVERGENCE))
    assert problem == "jensen_shannon_divergence: the statistics of 'x' have no value in a STANDARD histogram"


def test_a_feature_that_the_statistics_lack() -> None:
    problem = why_not_comparable(statistics_of([1]), "y", comparator(INFINITY + DIVERGENCE))
    assert problem == "infinity_norm and jensen_shannon_divergence: the statistics have no feature 'y'"


@pytest.mark.parametrize("text", ["", "infinity_norm {}"])
def test_a_comparator_without_a_threshold_compares_nothing(text: str) -> None:
    assert why_not_comparable(statistics_of([1]), "y", comparator(text)) is None
    assert why_not_compared(statistics_of([1]), statistics_of(["a"]), "y", comparator(text)) is None
