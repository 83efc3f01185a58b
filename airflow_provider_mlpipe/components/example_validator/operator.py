"""ExampleValidatorOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, ExampleAnomalies, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.channels import Channel, RuntimeParameter
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.spec import Ignored, Input, Value
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError, PipelineError

SEVERITIES: Mapping[str, Sequence[str]] = {"ERROR": ("ERROR",), "WARNING": ("ERROR", "WARNING")}
"""`fail_on`, and the severities that are then too much."""


class ExampleValidatorOperator(ComponentOperator):
    """Compares `statistics` with `schema` and publishes the anomalies of every split.

    `environment` is one of the schema's `default_environment`s; what the schema does not expect there may be missing.
    With `fail_on` "ERROR" or "WARNING" the anomalies are published, and then the task fails when one is that severe
    (AnomaliesFoundError, which is not retried), again on a cached rerun; everything that reads the same Examples waits.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"anomalies": ExampleAnomalies}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow-data-validation", "tensorflow-metadata")

    def __init__(
        self,
        *,
        statistics: Input[ExampleStatistics],
        schema: Input[Schema],
        exclude_splits: Value[Sequence[str]] = (),
        environment: Value[str | None] = None,
        fail_on: Ignored[str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.statistics = statistics
        self.schema = schema
        self.exclude_splits = exclude_splits
        self.environment = environment
        self.fail_on = fail_on
        if not isinstance(fail_on, RuntimeParameter):
            self._fatal_severities()

    def gated_channels(self) -> list[Channel[Any]]:
        """Return the Examples that the statistics are of, when anomalies in them shut the gate."""
        if self.fail_on is None or not isinstance(self.statistics, Channel):
            return []
        above = self.statistics.producer.input_channels().values()
        return [channel for channel in above if channel.artifact_type is Examples]

    def check_gate(self, outputs: Mapping[str, Sequence[Artifact]]) -> None:
        """Raise AnomaliesFoundError that lists the anomalies at or above `fail_on`."""
        fatal = self._fatal_severities()
        found = [line for artifact in outputs.get("anomalies", ()) for line in _lines(artifact, fatal)]
        if found:
            raise AnomaliesFoundError(
                f"{self.task_id}: {len(found)} anomalies are of fail_on={self.fail_on!r} or worse:\n"
                + "\n".join(found)
                + "\nMend the data, or let the schema admit it; the anomalies are published."
            )

    def _fatal_severities(self) -> Sequence[str]:
        if self.fail_on is None:
            return ()
        severities = SEVERITIES.get(str(self.fail_on))
        if severities is None:
            raise PipelineError(f"{self.task_id}: fail_on is 'ERROR', 'WARNING' or None, not {self.fail_on!r}")
        return severities


def _lines(artifact: Artifact, severities: Sequence[str]) -> list[str]:
    by_split: Mapping[str, Mapping[str, Any]] = artifact.custom_properties.get("anomalies", {})
    return [
        f"  split {split}, {feature}: {anomaly['severity']}: {anomaly['short']}: {anomaly['description']}"
        for split, by_feature in by_split.items()
        for feature, anomalies in by_feature.items()
        for anomaly in anomalies
        if anomaly["severity"] in severities
    ]
