"""The result of a comparison in TFX's files, and as plain values for `summary.json`.

TFX writes TFRecords, which are not compressed, of the messages of feature_skew_results.proto. Their names begin with
those below, so that TFDV's iterators, such as `feature_skew_detector.skew_results_iterator`, find them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.protobuf.message import Message
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature
from tensorflow_data_validation.skew.protos.feature_skew_results_pb2 import (
    ConfusionCount,
    FeatureSkew,
    MatchStats,
    SkewPair,
)

from airflow_provider_mlpipe.components.example_diff.comparison import Matching, Outcome, Outcomes
from airflow_provider_mlpipe.records.binary import values_buffer
from airflow_provider_mlpipe.records.tfrecord import frame

SKEW_STATS, MATCH_STATS, SAMPLE_PAIRS, CONFUSION = "skew_stats", "match_stats", "sample_pairs", "confusion"
_SHARD = "-00000-of-00001"
_MISSING = b"__MISSING_VALUE__"  # what TFDV counts for a feature without a value
_AT_ONCE = 10_000
_LONGEST_TEXT = 200

Confusion = tuple[bytes | None, bytes | None, int]


def write_messages(folder: Path, name: str, messages: Iterable[Message]) -> None:
    """Write messages as a TFRecord file that TFDV's iterators find by `name`."""
    serialized = (message.SerializeToString(deterministic=True) for message in messages)
    with (folder / f"{name}{_SHARD}").open("wb") as file:
        while some := list(itertools.islice(serialized, _AT_ONCE)):
            file.write(values_buffer(frame(pa.array(some, pa.binary()), some)))


def feature_skew(feature: str, outcomes: Outcomes) -> FeatureSkew:
    """Return the counts of a feature over all pairs. Each pair is a match, a mismatch, or has it on one side only."""
    match, both_empty = outcomes[Outcome.MATCH], outcomes[Outcome.BOTH_EMPTY]
    mismatch, base_only = outcomes[Outcome.MISMATCH], outcomes[Outcome.BASE_ONLY]
    test_only = outcomes[Outcome.TEST_ONLY]
    return FeatureSkew(
        feature_name=feature,
        base_count=match + mismatch + base_only,
        test_count=match + mismatch + test_only,
        match_count=match + both_empty,
        mismatch_count=mismatch,
        base_only=base_only,
        test_only=test_only,
        diff_count=mismatch + base_only + test_only,
    )


def match_stats(matching: Matching) -> MatchStats:
    """Return how the identifiers match."""
    return MatchStats(**asdict(matching))


def skew_pair(base: Example, test: Example, outcomes: Mapping[str, Outcome]) -> SkewPair:
    """Return a pair, and how it compares in each feature that one of its examples names."""
    named = sorted({*base.features.feature, *test.features.feature} & outcomes.keys())

    def having(*wanted: Outcome) -> list[str]:
        return [feature for feature in named if outcomes[feature] in wanted]

    return SkewPair(
        base=base.SerializeToString(deterministic=True),
        test=test.SerializeToString(deterministic=True),
        matched_features=having(Outcome.MATCH, Outcome.BOTH_EMPTY),
        mismatched_features=having(Outcome.MISMATCH),
        base_only_features=having(Outcome.BASE_ONLY),
        test_only_features=having(Outcome.TEST_ONLY),
    )


def confusion_counts(feature: str, found: Iterable[Confusion]) -> Iterator[ConfusionCount]:
    """Yield how many pairs have each two values of a feature."""
    for base, test, count in found:
        yield ConfusionCount(
            feature_name=feature,
            base={"bytes_value": _MISSING if base is None else base},
            test={"bytes_value": _MISSING if test is None else test},
            count=count,
        )


def plain_skew(skew: FeatureSkew) -> dict[str, int]:
    """Return the counts of a feature for JSON."""
    names = [field.name for field in FeatureSkew.DESCRIPTOR.fields]
    return {name: getattr(skew, name) for name in names if name != "feature_name"}


def plain_pair(base: Example, test: Example, pair: SkewPair, identifiers: Sequence[str]) -> dict[str, Any]:
    """Return the identifiers of a pair and the values that differ, for JSON; long texts are cut off."""
    different = sorted([*pair.mismatched_features, *pair.base_only_features, *pair.test_only_features])
    return {
        "identifiers": {feature: plain_values(base.features.feature[feature]) for feature in identifiers},
        "differences": {
            feature: {
                "base": plain_values(base.features.feature[feature]),
                "test": plain_values(test.features.feature[feature]),
            }
            for feature in different
        },
    }


def plain_values(feature: Feature) -> list[Any]:
    """Return the values of a feature for JSON: NaN and infinities are texts, as are bytes."""
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    if kind == "bytes_list":
        return [plain_text(value) for value in values]
    return [value if abs(value) < float("inf") else str(value) for value in values]


def plain_text(value: bytes | None) -> str | None:
    """Return bytes as a text, of which the rest is cut off if it is long; None stays None."""
    if value is None:
        return None
    text = value[: 4 * _LONGEST_TEXT].decode(errors="backslashreplace")
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
