"""Decides, for one component in one run: has this been done before, or must it run? And says why."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.caching import fingerprint as fingerprints
from airflow_provider_mlpipe.caching.fingerprint import Fingerprint
from airflow_provider_mlpipe.metadata.store import CachedExecution, ExecutionStart, ExecutionState, MetadataStore
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec
from airflow_provider_mlpipe.storage.digests import files_digest, tree_digest, tree_size
from airflow_provider_mlpipe.storage.layout import folder_of, is_out_of_reach

CacheMode = bool | Literal["refresh"]
CacheScope = Literal["store", "pipeline"]
Verify = Literal["exists", "digest"]
Outputs = Mapping[str, Sequence[Artifact]]


@dataclass(frozen=True, kw_only=True)
class CachePolicy:
    """Which earlier executions may stand for a component's own, and how their outputs are looked at first.

    `mode` True looks for one; "refresh" runs, and lets later runs hit the new result; False runs for this run alone.
    `ttl` and `scope` narrow the search; `files` are part of the fingerprint. Outputs must still be there, all files of
    them ("exists"), or hold what was published, too ("digest", which reads them).
    """

    mode: CacheMode = True
    ttl: timedelta | None = None
    scope: CacheScope = "store"
    verify: Verify = "exists"
    files: Sequence[str] = field(default=())


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
    cache: CachePolicy


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Hit (`cached` says which execution) or miss, why in words, and whether later runs may hit the result."""

    start: ExecutionStart
    cached: CachedExecution | None
    reason: str
    is_reusable: bool
    source_files: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What a node without an executor names: artifacts, with `reuse` one that is there already where it is equal."""

    start: ExecutionStart
    outputs: Outputs
    reuse: bool


def decide(
    store: MetadataStore, run: ComponentRun, *, problem_with: Callable[[Outputs], str | None] = lambda _: None
) -> Decision:
    """Computes the fingerprint and looks it up; a hit needs outputs that are still there.

    `problem_with` is the component's own veto on a hit: it returns the reason to run, or None. Outputs found missing
    are marked so in the store. Raises the errors of `fingerprint.compute` and of the store.
    """
    barrier("driver.fingerprint")
    fingerprint = _fingerprint(run)
    start = execution_start(run, fingerprint, flight=_flight(run, fingerprint))
    barrier("driver.look_up")
    cached, reason = _look_up(store, run, start, problem_with)
    barrier("driver.decided")
    return Decision(
        start=start,
        cached=cached,
        reason=reason,
        is_reusable=run.cache.mode is not False,
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
        cache_files=run.cache.files,
    )


def look_again(
    store: MetadataStore, run: ComponentRun, decision: Decision, *, problem_with: Callable[[Outputs], str | None]
) -> CachedExecution | None:
    """Looks once more when this try has its claim: who held the flight before may have published just now."""
    return _usable(store, run, decision.start, problem_with)[0] if run.cache.mode is True else None


def execution_start(run: ComponentRun, fingerprint: Fingerprint, flight: str | None = None) -> ExecutionStart:
    """The row that this try begins with."""
    return ExecutionStart(
        component_type=run.spec.component_type,
        pipeline=run.pipeline,
        run_id=run.run_id,
        component_id=run.component_id,
        map_index=run.map_index,
        try_number=run.try_number,
        fingerprint=fingerprint.digest,
        fingerprint_parts=fingerprint.parts,
        inputs={key: [artifact.id] for key, artifact in run.inputs.items() if artifact and artifact.id is not None},
        properties={key: value for key, value in run.parameters.items() if value is not None},
        triggered_by=run.triggered_by,
        environment={"host": socket.gethostname(), "python": platform.python_version(), "pid": os.getpid()},
        flight=flight,
    )


def usable_problem(artifact: Artifact, verify: Verify) -> str | None:
    """Why an artifact's files cannot be used, in words; None when they can."""
    folder = folder_of(artifact)
    try:
        return _files_problem(folder, artifact, verify)
    except OSError as error:
        return f"{folder} cannot be read: {error}"


def _flight(run: ComponentRun, fingerprint: Fingerprint) -> str | None:
    if run.cache.mode is not True:
        return None
    return fingerprint.digest if run.cache.scope == "store" else f"{fingerprint.digest} {run.pipeline}"


