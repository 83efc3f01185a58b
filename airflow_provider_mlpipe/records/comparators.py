"""Whether the statistics of a feature have what a comparator of the schema compares.

TFDV says nothing where they lack it: the distance is 0, or there is none, and the comparison passes. Which statistics a
comparator reads: https://www.tensorflow.org/tfx/data_validation/anomalies.
"""

from __future__ import annotations

from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics, FeatureNameStatistics, Histogram

from airflow_provider_mlpipe.records.statistics import features_of

_OF_CATEGORIES = ("infinity_norm", "normalized_abs_difference")
_DIVERGENCE = "jensen_shannon_divergence"


def set_comparators(comparator: schema_pb2.FeatureComparator) -> list[str]:
    """Return the names of the comparators that have a threshold, such as `infinity_norm`; others compare nothing."""
    return [name for name in (*_OF_CATEGORIES, _DIVERGENCE) if getattr(comparator, name).HasField("threshold")]


def why_not_comparable(
    dataset: DatasetFeatureStatistics, feature: str, comparator: schema_pb2.FeatureComparator
) -> str | None:
    """Say which comparator cannot read the statistics of a feature, why, and the remedy; None if each can."""
    names = set_comparators(comparator)
    found = features_of(dataset).get(feature)
    if found is None:
        return f"{' and '.join(names)}: the statistics have no feature {feature!r}" if names else None
    problems = (_problem(found, feature, name, comparator) for name in names)
    return next(filter(None, problems), None)


def why_not_compared(
    dataset: DatasetFeatureStatistics,
    other: DatasetFeatureStatistics,
    feature: str,
    comparator: schema_pb2.FeatureComparator,
) -> str | None:
    """As `why_not_comparable`, for both sides of a comparison; numbers and categories have no distance either."""
    if problem := why_not_comparable(dataset, feature, comparator):
        return problem
    if problem := why_not_comparable(other, feature, comparator):
        return f"{problem} (in the statistics to compare with)"
    names = set_comparators(comparator)
    kinds = {features_of(side)[feature].WhichOneof("stats") for side in (dataset, other)} if names else set()
    if len(kinds) > 1:
        return f"{' and '.join(names)}: {feature!r} is numbers in one of the statistics, and categories in the other"
    return None


def _problem(
    found: FeatureNameStatistics, feature: str, name: str, comparator: schema_pb2.FeatureComparator
) -> str | None:
    if found.HasField("string_stats"):
        counted = found.string_stats.rank_histogram.buckets
        return None if counted else f"{name}: the statistics of {feature!r} count no value"
    kind = FeatureNameStatistics.Type.Name(found.type)
    if not found.HasField("num_stats"):
        return f"{name}: the statistics of {feature!r} ({kind}) are neither of numbers nor of categories"
    if name in _OF_CATEGORIES:
        return (
            f"{name} compares categories, but {feature!r} is a number ({kind}), for which it would always be 0; use "
            f"{_DIVERGENCE}"
        )
    by_quantiles = comparator.jensen_shannon_divergence.source.type == schema_pb2.HistogramSelection.QUANTILES
    wanted = Histogram.QUANTILES if by_quantiles else Histogram.STANDARD
    if any(histogram.type == wanted and _has_values(histogram) for histogram in found.num_stats.histograms):
        return None
    return f"{name}: the statistics of {feature!r} have no value in a {Histogram.HistogramType.Name(wanted)} histogram"


def _has_values(histogram: Histogram) -> bool:
    return bool(histogram.num_nan) or any(bucket.sample_count for bucket in histogram.buckets)
