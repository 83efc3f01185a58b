"""ResolverOperator: finds artifacts of earlier runs in the store. A strategy is one named SQL query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Model, PropertyType, find_type
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.caching.driver import ComponentRun, Resolution
from airflow_provider_mlpipe.components.resolver.strategies import (
    ANY_PIPELINE,
    SEARCHES,
    Strategy,
    warn_of_unknown_names,
)
from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError, PermanentError, PipelineError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.nested import leaves
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.pipeline.node import ResolvingOperator
from airflow_provider_mlpipe.pipeline.parameters import is_template
from airflow_provider_mlpipe.pipeline.spec import Config, GateInputs, OptionalInput, Value
from airflow_provider_mlpipe.pipeline.wiring import misfits
from airflow_provider_mlpipe.proto.mlpipe_pb2 import RangeConfig
from airflow_provider_mlpipe.storage import spans
from airflow_provider_mlpipe.storage.artifact_files import loss

_ARGUMENTS = sorted(frozenset().union(*(search.needs | search.takes for search in SEARCHES.values())))


class ResolverOperator(ResolvingOperator):
    """Publishes artifacts that runs of this DAG, or of another one, have published so far.

    Searches the store. Depending on `strategy`, publishes `model` (Model) or `result` (of `artifact_type`): existing
    artifacts, not copies. If nothing is found, it publishes nothing: an optional input that reads it is then None, and
    a component that needs it is skipped. Never cached: the latest artifact can change although no input does.

    Several artifacts are in the order of their spans, versions and ids. Of these, a component whose input takes all
    reads all; another component runs once for each.

    It looks at the files. A match whose files are lost is marked as MISSING, and the next one is taken. Files that are
    out of reach, such as those on a disk that is not mounted, are an error: an older match is not taken instead.

    :param strategy: what to find:
        "LatestArtifact": the newest artifacts of `artifact_type` (output `result`).
        "LatestBlessedModel": the newest Model that an execution blessed (output `model`).
        "LatestPushed": the Model that the last successful push brought to `destination` (output `model`), of any DAG.
        If its files are lost, nothing: an older model is not served any more.
        "SpanRange": the Examples of the spans in `range_config`, the newest version of each (output `result`).
        "ByProperty": the newest artifact of `artifact_type` that has the `properties` (output `result`)
    :param other_than: for LatestBlessedModel, a channel of a candidate Model. Models with the same content are ignored,
        so that a rerun compares the candidate with the same model (default None)
    :param before: for LatestBlessedModel, a channel of Examples with spans. Only models that were trained on earlier
        spans than the newest of these are seen, and models without a span. So a run for an old date gets the model of
        that time. A model's span is the highest one among the inputs of its training (default None)
    :param artifact_type: for LatestArtifact, ByProperty and SpanRange, an artifact class, or its name; for SpanRange a
        type with the property `span` (default: Examples for SpanRange)
    :param count: for LatestArtifact, how many artifacts to take at most (default 1)
    :param min_count: for LatestArtifact, where there are fewer, publish nothing (default 1)
    :param range_config: for SpanRange, a `RangeConfig` or its dict, as for an ExampleGen. A `rolling_range` may leave
        out the newest spans: `skip_num_recent_spans`. A span that is missing in the range is an error
    :param min_spans: for SpanRange, where the range has fewer spans, publish nothing (default 1)
    :param destination: for LatestPushed, the folder that the server watches, as in a Pusher's `push_destination`
    :param properties: for ByProperty, a dict of properties, declared or custom, and their values
    :param producer_component_id: for LatestArtifact, SpanRange and ByProperty, the task id of the component that
        published the artifacts (default None: any). SpanRange needs it where several components publish Examples, such
        as an ExampleGen and a Transform
    :param pipeline: the id of the DAG whose artifacts are searched, or "*" for those of all DAGs (default: this DAG)
    :param kwargs: everything that NodeOperator and BaseOperator take

    Raises PipelineError at DAG parse time for an unknown `artifact_type`, for an argument that the strategy needs or
    does not take, for a number or range that is not possible, and for an input that is not a channel of its type. The
    task raises InvalidInputError for a span that is missing in the range, where it is not clear whose Examples are
    meant, and for Examples `before` without a span.
    """

    SEARCHES_STORE = True

    def __init__(
        self,
        *,
        strategy: Config[Strategy],
        other_than: OptionalInput[Model] = None,
        before: GateInputs[Examples] = None,
        artifact_type: Config[type[Artifact] | str | None] = None,
        count: Value[int | None] = None,
        min_count: Value[int | None] = None,
        range_config: Config[RangeConfig | Mapping[str, Any] | None] = None,
        min_spans: Value[int | None] = None,
        destination: Value[str | None] = None,
        properties: Config[Mapping[str, Any] | None] = None,
        producer_component_id: Value[str | None] = None,
        pipeline: Value[str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.strategy = strategy
        self.other_than = other_than
        self.before = before
        self._given_type = Examples if strategy == "SpanRange" and artifact_type is None else artifact_type
        self.artifact_type = getattr(self._given_type, "TYPE_NAME", self._given_type)
        self.count = count
        self.min_count = min_count
        self.range_config = range_config
        self.min_spans = min_spans
        self.destination = destination
        self.properties = properties
        self.producer_component_id = producer_component_id
        self.pipeline = pipeline
        self._check_arguments()
        self._check_values(PipelineError)

    def output_types(self) -> Mapping[str, type[Artifact]]:
        """Return the type of `model` or `result`; raises PipelineError for an unknown artifact type."""
        if SEARCHES[self.strategy].output == "model":
            return {"model": Model}
        return {"result": find_type(self._given_type or "", self.task_id)}

    def convert_rendered(self) -> None:
        """As in every node; then the numbers and the range are known."""
        super().convert_rendered()
        self._check_values(InvalidInputError)

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """Search the store, and look whether the files are there.

        Raises TransientError or InvalidInputError when a match is out of reach, and what the strategy raises.
        """
        start = driver.execution_start(run, driver.fingerprint(run))
        found, lost = self._with_files(store, run)
        if not found:
            warn_of_unknown_names(store, run)
        (key,) = self.output_types()
        return Resolution(start=start, outputs={key: found}, reuse=True, lost=[one.id or 0 for one in lost])

    def _with_files(self, store: MetadataStore, run: ComponentRun) -> tuple[list[Artifact], list[Artifact]]:
        """The matches whose files are there, and those before them whose files are lost."""
        lost: list[Artifact] = []
        while True:
            found = SEARCHES[self.strategy].find(store, run, [one.id or 0 for one in lost])
            gone = [(one, problem) for one in found if (problem := loss(one, "exists")) is not None]
            if not gone:
                return found, lost
            for one, problem in gone:
                self.log.warning("%s: %s %s is passed over: %s", self.task_id, one.TYPE_NAME, one.id, problem)
                lost.append(one)

    def _check_arguments(self) -> None:
        if self.strategy not in SEARCHES:
            raise PipelineError(f"{self.task_id}: strategy decides the outputs, so it cannot be {self.strategy!r}")
        search = SEARCHES[self.strategy]
        given = {name for name in _ARGUMENTS if getattr(self, name) is not None}
        if missing := sorted(search.needs - given):
            raise PipelineError(f"{self.task_id}: strategy {self.strategy} needs {' and '.join(missing)}")
        if others := sorted(given - search.needs - search.takes):
            known = ", ".join(sorted(search.needs | search.takes))
            raise PipelineError(
                f"{self.task_id}: strategy {self.strategy} does not take {', '.join(others)}; it takes {known}"
            )
        if self.producer_component_id is not None and self.pipeline == ANY_PIPELINE:
            raise PipelineError(
                f"{self.task_id}: producer_component_id needs one pipeline; name it in place of {ANY_PIPELINE!r}"
            )
        if self.strategy == "SpanRange":
            spanned = find_type(self._given_type or "", self.task_id)
            if spanned.PROPERTIES.get(parts.SPAN) is not PropertyType.INT:
                raise PipelineError(
                    f"{self.task_id}: {spanned.TYPE_NAME} does not declare the property {parts.SPAN} as an int, which "
                    "SpanRange needs; name another artifact_type, such as Examples"
                )

    def _check_values(self, error: type[PermanentError]) -> None:
        """Checks what is known of the numbers, the range and the folder: when the DAG is parsed, and in the task."""
        with misfits(self.task_id, error):
            for name in ("count", "min_count", "min_spans"):
                number = getattr(self, name)
                if isinstance(number, int) and number < 1:
                    raise InvalidValueError(f"{name} is {number}; give 1 or more")
            _check_least("min_count", self.min_count, 1 if self.count is None else self.count)
            config: Any = self.range_config
            if config is not None and all(isinstance(number, int) for number in leaves(config)):
                spans.check_range(config, may_skip=True)
                _check_least("min_spans", self.min_spans, spans.most_spans(config))
            folder = self.destination
            if isinstance(folder, str) and not is_template(folder) and not Path(folder).is_absolute():
                raise InvalidValueError(f"destination is {folder!r}; give an absolute path, that of a push_destination")


def _check_least(name: str, least: Any, most: Any) -> None:
    if isinstance(least, int) and isinstance(most, int) and least > most:
        raise InvalidValueError(f"{name} is {least}, but at most {most} can be found")