def _find(store: MetadataStore, run: ComponentRun, start: ExecutionStart) -> CachedExecution | None:
    pipeline = run.pipeline if run.cache.scope == "pipeline" else None
    return store.find_cached(start.fingerprint, pipeline=pipeline, max_age=run.cache.ttl)


def _look_up(
    store: MetadataStore, run: ComponentRun, start: ExecutionStart, problem_with: Callable[[Outputs], str | None]
) -> tuple[CachedExecution | None, str]:
    if run.cache.mode is not True:
        return None, "cache refreshed" if run.cache.mode == "refresh" else "caching is off"
    cached, problem = _usable(store, run, start, problem_with)
    if cached is not None:
        return cached, f"equal to execution {cached.execution_id}"
    return None, problem or _what_changed(store, run, start)


def _usable(
    store: MetadataStore, run: ComponentRun, start: ExecutionStart, problem_with: Callable[[Outputs], str | None]
) -> tuple[CachedExecution | None, str | None]:
    """An equal execution that stands up to a look at its files; or None, and what was wrong with those there are."""
    lost: list[str] = []
    while cached := _find(store, run, start):
        problems = _problems(cached.outputs, run.cache.verify)
        if unreachable := [artifact.uri for artifact, _ in problems if is_out_of_reach(artifact)]:
            # They may come back, so they are not marked.
            return None, f"outputs out of reach: {', '.join(unreachable)}"
        if problems:
            store.mark_missing([artifact.id for artifact, _ in problems if artifact.id is not None])
            lost += [problem for _, problem in problems]
            continue
        problem = problem_with(cached.outputs)
        return (None, problem) if problem else (cached, None)
    return None, f"outputs missing: {'; '.join(lost)}" if lost else None


def _what_changed(store: MetadataStore, run: ComponentRun, start: ExecutionStart) -> str:
    earlier = store.earlier_parts(pipeline=run.pipeline, component_id=run.component_id)
    nearest = fingerprints.nearest(earlier, start.fingerprint_parts)
    change = fingerprints.explain(nearest, start.fingerprint_parts, run.parameters)
    return change or _why_equal_is_no_hit(store, run, start)


def _why_equal_is_no_hit(store: MetadataStore, run: ComponentRun, start: ExecutionStart) -> str:
    """What keeps this component from an equal execution: its own settings, or what was recorded with that one."""
    if any_age := store.find_cached(start.fingerprint):
        if run.cache.ttl and store.find_cached(start.fingerprint, max_age=run.cache.ttl) is None:
            return f"execution {any_age.execution_id}, which is equal, did not end within cache_ttl={run.cache.ttl}"
        return f"execution {any_age.execution_id}, which is equal, is another pipeline's, or too old in this one"
    equal = store.executions(fingerprint=start.fingerprint, state=ExecutionState.COMPLETE, limit=1).items
    reason = equal[0].not_reusable_reason if equal else None
    return f"the earlier result is not reusable: {reason or 'its outputs are not there'}"


def _problems(outputs: Outputs, verify: Verify) -> list[tuple[Artifact, str]]:
    artifacts = [artifact for artifacts in outputs.values() for artifact in artifacts]
    found = ((artifact, usable_problem(artifact, verify)) for artifact in artifacts)
    return [(artifact, problem) for artifact, problem in found if problem is not None]


def _files_problem(folder: Path, artifact: Artifact, verify: Verify) -> str | None:
    if not folder.is_dir():
        return f"{folder} is gone"
    if artifact.files is None:  # registered, not published: its node hashes it in every run
        return None if any(folder.iterdir()) or artifact.digest == files_digest([]) else f"{folder} is empty"
    count, size = tree_size(folder)
    if (count, size) != (artifact.files.count, artifact.files.bytes):
        return (
            f"{folder} holds {count:,} files of {size:,} bytes, and was published with {artifact.files.count:,} of "
            f"{artifact.files.bytes:,}"
        )
    if verify == "digest" and tree_digest(folder) != artifact.files.digest:
        return f"what {folder} holds is not what was published there"
    return None
