"""StatisticsGenOperator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.channels import RuntimeParameter
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.spec import Input, OptionalInput, Value
from airflow_provider_mlpipe.exceptions import PipelineError


class StatisticsGenOperator(ComponentOperator):
    """Computes the statistics of every split of `examples`, as TensorFlow Data Validation defines them.

    `stats_options` are those of `tfdv.StatsOptions`: a dict of its arguments (`{"num_top_values": 50}`), what its
    `to_json` returns, or itself. `schema` refines the statistics (categorical integers, semantic domains) and may
    instead be part of the options. `exclude_splits` are left out; `sample_rate_by_split`, e.g. `{"train": 0.1}`, takes
    a sample instead of all records.

    Raises PipelineError when the options are no options, or the schema is given twice.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"statistics": ExampleStatistics}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow-data-validation", "tfx-bsl", "apache-beam")

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
