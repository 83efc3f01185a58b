"""Which statistics those of a split are compared with, and which comparators of the schema compare nothing there.

TFDV compares. It passes in silence what it cannot compare; that is found here. A comparison for which there are no
statistics yet is noted; one that cannot work is an anomaly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics, DatasetFeatureStatisticsList

from airflow_provider_mlpipe.artifacts import ExampleStatistics
from airflow_provider_mlpipe.records.anomalies import add_not_compared
from airflow_provider_mlpipe.records.comparators import set_comparators, why_not_compared
from airflow_provider_mlpipe.records.statistics import (
    are_the_same,
    features_of,
    overall,
    read_statistics,
    value_examples,
)

log = logging.getLogger(__name__)

_NOT_VALIDATED = {getattr(schema_pb2, stage) for stage in ("PLANNED", "ALPHA", "DEPRECATED", "DEBUG_ONLY", "DISABLED")}
"""TFDV leaves features of these lifecycle stages alone."""
_OF_A_VERSION = "num_examples_version_comparator: TFDV needs statistics of an earlier version, which no input has"


@dataclass(frozen=True)
class Comparison:
    """The statistics of an input that others are compared with, and the comparator of a schema's feature for it.

    `alone` is whether a single split of theirs is compared with every split.
    """

    statistics: ExampleStatistics
    input: str
    given: ExampleStatistics | None
    comparator: str
    alone: bool

    def other(self, split: str) -> DatasetFeatureStatisticsList | None:
        """Return the statistics to compare those of a split with; None if there are none."""
        if self.given is None or self._is_itself():
            return None
        splits = list(self.given.properties.get("splits", ()))
        name = splits[0] if self.alone and len(splits) == 1 else split
        return read_statistics(self.given, name) if name in splits else None

    def check(
        self,
        split: str,
        current: DatasetFeatureStatistics,
        schema: schema_pb2.Schema,
        found: anomalies_pb2.Anomalies,
    ) -> Iterator[str]:
        """Add an anomaly for each comparison that cannot work; yield those that there is nothing for yet."""
        wanted = [feature for feature in schema.feature if self._compares(feature)]
        names = [feature.name for feature in wanted] + self._of_the_split(schema)
        if not names:
            return
        what = f"{self.comparator} of {', '.join(names)}"
        other = self.other(split)
        if self.given is None:
            yield f"{what}: there are no {self.input}"
        elif self._is_itself():
            yield f"{what}: the {self.input} are the statistics themselves"
        elif not current.num_examples:
            yield f"{what}: there are no examples"
        elif other is None:
            known = ", ".join(self.given.properties.get("splits", ())) or "none"
            problem = f"{what}: the {self.input} have no split {split!r}; they have: {known}"
            add_not_compared(found, None, problem)
        else:
            for feature in wanted:
                yield from self._check_feature(feature, current, overall(other), found)

    def _is_itself(self) -> bool:
        """A Resolver that looks after StatisticsGen, or in a run that was cleared, finds the new statistics."""
        return self.given is not None and are_the_same(self.given, self.statistics)

    def _compares(self, feature: schema_pb2.Feature) -> bool:
        is_validated = not feature.deprecated and feature.lifecycle_stage not in _NOT_VALIDATED
        return is_validated and bool(set_comparators(getattr(feature, self.comparator)))

    def _of_the_split(self, schema: schema_pb2.Schema) -> list[str]:
        name = f"num_examples_{self.comparator}"
        constraints = schema.dataset_constraints
        return (
            ["the whole split"] if name in constraints.DESCRIPTOR.fields_by_name and constraints.HasField(name) else []
        )

    def _check_feature(
        self,
        feature: schema_pb2.Feature,
        current: DatasetFeatureStatistics,
        other: DatasetFeatureStatistics,
        found: anomalies_pb2.Anomalies,
    ) -> Iterator[str]:
        name = feature.name
        if not _has_values(current, name):
            yield f"{self.comparator} of {name}: no example has a value of it"
        elif name in features_of(other):  # else TFDV says that it is missing
            problem = why_not_compared(current, other, name, getattr(feature, self.comparator))
            if problem:
                add_not_compared(found, name, f"{self.comparator}: {problem}")


def version_note(schema: schema_pb2.Schema) -> list[str]:
    """Return what to say of a comparator of the schema that nothing here can serve."""
    is_set = schema.dataset_constraints.HasField("num_examples_version_comparator")
    return [_OF_A_VERSION] if is_set else []


def log_distances(split: str, found: anomalies_pb2.Anomalies) -> None:
    """Log what was measured, also where it is below the threshold."""
    for info in found.drift_skew_info:
        for kind in ("drift", "skew"):
            for measured in getattr(info, f"{kind}_measurements"):
                log.info(
                    "split %s, %s: %s: %s is %.6g, the threshold %.6g",
                    split,
                    ".".join(info.path.step),
                    kind,
                    type(measured).Type.Name(measured.type),
                    measured.value,
                    measured.threshold,
                )


def _has_values(dataset: DatasetFeatureStatistics, name: str) -> bool:
    feature = features_of(dataset).get(name)
    return feature is not None and value_examples(feature) > 0
