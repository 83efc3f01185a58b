"""Statistics that are equal but for what TFDV itself estimates anew in every run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from google.protobuf import json_format
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

EPSILON = 0.01
"""TFDV's error of quantiles, as a share of the rows."""


def assert_equal(one: DatasetFeatureStatisticsList, other: DatasetFeatureStatisticsList) -> None:
    """Numbers to 1e-12, estimates to twice their error, all else exactly; slices and features in any order."""
    assert_alike(datasets(one), datasets(other))


def datasets(found: DatasetFeatureStatisticsList) -> dict[str, dict[str, Any]]:
    """By slice and feature."""
    return {
        one.name: {".".join(feature.path.step): json_format.MessageToDict(feature) for feature in one.features}
        | {"": one.num_examples}
        for one in found.datasets
    }


def assert_alike(one: Any, other: Any, place: str = "") -> None:
    if isinstance(one, dict) and place.endswith("istograms[]"):
        assert_similar_histograms(one, other, place)
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            if key != "median":
                assert_alike(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), place
        for first, second in zip(one, other, strict=True):
            assert_alike(first, second, f"{place}[]")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-12), place
    else:
        assert one == other, place


def assert_similar_histograms(one: dict[str, Any], other: dict[str, Any], place: str) -> None:
    assert one.get("type") == other.get("type")
    counts, others = ([bucket.get("sampleCount", 0.0) for bucket in each["buckets"]] for each in (one, other))
    assert len(counts) == len(others), place
    assert math.isclose(sum(counts), sum(others), rel_tol=1e-9), place
    error = 2 * EPSILON * sum(counts)
    assert np.abs(np.cumsum(counts) - np.cumsum(others)).max() <= error, place
    for end, key in ((0, "lowValue"), (-1, "highValue")):
        assert one["buckets"][end].get(key) == other["buckets"][end].get(key), place
