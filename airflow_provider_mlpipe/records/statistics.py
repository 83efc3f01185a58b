"""Reads and writes the statistics file of a split."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from airflow_provider_mlpipe.artifacts import ExampleStatistics
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.layout import split_folder

STATISTICS_FILE = "FeatureStats.pb"


def read_statistics(statistics: ExampleStatistics, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Read the statistics of a split.

    Raises InvalidInputError, with the file, when that is missing, does not hold statistics, or has no examples.
    """
    path = split_folder(statistics, split) / STATISTICS_FILE
    try:
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path} does not exist; run the producer of these statistics again") from error
    except DecodeError as error:
        raise InvalidInputError(f"{path} is not a DatasetFeatureStatisticsList; run its producer again") from error
    if not any(dataset.num_examples for dataset in found.datasets):
        raise InvalidInputError(f"{path}: the split {split!r} has no examples; leave it out with exclude_splits")
    return found


def write_statistics(
    statistics: ExampleStatistics, split: str, found: statistics_pb2.DatasetFeatureStatisticsList
) -> None:
    """Write the statistics of a split, features in the order of their paths: equal statistics give equal bytes."""
    for dataset in found.datasets:
        features = sorted(dataset.features, key=lambda feature: (list(feature.path.step), feature.name))
        del dataset.features[:]
        dataset.features.extend(features)
    folder = split_folder(statistics, split)
    folder.mkdir()
    (folder / STATISTICS_FILE).write_bytes(found.SerializeToString(deterministic=True))
