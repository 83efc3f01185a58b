"""FileExampleGenOperator: the base of the operators that convert the files of a folder to splits of examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.caching.driver import ComponentRun
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.node import Published
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Setting, Value
from airflow_provider_mlpipe.pipeline.wiring import misfits
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output, RangeConfig
from airflow_provider_mlpipe.storage import sources, spans
from airflow_provider_mlpipe.storage.digests import file_digest
from airflow_provider_mlpipe.storage.known_digests import KnownDigests
from airflow_provider_mlpipe.storage.layout import path_part_problem
from airflow_provider_mlpipe.storage.spans import Span

ONE_SPLIT: dict[str, Any] = {"splits": [{"name": "single_split", "pattern": "*"}]}
"""The default `input_config`."""

TRAIN_AND_EVAL: dict[str, Any] = {
    "split_config": {"splits": [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]}
}
"""The default `output_config` of a single input split."""


class FileExampleGenOperator(ComponentOperator):
    """Converts the files in a folder to records, and divides them into splits.

    A subclass publishes `examples` (Examples): one gzipped TFRecord file per output split, at
    `Split-<name>/data_tfrecord-00000-of-00001.gz`, with the properties `splits` and `record_counts`. If the patterns
    have a span, it publishes one `examples` for each span that it reads, with the properties `span` and `version`.

    :param input_base: the folder. The fingerprint covers the content of the matching files, in the order of their
        paths, but not where they are or what they are called
    :param input_config: an `Input` message or its dict: names the input splits and the glob `pattern` of their files
        (default: one split with all files that match `*`). A pattern may have a span, `{SPAN}` or the date
        `{YYYY}{MM}{DD}`, and its `{VERSION}`; of each span, the newest version is read
    :param output_config: an `Output` message or its dict: divides the one input split into output splits in proportion
        to their `hash_buckets`, by a hash of each record, or of its feature `partition_feature_name` (default:
        train:eval = 2:1). Not allowed with several input splits, which are published under their own names
    :param range_config: a `RangeConfig` or its dict: reads the spans of a `static_range` from `start_span_number` to
        `end_span_number`, or in a `rolling_range` the newest `num_spans` from `start_span_number` on (default: the
        newest span). Each span is a part of its own: only a span that is new or has changed is read again
    :param shuffle_seed: a number for a random order of the records of each output split, the same for the same number
        and files; None (default) keeps the order of the files and their records
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when a config does not match its message type, or the two configs do not
    match each other, or for a pattern with a span that cannot be told apart. The task raises InvalidInputError when
    `input_base` is not a folder, a pattern matches no file, a span is missing, a file changes while it is read, or no
    input split has a record.
    """

    def __init__(
        self,
        *,
        input_base: Content[str],
        input_config: Config[Input | Mapping[str, Any] | None] = None,
        output_config: Config[Output | Mapping[str, Any] | None] = None,
        range_config: Setting[RangeConfig | Mapping[str, Any] | None] = None,
        shuffle_seed: Value[int | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_base = input_base
        self.input_config: Any = input_config or ONE_SPLIT
        self.output_config: Any = output_config or self._default_output()
        self.range_config: Any = range_config
        self._digests: KnownDigests | None = None
        self.shuffle_seed = shuffle_seed
        self._check_splits()
        self._check_spans()

    def parts_of(self, run: ComponentRun) -> list[ComponentRun]:
        """One part for each span; one part without a span."""
        divided = self._by_span(run)
        files = [path for part in divided for paths in _files(part.resolved).values() for path in paths]
        self._digests = KnownDigests(self.store, files)
        return parts.numbered([replace(part, external=self.external_inputs(part.resolved)) for part in divided])

    def run_node(self, run: ComponentRun) -> Published:
        """As every component; the digests of the files are remembered for later runs."""
        published = super().run_node(run)
        if self._digests is not None:
            self._digests.remember()
        return published

    def _by_span(self, run: ComponentRun) -> list[ComponentRun]:
        patterns = {split["name"]: split["pattern"] for split in run.parameters["input_config"]["splits"]}
        if not any(map(spans.has_span, patterns.values())):
            return [run]
        found = spans.find_spans(run.parameters["input_base"], patterns)
        chosen = spans.in_all_splits(found, spans.in_range(self.range_config, found), self.task_id)
        return [_of_span(run, span, patterns) for span in chosen]

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return a digest per input split: of the content of its files, in the order in which they are read."""
        digest_of = file_digest if self._digests is None else self._digests.of
        return {f"split {name}": sources.source_digest(paths, digest_of) for name, paths in _files(parameters).items()}

    def _check_spans(self) -> None:
        splits = _splits(self.input_config)
        for split in splits:
            if problem := spans.pattern_problem(split["pattern"]):
                raise PipelineError(f"{self.task_id}: the pattern {split['pattern']!r} {problem}")
        with_span = [split["name"] for split in splits if spans.has_span(split["pattern"])]
        if with_span and len(with_span) < len(splits):
            without = ", ".join(split["name"] for split in splits if split["name"] not in with_span)
            raise PipelineError(
                f"{self.task_id}: input_config split {without} has no span, but {', '.join(with_span)} has one; give "
                "all of them a span, or none"
            )
        if self.range_config is not None:
            if not with_span:
                raise PipelineError(
                    f"{self.task_id}: range_config needs a span in input_config, such as the pattern 'span-{{SPAN}}/*'"
                )
            with misfits(self.task_id, PipelineError):
                spans.check_range(self.range_config)

    def _default_output(self) -> dict[str, Any]:
        return TRAIN_AND_EVAL if len(_splits(self.input_config)) == 1 else {}

    def _check_splits(self) -> None:
        inputs, outputs = _splits(self.input_config), _splits(self.output_config.get("split_config", {}))
        if outputs and len(inputs) != 1:
            names = ", ".join(str(split.get("name")) for split in inputs)
            raise PipelineError(
                f"{self.task_id}: output_config needs exactly one input split, but input_config has {names}; leave out "
                "output_config to publish them under their own names"
            )
        _check(self.task_id, "input_config", inputs, "pattern")
        check_output_splits(self.task_id, self.output_config)


