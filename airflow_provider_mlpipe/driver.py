"""Decides, for one component in one run: has this been done before, or must it run? And says why."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_provider_mlpipe import fingerprint as fingerprints
from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.digests import files_digest
from airflow_provider_mlpipe.fingerprint import Fingerprint
from airflow_provider_mlpipe.metadata.store import CachedExecution, ExecutionStart, MetadataStore
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec

CacheMode = bool | Literal["refresh"]
Outputs = Mapping[str, Sequence[Artifact]]


@dataclass(frozen=True, kw_only=True)
class ComponentRun:
    """One try of one component: what it is, where it runs, and what it was given."""

    spec: ComponentSpec
    pipeline: str
    run_id: str
    component_id: str
    map_index: int
    try_number: int
    triggered_by: str | None
    inputs: Mapping[str, Artifact | None]
    parameters: Mapping[str, Any]
    external: Mapping[str, str]
    cache: CacheMode
    cache_files: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Hit (`cached` says which execution) or miss, why in words, and whether later runs may hit the result."""

    start: ExecutionStart
    cached: CachedExecution | None
    reason: str
    is_reusable: bool
    source_files: frozenset[str]


def decide(
    store: MetadataStore, run: ComponentRun, *, problem_with: Callable[[Outputs], str | None] = lambda _: None
) -> Decision:
    """Computes the fingerprint and looks it up; a hit needs outputs that are still there.

    `problem_with` is the component's own veto on a hit: it returns the reason to run, or None. Outputs found missing
    are marked so in the store. Raises the errors of `fingerprint.compute` and of the store.
    """
    barrier("driver.fingerprint")
    fingerprint = _fingerprint(run)
    start = execution_start(run, fingerprint.digest, fingerprint.parts)
    barrier("driver.look_up")
    cached, reason = _look_up(store, run, start, problem_with)
    barrier("driver.decided")
    return Decision(
        start=start,
        cached=cached,
        reason=reason,
        is_reusable=run.cache is not False,
        source_files=fingerprint.source_files,
    )


def changed_since(run: ComponentRun, decision: Decision) -> str | None:
    """What differs by now from what was decided on, in words: the executor may have read either."""
    now = _fingerprint(run)
    return fingerprints.explain(decision.start.fingerprint_parts, now.parts, run.parameters) or None


def _fingerprint(run: ComponentRun) -> Fingerprint:
    return fingerprints.compute(
        run.spec,
        inputs=run.inputs,
        parameters=run.parameters,
        external=run.external,
        cache_files=run.cache_files,
    )


def execution_start(run: ComponentRun, fingerprint: str, parts: Mapping[str, str]) -> ExecutionStart:
    """The row that this try begins with."""
    return ExecutionStart(
        component_type=run.spec.component_type,
        pipeline=run.pipeline,
        run_id=run.run_id,
        component_id=run.component_id,
        map_index=run.map_index,
        try_number=run.try_number,
        fingerprint=fingerprint,
        fingerprint_parts=parts,
        inputs={key: [artifact.id] for key, artifact in run.inputs.items() if artifact and artifact.id is not None},
        properties={key: value for key, value in run.parameters.items() if value is not None},
        triggered_by=run.triggered_by,
        environment={"host": socket.gethostname(), "python": platform.python_version(), "pid": os.getpid()},
    )


def _look_up(
    store: MetadataStore, run: ComponentRun, start: ExecutionStart, problem_with: Callable[[Outputs], str | None]
) -> tuple[CachedExecution | None, str]:
    if run.cache is not True:
        return None, "cache refreshed" if run.cache == "refresh" else "caching is off"
    lost: list[str] = []
    while cached := store.find_cached(start.fingerprint):
        missing = [artifact for artifact in _artifacts(cached.outputs) if not _is_there(artifact)]
        if unreachable := [artifact.uri for artifact in missing if not Path(artifact.uri).parents[1].is_dir()]:
            # Perhaps a volume that is not mounted: they may come back, so they are not marked.
            return None, f"outputs out of reach: {', '.join(unreachable)}"
        if missing:
            store.mark_missing([artifact.id for artifact in missing if artifact.id is not None])
            lost += [artifact.uri for artifact in missing]
            continue
        problem = problem_with(cached.outputs)
        if problem:
            return None, problem
        return cached, f"equal to execution {cached.execution_id}"
    if lost:
        return None, f"outputs missing: {', '.join(lost)}"
    before = store.previous_parts(pipeline=run.pipeline, component_id=run.component_id)
    return None, fingerprints.explain(before, start.fingerprint_parts, run.parameters) or _not_reusable(store, run)


def _not_reusable(store: MetadataStore, run: ComponentRun) -> str:
    """Why an equal execution is no hit: what was recorded with it."""
    equal = store.executions(pipeline=run.pipeline, component_id=run.component_id, limit=1).items
    reason = equal[0].not_reusable_reason if equal else None
    return f"the earlier result is not reusable: {reason or 'its outputs are not there'}"


def _is_there(artifact: Artifact) -> bool:
    """Whether its folder is, and is not empty unless it was published so."""
    uri = Path(artifact.uri)
    return uri.is_dir() and (any(uri.iterdir()) or artifact.digest == files_digest([]))


def _artifacts(outputs: Outputs) -> list[Artifact]:
    return [artifact for artifacts in outputs.values() for artifact in artifacts]
