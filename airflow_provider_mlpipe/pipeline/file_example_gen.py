"""FileExampleGenOperator: the base of the operators that convert the files of a folder to splits of examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.caching.driver import ComponentRun
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.metadata.store import Span
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.pipeline.example_gen import TRAIN_AND_EVAL, ExampleGenOperator, check_splits, splits_of
from airflow_provider_mlpipe.pipeline.node import Published
from airflow_provider_mlpipe.pipeline.parameters import is_known_later
from airflow_provider_mlpipe.pipeline.spec import Config, Content
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input
from airflow_provider_mlpipe.storage import sources, spans
from airflow_provider_mlpipe.storage.digests import file_digest
from airflow_provider_mlpipe.storage.known_digests import KnownDigests

ONE_SPLIT: dict[str, Any] = {"splits": [{"name": "single_split", "pattern": "*"}]}
"""The default `input_config`."""


class FileExampleGenOperator(ExampleGenOperator):
    """Converts the files in a folder to records, and divides them into splits, as ExampleGenOperator says.

    :param input_base: the folder. The fingerprint covers the content of the matching files, in the order of their
        paths, but not where they are or what they are called
    :param input_config: an `Input` message or its dict: names the input splits and the glob `pattern` of their files
        (default: one split with all files that match `*`). A pattern may have a span, `{SPAN}` or the date
        `{YYYY}{MM}{DD}`, and its `{VERSION}`; of each span, the newest version is read
    :param kwargs: `output_config`, `shuffle_seed`, `span` and `range_config` (see ExampleGenOperator), and everything
        that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time as ExampleGenOperator does, when `input_config` and `output_config` do not
    match each other, and for a pattern whose span cannot be told from the rest of a name. The task raises
    InvalidInputError when `input_base` is not a folder, a pattern matches no file, a span is missing, a file changes
    while it is read, or no input split has a record.
    """

    def __init__(
        self,
        *,
        input_base: Content[str],
        input_config: Config[Input | Mapping[str, Any] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_base = input_base
        self.input_config: Any = input_config or ONE_SPLIT
        self.output_config = self.output_config or self._default_output()
        self._digests: KnownDigests | None = None
        self._check_inputs()
        self.check_outputs()
        self._check_spans()

    def has_dates(self, parameters: Mapping[str, Any]) -> bool:
        """Whether the patterns have dates."""
        return any(spans.has_date(pattern) for pattern in _patterns(parameters).values())

    def parts_of(self, run: ComponentRun) -> list[ComponentRun]:
        """One part for each span; one part without a span."""
        divided = self._by_span(run)
        files = [path for part in divided for paths in _files(part.resolved).values() for path in paths]
        self._digests = KnownDigests(self.store, files)
        return parts.numbered([replace(part, external=self.external_inputs(part.resolved)) for part in divided])

    def run_node(self, run: ComponentRun) -> Published:
        """As every component; the digests of the files are remembered for later runs."""
        published = super().run_node(run)
        self.remember()
        return published

    def remember(self) -> None:
        """Stores the digests of the files."""
        if self._digests is not None:
            self._digests.remember()

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return a digest per input split: of the content of its files, in the order in which they are read."""
        digest_of = file_digest if self._digests is None else self._digests.of
        return {f"split {name}": sources.source_digest(paths, digest_of) for name, paths in _files(parameters).items()}

    def _by_span(self, run: ComponentRun) -> list[ComponentRun]:
        patterns = _patterns(run.parameters)
        for pattern in patterns.values():
            if problem := spans.pattern_problem(pattern):
                raise InvalidInputError(f"{self.task_id}: the pattern {pattern!r} {problem}")
        if not any(map(spans.has_span, patterns.values())):
            return [replace(run, span=None)]
        found = spans.find_spans(run.parameters["input_base"], patterns)
        last = None if run.span is None else run.span.number
        numbers = spans.in_range(self.range_config, found, last=last)
        return [_of_span(run, span, patterns) for span in spans.in_all_splits(found, numbers, self.task_id)]

    def _check_spans(self) -> None:
        known = {name: pattern for name, pattern in _patterns(vars(self)).items() if not _is_later(pattern)}
        for pattern in known.values():
            if problem := spans.pattern_problem(pattern):
                raise PipelineError(f"{self.task_id}: the pattern {pattern!r} {problem}")
        with_span = [name for name, pattern in known.items() if spans.has_span(pattern)]
        without = [name for name in known if name not in with_span]
        if with_span and without:
            raise PipelineError(
                f"{self.task_id}: input_config split {', '.join(without)} has no span, but {', '.join(with_span)} has "
                "one; give all of them a span, or none"
            )
        if without and (self.range_config is not None or self.span is not None):
            given = "span" if self.range_config is None else "range_config"
            raise PipelineError(
                f"{self.task_id}: {given} needs a span in input_config, such as the pattern 'span-{{SPAN}}/*'"
            )

    def _default_output(self) -> dict[str, Any]:
        return TRAIN_AND_EVAL if len(splits_of(self.input_config)) == 1 else {}

    def _check_inputs(self) -> None:
        inputs, outputs = splits_of(self.input_config), splits_of(self.output_config.get("split_config", {}))
        if outputs and len(inputs) != 1:
            names = ", ".join(str(split.get("name")) for split in inputs)
            raise PipelineError(
                f"{self.task_id}: output_config needs exactly one input split, but input_config has {names}; leave out "
                "output_config to publish them under their own names"
            )
        check_splits(self.task_id, "input_config", inputs, "pattern")


def _patterns(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The pattern of each input split."""
    return {split["name"]: split["pattern"] for split in parameters["input_config"]["splits"]}


def _files(parameters: Mapping[str, Any]) -> dict[str, list[Path]]:
    """The files of each input split, in the order in which they are read."""
    base = parameters["input_base"]
    return {name: sources.input_files(base, pattern) for name, pattern in _patterns(parameters).items()}


def _of_span(run: ComponentRun, span: Span, patterns: Mapping[str, str]) -> ComponentRun:
    """The part that reads one span: its patterns name the files of that span alone."""
    files = [{"name": name, "pattern": spans.of_span(pattern, span)} for name, pattern in patterns.items()]
    return replace(run, span=span, resolved={**run.resolved, "input_config": {"splits": files}})


def _is_later(pattern: Any) -> bool:
    return is_known_later(pattern, str, "pattern")
