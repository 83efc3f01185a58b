"""ExampleValidatorOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from airflow_provider_mlpipe.artifacts import Artifact, ExampleAnomalies, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.components.example_validator.sql_text import names_problem, sql_problem
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError, PipelineError
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.parameters import is_template
from airflow_provider_mlpipe.pipeline.spec import Config, Ignored, Input, OptionalInput, Value
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SqlCheck

SEVERITIES: Mapping[str, Sequence[str]] = {"ERROR": ("ERROR",), "WARNING": ("ERROR", "WARNING")}
"""The severities that fail the task, by `fail_on`."""


class ExampleValidatorOperator(ComponentOperator):
    """Compares statistics with a schema, publishes the anomalies of every split, and can stop the run if there are any.

    Reads `statistics` and `schema`. Publishes `anomalies` (ExampleAnomalies): for each split
    `Split-<name>/SchemaDiff.pb`, a binary `tensorflow.metadata.v0.Anomalies`, and with `sql_checks` also
    `sql_checks.json`. The property `blessed` is 1 for a split without anomalies, otherwise 0; the custom property
    `anomalies` lists the anomalies by split and feature. `docs/data_checks.md` shows all that can be checked.

    :param statistics: a channel of ExampleStatistics
    :param schema: a channel of the Schema to compare with
    :param examples: a channel of the Examples that the statistics are of; `sql_checks` that read their rows need it
        (default None)
    :param serving_statistics: a channel of ExampleStatistics of what a model is asked in production, for the schema's
        `skew_comparator`s. A split is compared with that of its name, or with theirs if they have a single one (default
        None)
    :param previous_statistics: a channel of ExampleStatistics of an earlier run, for the schema's `drift_comparator`s
        and `num_examples_drift_comparator`. A split is compared with that of its name. Without an artifact, as in the
        first run, nothing is compared; the log and the custom property `not_compared` say so (default None)
    :param exclude_splits: names of splits to leave out (default: none)
    :param environment: one of the schema's `default_environment`s; features that the schema does not expect in it may
        be missing (default None)
    :param sql_checks: SqlCheck messages or their dicts: `name`; `sql`, one SELECT in DuckDB's SQL over the tables
        `examples` and `statistics`, each row of whose result is an offending one; `severity`, "ERROR" (default) or
        "WARNING"; `environment`: the check is run only if the operator has the same one (default: none)
    :param fail_on: "ERROR" or "WARNING": after the anomalies are published, the task fails if one has this severity or
        a worse one. Everything else that reads the same Examples waits for this task (default None: the task does not
        fail). Not part of the fingerprint: the gate checks cached anomalies, too
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when an input is not a channel of its type, and for a SQL check without name
    or SQL, with the name of another, of another statement than one SELECT, or of `examples` that are not given. The
    task raises InvalidInputError for an unknown split or environment, a schema that cannot be read, a split without
    statistics, when no split has examples, and for SQL that fails. It raises AnomaliesFoundError, which is not retried,
    when an anomaly fails the gate.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"anomalies": ExampleAnomalies}

    def __init__(
        self,
        *,
        statistics: Input[ExampleStatistics],
        schema: Input[Schema],
        examples: OptionalInput[Examples] = None,
        serving_statistics: OptionalInput[ExampleStatistics] = None,
        previous_statistics: OptionalInput[ExampleStatistics] = None,
        exclude_splits: Value[Sequence[str]] = (),
        environment: Value[str | None] = None,
        sql_checks: Config[Sequence[SqlCheck | Mapping[str, Any]]] = (),
        fail_on: Ignored[Literal["ERROR", "WARNING"] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.statistics = statistics
        self.schema = schema
        self.examples = examples
        self.serving_statistics = serving_statistics
        self.previous_statistics = previous_statistics
        self.exclude_splits = exclude_splits
        self.environment = environment
        self.sql_checks: Any = sql_checks
        self.fail_on = fail_on
        self._check_sql()

    def _check_sql(self) -> None:
        problem = names_problem(self.sql_checks)
        for check in self.sql_checks if problem is None else ():
            if isinstance(check["sql"], str) and not is_template(check["sql"]):
                found = sql_problem(check["sql"], has_examples=self.examples is not None)
                problem = problem or (found and f"sql_checks, check {check['name']!r}: {found}")
        if problem:
            raise PipelineError(f"{self.task_id}: {problem}")

    def gated_channels(self) -> list[Channel[Any]]:
        """Return the channels of the Examples whose readers wait for the gate; none without `fail_on`."""
        if self.fail_on is None or not isinstance(self.statistics, Channel):
            return []
        above = [*self.statistics.producer.input_channels().values(), self.examples]
        examples = [channel for channel in above if channel is not None and channel.artifact_type is Examples]
        return list(dict.fromkeys(examples))

    def check_gate(self, outputs: Mapping[str, Sequence[Artifact]]) -> None:
        """Raise AnomaliesFoundError, with the list of anomalies, if any has the severity `fail_on` or a worse one."""
        fatal = SEVERITIES.get(str(self.fail_on), ())
        found = [line for artifact in outputs.get("anomalies", ()) for line in _lines(artifact, fatal)]
        if found:
            raise AnomaliesFoundError(
                f"{self.task_id}: {len(found)} anomalies have the severity fail_on={self.fail_on!r} or a worse one:\n"
                + "\n".join(found)
                + "\nCorrect the data, or change the schema to allow it; the anomalies are published."
            )


def _lines(artifact: Artifact, severities: Sequence[str]) -> list[str]:
    by_split: Mapping[str, Mapping[str, Any]] = artifact.custom_properties.get("anomalies", {})
    return [
        f"  split {split}, {feature}: {anomaly['severity']}: {anomaly['short']}: {anomaly['description']}"
        for split, by_feature in by_split.items()
        for feature, anomalies in by_feature.items()
        for anomaly in anomalies
        if anomaly["severity"] in severities
    ]
