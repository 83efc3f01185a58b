"""AnomaliesGateOperator: the base of the operators that publish anomalies, and can stop the run because of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Ignored

SEVERITIES: Mapping[str, Sequence[str]] = {"ERROR": ("ERROR",), "WARNING": ("ERROR", "WARNING")}
"""The severities that fail the task, by `fail_on`."""


class AnomaliesGateOperator(ComponentOperator):
    """Publishes `anomalies`, as `records.anomalies` describes them, and checks them afterwards.

    A subclass reads `statistics`.

    :param fail_on: "ERROR" or "WARNING": after the anomalies are published, the task fails if one has this severity or
        a worse one. Everything else that reads the same Examples waits for this task (default None: the task does not
        fail). Not part of the fingerprint: the gate checks cached anomalies, too
    :param kwargs: everything that ComponentOperator and BaseOperator take
    """

    PART: ClassVar[str] = "split"
    """What has anomalies of its own, in the words of the error."""

    REMEDY: ClassVar[str]
    """What people can do about anomalies."""

    statistics: Any

    def __init__(self, *, fail_on: Ignored[Literal["ERROR", "WARNING"] | None] = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fail_on = fail_on

    def gated_channels(self) -> list[Channel[Any]]:
        """Return the channels of the Examples whose readers wait for the gate; none without `fail_on`."""
        if self.fail_on is None or not isinstance(self.statistics, Channel):
            return []
        above = self.statistics.producer.input_channels().values()
        return [channel for channel in above if channel.artifact_type is Examples]

    def check_gate(self, outputs: Mapping[str, Sequence[Artifact]]) -> None:
        """Raise AnomaliesFoundError, with the list of anomalies, if any has the severity `fail_on` or a worse one."""
        fatal = SEVERITIES.get(str(self.fail_on), ())
        found = [line for artifact in outputs.get("anomalies", ()) for line in self._lines(artifact, fatal)]
        if found:
            raise AnomaliesFoundError(
                f"{self.task_id}: {len(found)} anomalies have the severity fail_on={self.fail_on!r} or a worse one:\n"
                + "\n".join(found)
                + f"\n{self.REMEDY}; the anomalies are published."
            )

    def _lines(self, artifact: Artifact, severities: Sequence[str]) -> Iterator[str]:
        by_part: Mapping[str, Mapping[str, Any]] = artifact.custom_properties.get("anomalies", {})
        for part, by_feature in by_part.items():
            for feature, anomalies in by_feature.items():
                for anomaly in anomalies:
                    if anomaly["severity"] in severities:
                        yield (
                            f"  {self.PART} {part}, {feature}: {anomaly['severity']}: {anomaly['short']}: "
                            f"{anomaly['description']}"
                        )
