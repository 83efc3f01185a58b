"""Decides for one component in one run whether an equal execution exists or it must run, and says why."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.caching import fingerprint as fingerprints
from airflow_provider_mlpipe.caching import reads
from airflow_provider_mlpipe.caching.fingerprint import Fingerprint
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.metadata.store import (
    CachedExecution,
    ExecutionStart,
    ExecutionState,
    MetadataStore,
    Part,
    Run,
    Span,
)
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec
from airflow_provider_mlpipe.storage.artifact_files import Verify, loss
from airflow_provider_mlpipe.storage.layout import is_below

CacheMode = bool | Literal["refresh"]
CacheScope = Literal["store", "pipeline"]
Outputs = Mapping[str, Sequence[Artifact]]

_LOOKS_BACK = 20  # equal executions that differ in what user code read, such as before and after an edit


@dataclass(frozen=True, kw_only=True)
class CachePolicy:
    """Which earlier results a component may reuse, and how their files are checked first.

    `mode` True looks for an earlier result. "refresh" runs, and lets later runs reuse the new result. False runs, and
    does not let later runs reuse the result; `off` says why. `ttl` (a maximum age) and `scope` narrow the search.
    `files` and the environment variables `env` are part of the fingerprint. `verify` says how outputs are checked:
    "exists" looks at the inodes, sizes and times of the files, and reads them if these are not as they were published;
    "digest" always reads them. Outputs that are not below `root` are always read.
    """

    mode: CacheMode = True
    ttl: timedelta | None = None
    scope: CacheScope = "store"
    verify: Verify = "exists"
    root: str = ""
    files: Sequence[str] = field(default=())
    env: Sequence[str] = field(default=())
    off: str = "caching is off"


@dataclass(frozen=True, kw_only=True)
class ComponentRun:
    """One part of one try of one component: its spec, its run, its inputs (in order) and its parameters.

    `shown` are the parameters with digests in the place of secrets: what is stored, logged and printed. `resolved` are
    the parameters as the executor gets them: those of an ExampleGen name the files of one `span`. The operator's
    `parts_of` divides a try into parts. They share `how` they work, which is computed once.
    """

    spec: ComponentSpec
    dag_run: Run
    component_id: str
    map_index: int
    try_number: int
    triggered_by: str | None
    inputs: Mapping[str, Sequence[Artifact]]
    parameters: Mapping[str, Any]
    shown: Mapping[str, Any]
    resolved: Mapping[str, Any]
    external: Mapping[str, str]
    cache: CachePolicy
    span: Span | None = None
    part: Part = field(default_factory=Part)
    how: Fingerprint | None = None

    @property
    def pipeline(self) -> str:
        """The id of the DAG."""
        return self.dag_run.pipeline

    def artifact(self, name: str) -> Artifact | None:
        """The one artifact of an input, or None."""
        return next(iter(self.inputs[name]), None)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A hit (`cached` is the earlier execution) or a miss, the reason as text, and whether later runs may reuse it.

    `source_folders` are the folders of user code, by name. `unknown` says what the fingerprint does not cover although
    the code may depend on it. `lost` are the ids of the artifacts that were found without their files. Whoever acts by
    the decision marks them as MISSING; a preview does not act.
    """

    start: ExecutionStart
    cached: CachedExecution | None
    reason: str
    is_reusable: bool
    source_files: frozenset[str]
    source_folders: Mapping[str, str]
    unknown: tuple[str, ...] = ()
    lost: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The artifacts that a node without an executor found. With `reuse`, an equal artifact in the store is used.

    `lost` is as in a Decision.
    """

    start: ExecutionStart
    outputs: Outputs
    reuse: bool
    lost: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class _Found:
    """An equal execution whose files can be used, or the problem with those that there are; the ids of lost outputs."""

    cached: CachedExecution | None = None
    problem: str | None = None
    lost: Sequence[int] = ()


def decide(
    store: MetadataStore, run: ComponentRun, *, problem_with: Callable[[Outputs], str | None] = lambda _: None
) -> Decision:
    """Computes the fingerprint and looks it up. It is a hit only if the outputs still exist.

    `problem_with` lets the component reject a hit: it returns the reason to run, or None. It writes nothing to the
    store. Raises the errors of `fingerprint.compute` and of the store.
    """
    barrier("driver.fingerprint")
    computed = fingerprint(run)
    start = execution_start(run, computed, flight=_flight(run, computed))
    barrier("driver.look_up")
    found, reason = _look_up(store, run, start, computed.folders, problem_with)
    barrier("driver.decided")
    return Decision(
        start=start,
        cached=found.cached,
        lost=found.lost,
        reason=reason,
        is_reusable=run.cache.mode is not False,
        source_files=computed.source_files,
        source_folders=computed.folders,
        unknown=computed.unknown,
    )


def changed_since(run: ComponentRun, decision: Decision) -> str | None:
    """What has changed since the decision, as text, or None. The executor may have read the old or the new state."""
    now = fingerprint(replace(run, how=None))
    return fingerprints.explain(decision.start.fingerprint_parts, now.parts, run.shown) or None


def fingerprint(run: ComponentRun) -> Fingerprint:
    """The fingerprint of this part of the try."""
    how = run.how or work(run)
    return fingerprints.with_data(how, run.spec, inputs=run.inputs, external=run.external, span=run.span)


def work(run: ComponentRun) -> Fingerprint:
    """What the fingerprints of all parts of a try have in common."""
    return fingerprints.of_work(
        run.spec,
        parameters=run.parameters,
        shown=run.shown,
        cache_files=run.cache.files,
        cache_env=run.cache.env,
    )


def look_again(
    store: MetadataStore, run: ComponentRun, decision: Decision, *, problem_with: Callable[[Outputs], str | None]
) -> CachedExecution | None:
    """Looks for a hit again when this try has its claim: an equal execution may have published just before that."""
    if run.cache.mode is not True:
        return None
    return _usable(store, run, decision.start, decision.source_folders, problem_with).cached


def execution_start(run: ComponentRun, computed: Fingerprint, flight: str | None = None) -> ExecutionStart:
    """The row that the store inserts when this try starts."""
    return ExecutionStart(
        component_type=run.spec.component_type,
        run=run.dag_run,
        component_id=run.component_id,
        map_index=run.map_index,
        try_number=run.try_number,
        fingerprint=computed.digest,
        fingerprint_parts=computed.parts,
        inputs={key: ids for key, given in run.inputs.items() if (ids := [one.id for one in given if one.id])},
        properties={key: value for key, value in run.shown.items() if value is not None},
        triggered_by=run.triggered_by,
        environment={"host": socket.gethostname(), "python": platform.python_version(), "pid": os.getpid()},
        flight=flight,
        part=run.part,
    )


def _flight(run: ComponentRun, computed: Fingerprint) -> str | None:
    if run.cache.mode is not True:
        return None
    return computed.digest if run.cache.scope == "store" else f"{computed.digest} {run.pipeline}"


def _find(
    store: MetadataStore, run: ComponentRun, start: ExecutionStart, folders: Mapping[str, str], before: int | None
) -> tuple[CachedExecution | None, str | None]:
    """The newest equal execution for which user code read what is there now; else what has changed since the newest."""
    pipeline = run.pipeline if run.cache.scope == "pipeline" else None
    why = None
    for _ in range(_LOOKS_BACK):
        found = store.find_cached(start.fingerprint, pipeline=pipeline, max_age=run.cache.ttl, before=before)
        if found is None:
            break
        changed = "; ".join(reads.changes(reads.from_struct(found.reads), folders))
        if not changed:
            return found, None
        before, why = found.execution_id, why or changed
    return None, why


def _look_up(
    store: MetadataStore,
    run: ComponentRun,
    start: ExecutionStart,
    folders: Mapping[str, str],
    problem_with: Callable[[Outputs], str | None],
) -> tuple[_Found, str]:
    """What was found, and the reason of the decision."""
    if run.cache.mode is not True:
        return _Found(), "cache refreshed" if run.cache.mode == "refresh" else run.cache.off
    found = _usable(store, run, start, folders, problem_with)
    if found.cached is not None:
        return found, f"equal to execution {found.cached.execution_id}"
    return found, found.problem or _what_changed(store, run, start)


def _usable(
    store: MetadataStore,
    run: ComponentRun,
    start: ExecutionStart,
    folders: Mapping[str, str],
    problem_with: Callable[[Outputs], str | None],
) -> _Found:
    """The newest equal execution whose files can be used."""
    lost: list[tuple[Artifact, str]] = []
    before = None
    while True:
        cached, changed = _find(store, run, start, folders, before)
        if cached is None:
            missing = "; ".join(problem for _, problem in lost)
            return _found(None, f"outputs missing: {missing}" if missing else changed, lost)
        try:
            losses = _losses(cached.outputs, run.cache)
        except (TransientError, InvalidInputError) as error:
            return _found(None, f"an equal result cannot be used: {error}", lost)
        if not losses:
            problem = problem_with(cached.outputs)
            return _found(None if problem else cached, problem, lost)
        lost += losses
        before = cached.execution_id


def _found(cached: CachedExecution | None, problem: str | None, lost: Sequence[tuple[Artifact, str]]) -> _Found:
    ids = [artifact.id for artifact, _ in lost if artifact.id is not None]
    return _Found(cached=cached, problem=problem, lost=ids)


def _what_changed(store: MetadataStore, run: ComponentRun, start: ExecutionStart) -> str:
    earlier = store.earlier_parts(pipeline=run.pipeline, component_id=run.component_id)
    nearest = fingerprints.nearest(earlier, start.fingerprint_parts)
    change = fingerprints.explain(nearest, start.fingerprint_parts, run.shown)
    return change or _why_equal_is_no_hit(store, run, start)


def _why_equal_is_no_hit(store: MetadataStore, run: ComponentRun, start: ExecutionStart) -> str:
    """Why an equal execution is not a hit: because of this component's settings, or of what that execution recorded."""
    if any_age := store.find_cached(start.fingerprint):
        if run.cache.ttl and store.find_cached(start.fingerprint, max_age=run.cache.ttl) is None:
            return f"the equal execution {any_age.execution_id} is older than cache_ttl={run.cache.ttl}"
        return f"the equal execution {any_age.execution_id} is of another pipeline, or too old in this one"
    equal = store.executions(fingerprint=start.fingerprint, state=ExecutionState.COMPLETE, limit=1).items
    reason = equal[0].not_reusable_reason if equal else None
    return f"the earlier result is not reusable: {reason or 'its outputs are missing'}"


def _losses(outputs: Outputs, cache: CachePolicy) -> list[tuple[Artifact, str]]:
    artifacts = [artifact for artifacts in outputs.values() for artifact in artifacts]
    found = (
        (artifact, loss(artifact, cache.verify if is_below(cache.root, artifact) else "digest"))
        for artifact in artifacts
    )
    return [(artifact, problem) for artifact, problem in found if problem is not None]
