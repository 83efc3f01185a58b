"""Infers one schema that fits several splits.

TFDV widens a schema to fit the next split. But it deprecates a feature that this split lacks or holds as another type,
and readers leave out a deprecated feature in every split. So the statistics are made to agree first. If they agree
already, the schema is the one that TFDV infers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from typing import TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatistics,
    DatasetFeatureStatisticsList,
    FeatureNameStatistics,
)

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.statistics import features_of, overall, value_examples

log = logging.getLogger(__name__)

_Types: TypeAlias = Mapping[str, int]
"""The type of a feature in each split that has a value of it."""

_INT, _FLOAT = FeatureNameStatistics.INT, FeatureNameStatistics.FLOAT
_TEXT = {FeatureNameStatistics.STRING, FeatureNameStatistics.BYTES}
_NUMBER_DOMAIN = {schema_pb2.INT: "int_domain", schema_pb2.FLOAT: "float_domain"}


def infer(statistics: Mapping[str, DatasetFeatureStatisticsList], infer_feature_shape: bool) -> schema_pb2.Schema:
    """Infer a schema from the first split, and widen it to fit the others.

    A feature that some splits lack is optional. A feature that is INT in one split and FLOAT in another is FLOAT.
    Raises InvalidInputError, with feature and splits, for other types that differ.
    """
    types = _types(statistics)
    optional = {name for name, by_split in types.items() if _is_optional(name, by_split, statistics)}
    floats = {name for name, by_split in types.items() if _is_float(name, by_split)}
    schema = None
    for found in statistics.values():
        agreed = _agreed(found, optional, floats)
        schema = tfdv.update_schema(schema, agreed) if schema else tfdv.infer_schema(agreed, infer_feature_shape)
        for feature in schema.feature:
            if feature.name in optional:
                _make_optional(feature)
        _drop_texts_of_numbers(schema)
    return schema


def _types(statistics: Mapping[str, DatasetFeatureStatisticsList]) -> Mapping[str, _Types]:
    types: dict[str, dict[str, int]] = {}
    for split, found in statistics.items():
        for name, feature in features_of(overall(found)).items():
            if value_examples(feature):
                types.setdefault(name, {})[split] = feature.type
    return types


def _is_optional(name: str, types: _Types, splits: Collection[str]) -> bool:
    without = [split for split in splits if split not in types]
    if without:
        log.warning("feature %r has no value in %s, so it is optional in the schema", name, _splits(without))
    return bool(without)


def _is_float(name: str, types: _Types) -> bool:
    kinds = set(types.values())
    if len(kinds) < 2 or kinds <= _TEXT:
        return False
    by_kind = {kind: [split for split, other in types.items() if other == kind] for kind in sorted(kinds)}
    listed = ", ".join(
        f"{FeatureNameStatistics.Type.Name(kind)} in {_splits(splits)}" for kind, splits in by_kind.items()
    )
    if kinds != {_INT, _FLOAT}:
        raise InvalidInputError(
            f"feature {name!r} is {listed}, and no schema fits that: give it the same type in all splits, or leave "
            "splits out with exclude_splits"
        )
    log.warning("feature %r is %s; it is FLOAT in the schema, and has to be so in the examples", name, listed)
    return True


def _splits(names: Collection[str]) -> str:
    return f"split{'s' * (len(names) > 1)} {', '.join(map(repr, names))}"


def _agreed(
    statistics: DatasetFeatureStatisticsList, optional: Collection[str], floats: Collection[str]
) -> DatasetFeatureStatisticsList:
    """Return a copy, with FLOAT for `floats`, and without optional features that have no value: TFDV guesses a type."""
    dataset = DatasetFeatureStatistics()
    dataset.CopyFrom(overall(statistics))
    for name, feature in features_of(dataset).items():
        if name in floats:
            feature.type = _FLOAT
        if name in optional and not value_examples(feature):
            dataset.features.remove(feature)
    return DatasetFeatureStatisticsList(datasets=[dataset])


def _make_optional(feature: schema_pb2.Feature) -> None:
    """Allow the feature to be missing. Then it has no fixed shape, but may have a fixed number of values."""
    feature.presence.Clear()
    feature.presence.min_count = 0
    if feature.HasField("shape"):
        size = math.prod(dimension.size for dimension in feature.shape.dim)
        feature.ClearField("shape")
        feature.value_count.min = feature.value_count.max = size


def _drop_texts_of_numbers(schema: schema_pb2.Schema) -> None:
    """Take from categorical numbers TFDV's domain of texts, which their own values violate; they stay categorical."""
    for feature in schema.feature:
        if feature.HasField("domain") and feature.type in _NUMBER_DOMAIN:
            (texts,) = [domain for domain in schema.string_domain if domain.name == feature.domain]
            schema.string_domain.remove(texts)
            getattr(feature, _NUMBER_DOMAIN[feature.type]).is_categorical = True
