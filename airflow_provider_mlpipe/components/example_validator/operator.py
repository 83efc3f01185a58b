"""ExampleValidatorOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, ExampleAnomalies, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.components.example_validator.sql_text import names_problem, sql_problem
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.anomalies_gate import AnomaliesGateOperator
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.parameters import is_template
from airflow_provider_mlpipe.pipeline.spec import Config, Input, OptionalInput, Value
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SqlCheck


class ExampleValidatorOperator(AnomaliesGateOperator):
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
    :param kwargs: `fail_on` (see AnomaliesGateOperator), and everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when an input is not a channel of its type, and for a SQL check without name
    or SQL, with the name of another, of another statement than one SELECT, or of `examples` that are not given. The
    task raises InvalidInputError for an unknown split or environment, a schema that cannot be read, a split without
    statistics, when no split has examples, and for SQL that fails. It raises AnomaliesFoundError, which is not retried,
    when an anomaly fails the gate.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"anomalies": ExampleAnomalies}
    REMEDY = "Correct the data, or change the schema to allow it"

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
        """As AnomaliesGateOperator; and the channel of the `examples`, which `sql_checks` judge."""
        own = [self.examples] if self.fail_on is not None and isinstance(self.examples, Channel) else []
        return list(dict.fromkeys([*super().gated_channels(), *own]))
