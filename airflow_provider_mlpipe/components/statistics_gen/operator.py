"""StatisticsGenOperator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from airflow_provider_mlpipe.artifacts import Artifact, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.parameters import is_template
from airflow_provider_mlpipe.pipeline.spec import Input, OptionalInput, Value


@runtime_checkable
class StatsOptions(Protocol):
    """What a `tfdv.StatsOptions` can do; TFDV, which defines it, is imported by the executor only."""

    def to_json(self) -> str:
        """The options as JSON."""


class StatisticsGenOperator(ComponentOperator):
    """Computes the statistics of every split, as TensorFlow Data Validation defines them.

    Processes on this machine compute them, or Beam if `beam_pipeline_args` name a runner.

    Reads `examples`, and `schema` if given. Publishes `statistics` (ExampleStatistics): for each split
    `Split-<name>/FeatureStats.pb`, a binary DatasetFeatureStatisticsList, with the property `splits`.

    :param examples: a channel of Examples
    :param schema: a channel of a Schema that refines the statistics (categorical integers, semantic domains); the
        options may contain the schema instead (default None)
    :param stats_options: the options of `tfdv.StatsOptions`: a dict of its arguments (`{"num_top_values": 50}`, with
        `schema_json` instead of `schema`, and feature names instead of paths), the JSON text that its `to_json`
        returns, or a `StatsOptions` object (default None: TFDV's own defaults)
    :param exclude_splits: names of splits to leave out (default: none)
    :param sample_rate_by_split: a dict such as `{"train": 0.1}`: the share of a split's records to use, above 0 and at
        most 1. Splits that are not listed use `sample_rate` of the options. A hash of each record decides, so every run
        takes the same records (default None: all records)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when `stats_options` are neither a dict nor a JSON object, the schema is
    given twice, or an input is not a channel of its type. The task raises InvalidInputError for an unknown option, an
    unknown split, a rate out of bounds, a schema that cannot be read, when no split has examples, a feature
    with values of two types, a `feature_allowlist` without any feature of the examples, and a weight without exactly
    one number in every example.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"statistics": ExampleStatistics}

    def __init__(
        self,
        *,
        examples: Input[Examples],
        schema: OptionalInput[Schema] = None,
        stats_options: Value[Mapping[str, Any] | StatsOptions | str | None] = None,
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

    def convert_rendered(self) -> None:
        """As in every component; JSON text becomes its dict, too."""
        super().convert_rendered()
        self.stats_options = self._options(self.stats_options)

    def _options(self, given: Any) -> Any:
        text = given.to_json() if isinstance(given, StatsOptions) else given
        if not isinstance(text, str) or is_template(text):
            return text
        try:
            options = json.loads(text)
        except (TypeError, ValueError) as error:
            raise PipelineError(f"{self.task_id}: stats_options are neither a dict nor JSON: {error}") from error
        if not isinstance(options, dict):
            raise PipelineError(f"{self.task_id}: stats_options are JSON, but not a JSON object: {text}")
        return options