def _files(parameters: Mapping[str, Any]) -> dict[str, list[Path]]:
    """The files of each input split, in the order in which they are read."""
    base, splits = parameters["input_base"], parameters["input_config"]["splits"]
    return {split["name"]: sources.input_files(base, split["pattern"]) for split in splits}


def _of_span(run: ComponentRun, span: Span, patterns: Mapping[str, str]) -> ComponentRun:
    """The part that reads one span: its patterns name the files of that span alone."""
    files = [{"name": name, "pattern": spans.of_span(pattern, span)} for name, pattern in patterns.items()]
    return replace(run, span=span, resolved={**run.resolved, "input_config": {"splits": files}})


def check_output_splits(task_id: str, output_config: Any) -> None:
    """Raise PipelineError for output splits without a name or bucket, and for a partition feature without splits."""
    deal = output_config.get("split_config", {})
    if not _splits(deal) and deal.get("partition_feature_name"):
        raise PipelineError(f"{task_id}: partition_feature_name needs output splits; list some")
    _check(task_id, "output_config", _splits(deal), "hash_buckets")


def _splits(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(config.get("splits", ()))


def _check(task_id: str, parameter: str, splits: list[Mapping[str, Any]], field: str) -> None:
    names = [split.get("name") for split in splits]
    for place, split in enumerate(splits):
        if not split.get("name") or not split.get(field):
            raise PipelineError(
                f"{task_id}: {parameter} split {place + 1} needs a name and a {field}, but it has {dict(split)}"
            )
        if problem := path_part_problem(split["name"]):
            raise PipelineError(f"{task_id}: {parameter} names a split {split['name']!r}, which {problem}")
        if split["name"] in names[:place]:
            raise PipelineError(f"{task_id}: {parameter} names the split {split['name']!r} twice")
