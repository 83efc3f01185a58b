"""ExampleGenOperator: the base of the operators that convert data from outside to splits of examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_mlpipe.caching.driver import ComponentRun
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.metadata.store import Span
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.run_span import RunSpan
from airflow_provider_mlpipe.pipeline.spec import Config, Setting, Value
from airflow_provider_mlpipe.pipeline.wiring import misfits
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Output, RangeConfig
from airflow_provider_mlpipe.storage import spans
from airflow_provider_mlpipe.storage.layout import path_part_problem

if TYPE_CHECKING:
    from airflow.sdk import Context

TRAIN_AND_EVAL: dict[str, Any] = {
    "split_config": {"splits": [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]}
}
"""The default `output_config` of a single input split."""


class ExampleGenOperator(ComponentOperator):
    """Converts rows to records, and divides them into splits.

    A subclass publishes `examples` (Examples): one gzipped TFRecord file per output split, at
    `Split-<name>/data_tfrecord-00000-of-00001.gz`, with the properties `splits` and `record_counts`. If its data has
    spans, it publishes one `examples` for each span that it reads, with the properties `span` and `version`. Each span
    is a part of its own: only a span that is new or has changed is read again.

    :param output_config: an `Output` message or its dict: divides the one input split into output splits in proportion
        to their `hash_buckets`, by a hash of each record, or of its feature `partition_feature_name` (default:
        train:eval = 2:1). In place of `hash_buckets`, splits can have `values` or a `before` of that feature; a record
        goes to the first split that takes it, and a last split with only a name takes the rest. Not allowed with
        several input splits, which are published under their own names
    :param shuffle_seed: a number for a random order of the records of each output split, the same for the same number
        and rows; None (default) keeps the order of the rows
    :param span: the span to read: a number, or `RunSpan()` for the one that belongs to the run (default: the newest)
    :param range_config: a `RangeConfig` or its dict, for several spans: those of a `static_range` from
        `start_span_number` to `end_span_number`, or in a `rolling_range` the last `num_spans` up to `span`, none before
        `start_span_number`
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time for a config that does not match its message type, an output split without a
    name or rule, and a `span` or `range_config` for data without spans.
    """

    def __init__(
        self,
        *,
        output_config: Config[Output | Mapping[str, Any] | None] = None,
        shuffle_seed: Value[int | None] = None,
        span: Setting[RunSpan | int | None] = None,
        range_config: Setting[RangeConfig | Mapping[str, Any] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_config: Any = output_config
        self.shuffle_seed = shuffle_seed
        self.span = span
        self.range_config: Any = range_config
        self._check_range()

    def component_run(self, context: Context) -> ComponentRun:
        """This try as every component's, with the number of the span that it is about, where that is known."""
        run, span = super().component_run(context), self.span
        number = span.number_in(context, of_dates=self.has_dates(run.parameters)) if isinstance(span, RunSpan) else span
        return run if number is None else replace(run, span=Span(number=number))

    def has_dates(self, parameters: Mapping[str, Any]) -> bool:
        """Whether the spans are dates."""
        raise NotImplementedError

    def check_outputs(self) -> None:
        """Raises PipelineError for output splits that lack something, and for a partition feature without splits."""
        deal = self.output_config.get("split_config", {})
        splits = splits_of(deal)
        if not splits and deal.get("partition_feature_name"):
            raise PipelineError(f"{self.task_id}: partition_feature_name needs output splits; list some")
        by_value = any(split.get("values") or split.get("before") for split in splits)
        check_splits(self.task_id, "output_config", splits, None if by_value else "hash_buckets")
        if by_value:
            self._check_values(splits, deal.get("partition_feature_name"))

    def _check_values(self, splits: list[Mapping[str, Any]], feature: str | None) -> None:
        if not feature:
            raise PipelineError(f"{self.task_id}: splits with values or before need a partition_feature_name")
        for split in splits:
            if split.get("hash_buckets"):
                raise PipelineError(
                    f"{self.task_id}: output_config split {split['name']!r} has hash_buckets, but another has values "
                    "or before; divide either by hash or by value"
                )
        for split in splits[:-1]:
            if not split.get("values") and not split.get("before"):
                raise PipelineError(
                    f"{self.task_id}: output_config split {split['name']!r} takes all the rest, so it must be the "
                    "last; or give it values or before"
                )

    def _check_range(self) -> None:
        if self.range_config is None:
            return
        with misfits(self.task_id, PipelineError):
            spans.check_range(self.range_config)
        if self.span is not None and "static_range" in self.range_config:
            raise PipelineError(f"{self.task_id}: range_config.static_range says which spans to read; leave out span")


def splits_of(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The splits of a config."""
    return list(config.get("splits", ()))


def check_splits(task_id: str, parameter: str, splits: list[Mapping[str, Any]], field: str | None) -> None:
    """Raises PipelineError for a split without a name or `field`, or whose name is taken or cannot be a folder's."""
    names = [split.get("name") for split in splits]
    needed = ["name"] if field is None else ["name", field]
    for place, split in enumerate(splits):
        if not all(split.get(each) for each in needed):
            raise PipelineError(
                f"{task_id}: {parameter} split {place + 1} needs a {' and a '.join(needed)}, but it has {dict(split)}"
            )
        if problem := path_part_problem(split["name"]):
            raise PipelineError(f"{task_id}: {parameter} names a split {split['name']!r}, which {problem}")
        if split["name"] in names[:place]:
            raise PipelineError(f"{task_id}: {parameter} names the split {split['name']!r} twice")
