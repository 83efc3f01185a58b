"""Reads and writes the statistics file of a split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from airflow_provider_mlpipe.artifacts import Artifact, ExampleStatistics
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.inputs import check_not_empty
from airflow_provider_mlpipe.storage.layout import folder_of, split_folder

STATISTICS_FILE = "FeatureStats.pb"
_ALL_ROWS = "All Examples"
"""What TFDV calls the slice of all rows."""


def read_statistics(statistics: ExampleStatistics, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Read the statistics of a split.

    Raises InvalidInputError, with the file, when that is missing or does not hold statistics.
    """
    path = split_folder(statistics, split) / STATISTICS_FILE
    try:
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path} does not exist; run the producer of these statistics again") from error
    except DecodeError as error:
        raise InvalidInputError(f"{path} is not a DatasetFeatureStatisticsList; run its producer again") from error
    if not found.datasets:
        raise InvalidInputError(f"{path} is empty; run the producer of these statistics again")
    return found


def are_the_same(one: ExampleStatistics, other: ExampleStatistics) -> bool:
    """Whether both have the same content.

    That goes by the digest, as the cache does: equal inputs give equal outputs, wherever they are.
    """
    return one.digest is not None and one.digest == other.digest


def has_examples(found: statistics_pb2.DatasetFeatureStatisticsList) -> bool:
    """Whether the statistics are of any example at all."""
    return any(dataset.num_examples for dataset in found.datasets)


def check_examples(of: Artifact, found: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]) -> None:
    """Log a warning of each split without examples; raise InvalidInputError, with the artifact, if no split has any."""
    counts = {split: sum(dataset.num_examples for dataset in each.datasets) for split, each in found.items()}
    check_not_empty(of, counts)


def write_statistics(
    statistics: ExampleStatistics, split: str, found: statistics_pb2.DatasetFeatureStatisticsList
) -> None:
    """Write the statistics of a split, as `write_whole` does."""
    folder = split_folder(statistics, split)
    folder.mkdir()
    _write(folder, found)


def write_whole(statistics: ExampleStatistics, found: statistics_pb2.DatasetFeatureStatisticsList) -> None:
    """Write statistics of all splits together, features in the order of their paths: equal ones give equal bytes."""
    _write(folder_of(statistics), found)


def _write(folder: Path, found: statistics_pb2.DatasetFeatureStatisticsList) -> None:
    for dataset in found.datasets:
        features = sorted(dataset.features, key=lambda feature: (list(feature.path.step), feature.name))
        del dataset.features[:]
        dataset.features.extend(features)
    (folder / STATISTICS_FILE).write_bytes(found.SerializeToString(deterministic=True))


def overall(found: statistics_pb2.DatasetFeatureStatisticsList) -> statistics_pb2.DatasetFeatureStatistics:
    """Return the statistics of all rows, which may be one of several slices; raises InvalidInputError without them."""
    datasets = list(found.datasets)
    whole = datasets if len(datasets) == 1 else [one for one in datasets if one.name == _ALL_ROWS]
    if not whole:
        raise InvalidInputError(f"the statistics have no slice {_ALL_ROWS!r}; compute them again with StatisticsGen")
    return whole[0]


def features_of(
    dataset: statistics_pb2.DatasetFeatureStatistics,
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """Return the features of a dataset that are columns of the examples, by name."""
    return {
        path[0]: feature
        for feature in dataset.features
        if len(path := feature.path.step or [feature.name]) == 1 and feature.WhichOneof("stats")
    }


def value_examples(feature: statistics_pb2.FeatureNameStatistics) -> int:
    """Return how many examples have the feature; an empty list counts, too."""
    stats = getattr(feature, feature.WhichOneof("stats"))
    return int(stats.common_stats.num_non_missing)
