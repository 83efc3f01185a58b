"""StatisticsGenOperator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.pipeline.spec import Input, OptionalInput, Value


class StatisticsGenOperator(ComponentOperator):
    """Computes the statistics of every split, as TensorFlow Data Validation defines them.

    Processes on this machine compute them, or Beam, where `beam_pipeline_args` name a runner.

    Reads `examples`, and `schema` if given. Publishes `statistics` (ExampleStatistics): for each split
    `Split-<name>/FeatureStats.pb`, a binary DatasetFeatureStatisticsList, with the property `splits`.

    :param examples: a channel of Examples
    :param schema: a channel of a Schema that refines the statistics (categorical integers, semantic domains); it may
        instead be part of the options (default None)
    :param stats_options: those of `tfdv.StatsOptions`: a dict of its arguments (`{"num_top_values": 50}`, and
        `schema_json` for a schema, names of features for paths), what its `to_json` returns, or itself (default None:
        TFDV's own defaults)
    :param exclude_splits: names of splits to leave out (default: none)
    :param sample_rate_by_split: a dict such as `{"train": 0.1}`: a share above 0 and at most 1 of these splits' records
        is taken, and of the others `sample_rate` of the options. Which records is decided by a hash of each, so it is
        the same ones in every run (default None: all records)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError when the DAG is parsed and `stats_options` are neither a dict nor JSON of one, the schema is
    given twice, or an input is no channel of its type. The task raises InvalidInputError for an unknown option, an
    unknown split, a rate out of bounds, a schema that cannot be read, a split without examples, a
    `feature_allowlist` of which no feature is in the examples, and a weight that is not one number in every example.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"statistics": ExampleStatistics}

    def __init__(
        self,
        *,
        examples: Input[Examples],
        schema: OptionalInput[Schema] = None,
        stats_options: Value[Mapping[str, Any] | str | None] = None,
        exclude_splits: Value[Sequence[str]] = (),
        sample_rate_by_split: Value[Mapping[str, float] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.examples = examples
        self.schema = schema
        self.stats_options = self._options(stats_options)
        self.exclude_splits = exclude_splits
        self.sample_rate_by_split = sample_rate_by_split
        if schema is not None and isinstance(self.stats_options, Mapping) and "schema_json" in self.stats_options:
            raise PipelineError(f"{self.task_id}: the schema is given as an input and in stats_options; leave one out")

    def _options(self, given: Any) -> Any:
        if given is None or isinstance(given, (Mapping, RuntimeParameter)):
            return given
        text = given.to_json() if hasattr(given, "to_json") else given
        if isinstance(text, str) and "{{" in text:  # a Jinja template, read by the executor
            return text
        try:
            options = json.loads(text)
        except (TypeError, ValueError) as error:
            raise PipelineError(f"{self.task_id}: stats_options are neither a dict nor JSON: {error}") from error
        if not isinstance(options, dict):
            raise PipelineError(f"{self.task_id}: stats_options are JSON, but not of an object: {text}")
        return options
