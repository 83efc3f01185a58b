"""What each strategy of a Resolver searches for, and which arguments it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching.driver import ComponentRun
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.storage import spans

Strategy = Literal["LatestArtifact", "LatestBlessedModel", "LatestPushed", "SpanRange", "ByProperty"]
Find = Callable[[MetadataStore, ComponentRun, Collection[int]], list[Artifact]]
"""The matches in order, without those whose ids are given: their files are lost."""

ANY_PIPELINE = "*"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a strategy finds artifacts, the output that it publishes them as, and the arguments that it has."""

    find: Find
    output: Literal["model", "result"]
    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()


def pipeline_of(run: ComponentRun) -> str | None:
    """The pipeline that is searched; None for all."""
    given: str | None = run.parameters["pipeline"]
    return None if given == ANY_PIPELINE else given or run.pipeline


def warn_of_unknown_names(store: MetadataStore, run: ComponentRun) -> None:
    """Says so if the pipeline or the component that was named has published nothing at all."""
    pipeline, component_id = pipeline_of(run), run.parameters["producer_component_id"]
    if pipeline is None or (component_id is None and run.parameters["pipeline"] is None):
        return
    kind: Literal["pipeline", "node"] = "pipeline" if component_id is None else "node"
    name = pipeline if component_id is None else f"{pipeline}/{component_id}"
    if not store.contexts(context_type=kind, name=name, limit=1).items:
        log.warning("%s: the store knows no %s; if it has run, correct the name", run.component_id, name)


def _latest_artifacts(store: MetadataStore, run: ComponentRun, without: Collection[int]) -> list[Artifact]:
    count, least = run.parameters["count"] or 1, run.parameters["min_count"] or 1
    found = store.latest_artifacts(
        run.parameters["artifact_type"],
        pipeline=pipeline_of(run),
        component_id=run.parameters["producer_component_id"],
        without=without,
        limit=count,
    )
    if len(found) < least:
        if found:
            log.info("%s: publishes nothing: there are %s, but min_count is %s", run.component_id, len(found), least)
        return []
    return parts.in_order(found[::-1])


def _by_property(store: MetadataStore, run: ComponentRun, without: Collection[int]) -> list[Artifact]:
    return store.latest_artifacts(
        run.parameters["artifact_type"],
        pipeline=pipeline_of(run),
        component_id=run.parameters["producer_component_id"],
        properties=run.shown["properties"],  # an Importer, too, stores digests in the place of secrets
        without=without,
    )


def _span_range(store: MetadataStore, run: ComponentRun, without: Collection[int]) -> list[Artifact]:
    artifact_type, least = run.parameters["artifact_type"], run.parameters["min_spans"] or 1
    by_producer = store.newest_of_spans(
        artifact_type, pipeline=pipeline_of(run), component_id=run.parameters["producer_component_id"], without=without
    )
    if len(by_producer) > 1:
        raise InvalidInputError(
            f"{run.component_id}: {', '.join(sorted(by_producer))} have published {artifact_type} with spans; name the "
            "one that you mean with pipeline and producer_component_id"
        )
    found = next(iter(by_producer.values()), {})
    wanted = _in_range(run.parameters["range_config"], found) if found else []
    missing = [number for number in wanted if number not in found]
    if (count := len(wanted) - len(missing)) < least:
        if found:
            lacks = f", without {spans.listed(missing)}" if missing else ""
            why = f"the range has {count} of them{lacks}, but min_spans is {least}"
            log.info("%s: publishes nothing: %s", run.component_id, why)
        return []
    if missing:
        raise InvalidInputError(
            f"{run.component_id}: there are no {artifact_type} of {spans.listed(missing)}, only of "
            f"{spans.listed(sorted(found))}; let {next(iter(by_producer))} make the missing ones, or give another range"
        )
    return parts.in_order(store.artifacts_by_id([found[number] for number in wanted]))


def _in_range(config: Mapping[str, Mapping[str, int]], found: Collection[int]) -> list[int]:
    """The spans of the range; a rolling one has none where all are skipped, or before its start."""
    rolling = config.get("rolling_range", {})
    last = max(found) - rolling.get("skip_num_recent_spans", 0)
    if rolling and last < max(min(found), rolling.get("start_span_number", 0)):
        return []
    return spans.numbers_of(config, last=last, oldest=min(found))


def _latest_blessed_model(store: MetadataStore, run: ComponentRun, without: Collection[int]) -> list[Artifact]:
    candidate = run.artifact("other_than")
    found = store.latest_blessed_model(
        pipeline=pipeline_of(run),
        other_than=candidate.digest if candidate else None,
        before_span=_newest_span(run),
        without=without,
    )
    return [found] if found else []


def _newest_span(run: ComponentRun) -> int | None:
    """The newest span of the examples `before`; None if there are none."""
    examples = run.inputs["before"]
    numbers = [one.properties[parts.SPAN] for one in examples if parts.SPAN in one.properties]
    if examples and not numbers:
        raise InvalidInputError(
            f"{run.component_id}.before: {examples[0].TYPE_NAME} {examples[0].id} has no span, so no model is before "
            "it; give Examples of files with a span in their names, or leave out `before`"
        )
    return max(numbers, default=None)


def _latest_pushed(store: MetadataStore, run: ComponentRun, without: Collection[int]) -> list[Artifact]:
    found = store.latest_pushed_model(destination=str(Path(run.parameters["destination"])), without=without)
    return [found] if found else []


SEARCHES: Mapping[Strategy, Search] = {
    "LatestArtifact": Search(
        find=_latest_artifacts,
        output="result",
        needs=frozenset({"artifact_type"}),
        takes=frozenset({"count", "min_count", "producer_component_id", "pipeline"}),
    ),
    "LatestBlessedModel": Search(
        find=_latest_blessed_model, output="model", takes=frozenset({"other_than", "before", "pipeline"})
    ),
    "LatestPushed": Search(find=_latest_pushed, output="model", needs=frozenset({"destination"})),
    "SpanRange": Search(
        find=_span_range,
        output="result",
        needs=frozenset({"range_config"}),
        takes=frozenset({"artifact_type", "min_spans", "producer_component_id", "pipeline"}),
    ),
    "ByProperty": Search(
        find=_by_property,
        output="result",
        needs=frozenset({"artifact_type", "properties"}),
        takes=frozenset({"producer_component_id", "pipeline"}),
    ),
}
