"""The metadata store: one method per question. Only this module runs the queries of `sql/queries.sql`."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState, PropertyValue
from airflow_provider_mlpipe.exceptions import (
    InProgressError,
    InvalidInputError,
    InvalidValueError,
    LostClaimError,
    TransientError,
)
from airflow_provider_mlpipe.forms import declared_properties, from_row, to_row
from airflow_provider_mlpipe.metadata import schema, sql
from airflow_provider_mlpipe.metadata.connection import Address, Connection, Row
from airflow_provider_mlpipe.metadata.rows import (
    NO_VERSION,
    AnnouncedSpan,
    CachedExecution,
    Claim,
    Context,
    Execution,
    ExecutionStart,
    ExecutionState,
    InvalidatedExecution,
    Lineage,
    LineageEdge,
    LineageNode,
    Page,
    Part,
    PlannedTask,
    Run,
    Span,
    all_items,
    artifacts_by_key,
)
from airflow_provider_mlpipe.metadata.values import check_text, decode, encode, printable, to_json

__all__ = [
    "AnnouncedSpan",
    "CachedExecution",
    "Claim",
    "Context",
    "Execution",
    "ExecutionStart",
    "ExecutionState",
    "InvalidatedExecution",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "MetadataStore",
    "Page",
    "Part",
    "PlannedTask",
    "Run",
    "Span",
    "all_items",
]

Outputs = Mapping[str, Sequence[Artifact]]
T = TypeVar("T")

_STATEMENTS = sql.load()
STALE_AFTER = timedelta(seconds=60)
"""An execution's worker counts as dead if its last heartbeat is further from now than this, in the past or future.

When Postgres has started again, workers have this long to send a heartbeat.
"""

_ROUNDS = 20  # several tries of one task may begin at the same moment; each round ends one of them
_checked: set[str] = set()


class MetadataStore:
    """Executions, artifacts, events and contexts in Postgres.

    Every method may raise StoreUnavailableError, and TransientError (a deadlock or timeout). The first use in a process
    checks the schema's version and may raise SchemaVersionError. Threads and forks may share a store.
    """

    def __init__(self, address: str | Address) -> None:
        """Connect at first use, to an address or a Postgres connection string; raises InvalidInputError for others."""
        self._dsn = Address.of(address).dsn
        self._connection = Connection(address)

    def check(self) -> None:
        """Raise SchemaVersionError unless the schema has the version that this code needs."""
        schema.check_with(self._connection)

    def close(self) -> None:
        """Close this thread's connection."""
        self._connection.close()

    @functools.cached_property
    def id(self) -> str:
        """The store's own id, a UUID. A copy of the database has the same."""
        (row,) = self._run("store_id")
        return str(row["id"])

    @functools.cached_property
    def secret(self) -> bytes:
        """The key of the digests that stand for secret values."""
        (row,) = self._run("store_secret")
        return str(row["secret"]).encode()

    def transaction(self) -> AbstractContextManager[None]:
        """Run this thread's statements of the `with` block in one transaction."""
        return self._connection.transaction()

    def patience(self, patience: timedelta) -> AbstractContextManager[None]:
        """Let this thread's statements of the `with` block wait so long while the store is away.

        A publication that waited knows its own work, even if it was carried out and the reply was lost.
        """
        return self._connection.patience(patience)

    # Recording

    def start_execution(self, start: ExecutionStart) -> Claim:
        """Record a RUNNING execution; earlier ones of the same task in this run end as FAILED and lose their claim.

        Raises InvalidValueError for a value that cannot be stored or an input that is not an artifact, LostClaimError
        when a later try of the task is running, and InProgressError when another execution with the same flight is
        running. If that one's worker is dead, it is ended instead.
        """
        self._ensure_contexts(start)
        token = _new_token()
        return Claim(execution_id=self._start(start, ExecutionState.RUNNING, token), token=token)

    def heartbeat(self, claim: Claim) -> None:
        """Record that the execution's worker is alive. Raises LostClaimError."""
        if not self._run("heartbeat", execution_id=claim.execution_id, token=claim.token):
            raise self._lost(claim)

    def is_under_way(self, execution_id: int) -> bool:
        """Whether an execution is RUNNING and its worker has sent a recent heartbeat."""
        return bool(self._run("under_way", execution_id=execution_id, stale_after=STALE_AFTER))

    def publish(
        self,
        claim: Claim,
        outputs: Outputs,
        *,
        not_reusable_reason: str | None = None,
        reads: Mapping[str, PropertyValue] | None = None,
    ) -> dict[str, list[Artifact]]:
        """Make the execution COMPLETE and its outputs LIVE, in one statement; returns the outputs with their ids.

        `reads` is what user code read meanwhile; `find_cached` returns it again.

        Raises LostClaimError, and InvalidValueError for a property that cannot be stored or is not declared with its
        type.
        """
        self._ensure_artifact_types(outputs)
        return self._publish(claim, outputs, not_reusable_reason, reuse=False, reads=reads)

    def publish_cached(self, start: ExecutionStart, cached_from: int) -> tuple[int, dict[str, list[Artifact]]]:
        """Record a CACHED execution whose outputs are those of `cached_from`; returns its id and the outputs.

        Raises TransientError if they are not all LIVE any more: the next try decides again, and runs.
        """
        self._ensure_contexts(start)
        # Unlike a publication, a transaction that breaks is not sent again here: the task's next try does it.
        with self.transaction():
            execution_id = self._start(start, ExecutionState.CACHED, _new_token(), cached_from=cached_from)
            return execution_id, self._copy_outputs(execution_id, cached_from)

    def settle(self, claim: Claim, cached_from: int) -> dict[str, list[Artifact]]:
        """End a RUNNING execution as CACHED: an equal execution, `cached_from`, has published meanwhile.

        Raises LostClaimError, and TransientError as `publish_cached` does.
        """
        with self.transaction():
            if not self._run("settle", execution_id=claim.execution_id, token=claim.token, cached_from=cached_from):
                raise self._lost(claim)
            return self._copy_outputs(claim.execution_id, cached_from)

    def publish_node(
        self,
        start: ExecutionStart,
        outputs: Outputs,
        *,
        reuse: bool = True,
        not_reusable_reason: str = "it is resolved again in every run",
    ) -> tuple[int, dict[str, list[Artifact]]]:
        """Record a COMPLETE execution of a node that only finds artifacts (Importer, Resolver).

        Returns its id and the outputs. An artifact with an id is in the store already. For one without an id, and with
        `reuse`, a LIVE artifact with the same type, URI, digest and properties is used if there is one; else a new one
        is created. Raises what `publish` raises.
        """
        self._ensure_contexts(start)
        self._ensure_artifact_types(outputs)
        token = _new_token()
        with self.transaction():
            self._run("lock_uris", uris=to_json([artifact.uri for _, _, artifact in _flat(outputs)]))
            claim = Claim(execution_id=self._start(start, ExecutionState.RUNNING, token), token=token)
            return claim.execution_id, self._publish(claim, outputs, not_reusable_reason, reuse=reuse)

    def fail(self, claim: Claim, error: str) -> bool:
        """End the execution as FAILED. If the claim is lost, does nothing and returns False."""
        return bool(self._run("fail", execution_id=claim.execution_id, token=claim.token, error=printable(error)))

    def fail_before_start(self, start: ExecutionStart, error: str) -> bool:
        """Record a FAILED execution for a try that failed before it had one; if it has one, return False.

        Raises what `start_execution` raises, except InProgressError.
        """
        self._ensure_contexts(start)
        task = {"component_id": start.component_id, "map_index": start.map_index, "try_number": start.try_number}
        with self.transaction():
            if self._run("has_execution", run_key=start.run.key, **task):
                return False
            token = _new_token()
            self.fail(Claim(execution_id=self._start(start, ExecutionState.RUNNING, token), token=token), error)
        return True

    def record_gate(self, run: Run, *, component_id: str, map_index: int, error: str, part: int = 0) -> bool:
        """Record why the gate failed on what a part of a task last published in a run; its state stays."""
        task = {"run_key": run.key, "component_id": component_id, "map_index": map_index, "part": part}
        return bool(self._run("record_gate", **task, error=printable(error)))

    def abandon_stale(self, older_than: timedelta, *, dry_run: bool = False) -> list[int]:
        """End RUNNING executions whose heartbeat is further from now than `older_than` as ABANDONED; return their ids.

        A heartbeat in the future counts, too: the database's clock was set back, and a living worker would have sent
        another heartbeat since then. Heartbeats from before the server's start count once it is up for `older_than`.
        With `dry_run`, only return them.
        """
        return [row["id"] for row in self._run("abandon_stale", older_than=older_than, dry_run=dry_run)]

    def mark_missing(self, artifact_ids: Collection[int]) -> list[int]:
        """Mark LIVE artifacts whose files are gone as MISSING; returns the ids of the changed ones."""
        return self._mark(artifact_ids, ArtifactState.MISSING)

    def mark_live(self, artifact_ids: Collection[int]) -> list[int]:
        """Mark MISSING artifacts whose files are there again as LIVE; returns the ids of the changed ones."""
        return self._mark(artifact_ids, ArtifactState.LIVE)

    def mark_deleted(self, artifact_ids: Collection[int]) -> list[int]:
        """Mark artifacts whose files were deleted on purpose as DELETED; returns the ids of the changed ones."""
        return self._mark(artifact_ids, ArtifactState.DELETED)

    def stamp(self, artifact: Artifact, stamp: str) -> bool:
        """Record the stamp of files that were found to be as they were published; return whether it is a new one."""
        files = artifact.files and artifact.files.digest
        return bool(self._run("stamp_artifact", artifact_id=artifact.id, files_digest=files, stamp=stamp))

    def remember_file_digests(self, digests: Mapping[str, tuple[str, str]]) -> None:
        """Remember the stamp and digest of files, by the digest of the path."""
        if digests:
            rows = [{"path_digest": key, "stamp": stamp, "digest": digest} for key, (stamp, digest) in digests.items()]
            self._run("remember_file_digests", files=to_json(rows))

    def invalidate(
        self,
        *,
        reason: str,
        pipeline: str | None = None,
        component: str | None = None,
        artifact_id: int | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        dry_run: bool = False,
    ) -> list[InvalidatedExecution]:
        """Keep later runs from reusing the executions that match all given conditions, and return these executions.

        `component` is a component's id or type; `artifact_id` is one of the execution's outputs. It ended at `since` or
        later, and before `before`. The database's time is added to the reason. The artifacts do not change.
        """
        # In a transaction, which is not sent again after a break: the second time it would find and return nothing.
        with self._connection.transaction():
            rows = self._run(
                "invalidate",
                reason=printable(reason),
                pipeline=pipeline,
                component=component,
                artifact_id=artifact_id,
                since=since,
                before=before,
                dry_run=dry_run,
            )
        return [InvalidatedExecution.from_row(row) for row in rows]

    # Announcing data

    def announced_spans(self, asset: str) -> list[AnnouncedSpan]:
        """Return the spans of an asset that tasks have announced, or were about to announce."""
        return [AnnouncedSpan.from_row(row) for row in self._run("announced_spans", asset=asset)]

    def announce_spans(
        self, asset: str, spans: Sequence[Span], *, pipeline: str, run_id: str, task_id: str
    ) -> list[Span]:
        """Record that a task is about to announce these spans, and return those that are its own.

        Another task may have recorded some at the same moment.
        """
        task = {"pipeline": pipeline, "run_id": run_id, "task_id": task_id}
        self._run("announce_spans", asset=asset, spans=_span_rows(spans), **task)
        told = {one.span: one for one in self.announced_spans(asset)}
        return [span for span in spans if (told[span].pipeline, told[span].run_id) == (pipeline, run_id)]

    def confirm_spans(self, asset: str, spans: Sequence[Span]) -> None:
        """Record that these spans were announced: their task has succeeded."""
        self._run("confirm_spans", asset=asset, spans=_span_rows(spans))

    def forget_spans(self, asset: str, spans: Sequence[Span]) -> None:
        """Forget that a task was about to announce these spans: it has not."""
        self._run("forget_spans", asset=asset, spans=_span_rows(spans))

    # Deciding

    def find_cached(
        self,
        fingerprint: str,
        *,
        pipeline: str | None = None,
        max_age: timedelta | None = None,
        before: int | None = None,
    ) -> CachedExecution | None:
        """Return the newest COMPLETE reusable execution with this fingerprint whose outputs are all LIVE.

        `max_age` limits the time between its end and now, by the database's clock. If that clock was set back, the end
        may lie in the future; the limit is the same. With `before`, return the newest one before that execution.
        """
        rows = self._run("find_cached", fingerprint=fingerprint, pipeline=pipeline, max_age=max_age, before=before)
        if not rows:
            return None
        return CachedExecution(
            execution_id=rows[0]["execution_id"],
            outputs=artifacts_by_key(rows),
            reads=decode(rows[0]["reads"] or {}),
        )

    def file_digests(self, path_digests: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return the stamp and digest of the files that are remembered, by the digest of the path."""
        rows = self._run("file_digests", path_digests=list(path_digests))
        return {row["path_digest"]: (row["stamp"], row["digest"]) for row in rows}

    def failed_of_flight(self, flight: str, *, among: Collection[int]) -> list[int]:
        """Return which of these executions are FAILED or ABANDONED and have this flight, newest first."""
        return [row["id"] for row in self._run("failed_of_flight", flight=flight, execution_ids=list(among))]

    def earlier_parts(self, *, pipeline: str, component_id: str, limit: int = 20) -> list[Mapping[str, str]]:
        """Return the fingerprint parts of the node's last successful executions, newest first."""
        rows = self._run("earlier_parts", pipeline=pipeline, component_id=component_id, limit=limit)
        return [{name: str(part) for name, part in decode(row["fingerprint_parts"]).items()} for row in rows]

    def latest_run_with(self, component_ids: Sequence[str], *, other_than: Run) -> Run | None:
        """Return the newest other run of the same pipeline in which all of these components have a result."""
        rows = self._run(
            "latest_run_with",
            component_ids=list(component_ids),
            pipeline=other_than.pipeline,
            other_than=other_than.key,
        )
        return _first([Run(**row) for row in rows])

    def latest_run(self, run_id: str, *, other_than: Run) -> Run | None:
        """Return the newest other run of the same pipeline that has this id."""
        rows = self._run("latest_run", pipeline=other_than.pipeline, run_id=run_id, other_than=other_than.key)
        return _first([Run(**row) for row in rows])

    def run_outputs(
        self, run: Run, *, component_id: str, key: str, map_indexes: Collection[int] | None = None
    ) -> list[Artifact]:
        """Return an output of a task's newest complete set of executions in a run, in the order of its parts.

        For a mapped task, return the outputs of the given map indexes (default: of all) in order.
        """
        return self._artifacts(
            "run_outputs",
            run_key=run.key,
            component_id=component_id,
            key=key,
            map_indexes=None if map_indexes is None else list(map_indexes),
        )

    def run_result(self, run: Run, *, component_id: str) -> list[Execution]:
        """Return the executions that `run_outputs` takes a task's outputs from."""
        rows = self._run("run_result", run_key=run.key, component_id=component_id, map_indexes=None)
        return [Execution.from_row(row) for row in rows]

    def set_outputs(self, part_set: str) -> dict[str, list[Artifact]]:
        """Return the outputs of a set of executions by key, in the order of its parts."""
        return artifacts_by_key(self._run("set_outputs", part_set=part_set))

    def finished_part(self, start: ExecutionStart) -> int | None:
        """Return the execution by which an earlier try of this task finished this part, before the try failed."""
        rows = self._run(
            "finished_part",
            run_key=start.run.key,
            component_id=start.component_id,
            map_index=start.map_index,
            part_set=start.part.set,
            fingerprint=start.fingerprint,
        )
        return rows[0]["id"] if rows else None

    def latest_artifacts(
        self,
        artifact_type: str,
        *,
        pipeline: str | None = None,
        component_id: str | None = None,
        properties: Mapping[str, PropertyValue] | None = None,
        before: int | None = None,
        without: Collection[int] = (),
        limit: int = 1,
    ) -> list[Artifact]:
        """Return the newest LIVE artifacts of a type: of all pipelines, of one pipeline, or of one of its nodes.

        With `properties`, only those that have these, declared or custom, with these values; with `before`, only those
        before the artifact with that id. `without` has the ids of artifacts that do not count. Raises InvalidInputError
        when a `component_id` is given without its pipeline.
        """
        wanted = {
            "artifact_type": artifact_type,
            "properties": encode(properties or {}, "properties"),
            "before": before,
            "without": list(without),
            "limit": limit,
        }
        if pipeline is None:
            if component_id is not None:
                raise InvalidInputError(f"component_id {component_id!r} was given without a pipeline; give both")
            return self._artifacts("latest_artifacts", **wanted)
        is_node = component_id is not None
        return self._artifacts(
            "latest_artifacts_of_context",
            context_type="node" if is_node else "pipeline",
            context_name=f"{pipeline}/{component_id}" if is_node else pipeline,
            **wanted,
        )

    def spans_before(
        self, artifact_type: str, *, pipeline: str, component_id: str, span: int, limit: int = 1
    ) -> list[Artifact]:
        """Return a node's LIVE artifacts of spans before `span`: the nearest span first, its newest version first."""
        return self._artifacts(
            "spans_before", artifact_type=artifact_type, node=f"{pipeline}/{component_id}", span=span, limit=limit
        )

    def newest_of_spans(
        self,
        artifact_type: str,
        *,
        pipeline: str | None = None,
        component_id: str | None = None,
        without: Collection[int] = (),
    ) -> dict[str, dict[int, int]]:
        """Return the ids of the LIVE artifacts of a type that have a span: {"pipeline/component id": {span: id}}.

        Of each span, it is the one with the highest version, and of these the last. It counts for the component that
        was the first to publish it. `pipeline`, `component_id` and `without` are as for `latest_artifacts`.
        """
        rows = self._run(
            "newest_of_spans",
            artifact_type=artifact_type,
            pipeline=pipeline,
            component_id=component_id,
            without=list(without),
        )
        found: dict[str, dict[int, int]] = {}
        for row in rows:
            found.setdefault(f"{row['pipeline']}/{row['component_id']}", {})[row["span"]] = row["id"]
        return found

    def latest_blessed_model(
        self,
        *,
        pipeline: str | None = None,
        other_than: str | None = None,
        before_span: int | None = None,
        without: Collection[int] = (),
    ) -> Artifact | None:
        """Return the newest LIVE Model that is blessed and whose digest is not `other_than`.

        With `before_span`, only models of earlier spans, and those without a span. A model's span is the highest one
        that an input of its training had. `without` has the ids of models that do not count.
        """
        found = self._artifacts(
            "latest_blessed_model",
            pipeline=pipeline,
            other_than=other_than,
            before_span=before_span,
            without=list(without),
        )
        return _first(found)

    def latest_pushed_model(self, *, destination: str, without: Collection[int] = ()) -> Artifact | None:
        """Return the Model that the last successful push brought to a destination.

        The destination is the folder that the server watches, without a slash at the end. None if there was no push, or
        that model is not LIVE or among the ids `without`: an older one is not served any more.
        """
        return _first(self._artifacts("latest_pushed_model", destination=destination, without=list(without)))

    # Planning

    def run_with_start(self, pipeline: str, run_id: str, started_at: datetime) -> Run | None:
        """Return the run that Airflow started at this time; None if no task of it has called `run_started`."""
        rows = self._run("run_with_start", pipeline=pipeline, run_id=run_id, started_at=started_at)
        return Run(pipeline=pipeline, run_id=run_id, key=rows[0]["run_key"]) if rows else None

    def run_started(self, pipeline: str, run_id: str, started_at: datetime, *, key: str) -> Run:
        """Return the run that Airflow started at this time. It gets this key if it has none yet."""
        rows = self._run("run_started", pipeline=pipeline, run_id=run_id, started_at=started_at, run_key=key)
        return Run(pipeline=pipeline, run_id=run_id, key=rows[0]["run_key"])

    def commit_plan(self, run: Run, *, clear: int, record: Callable[[], Sequence[PlannedTask]]) -> bool:
        """Commit what `record` records and the plan that it returns, in one transaction.

        If the plan exists already, does nothing and returns False. `clear` distinguishes the plans of a run. Raises
        what `record` raises.
        """
        with self.transaction():
            names = {"pipeline": run.pipeline, "run_id": run.run_id}
            if not self._run("commit_plan", **names, run_key=run.key, clear=clear):
                return False
            decisions = to_json([asdict(task) for task in record()])
            self._run("complete_plan", run_key=run.key, clear=clear, decisions=decisions)
        return True

    def plan(self, run: Run, *, clear: int | None = None) -> list[PlannedTask] | None:
        """Return the plan that was committed for this clear of the run (default: the newest one)."""
        rows = self._run("plan", run_key=run.key, clear=clear)
        return [PlannedTask(**task) for task in rows[0]["decisions"]] if rows else None

    # Looking

    def artifact(self, artifact_id: int) -> Artifact | None:
        """Return one artifact."""
        return _first(self._artifacts("artifact", artifact_id=artifact_id))

    def artifacts_by_id(self, artifact_ids: Collection[int]) -> list[Artifact]:
        """Return the artifacts with these ids in order, without the ids that do not exist."""
        return self._artifacts("artifacts_by_id", artifact_ids=list(artifact_ids))

    def execution(self, execution_id: int) -> Execution | None:
        """Return one execution."""
        return _first([Execution.from_row(row) for row in self._run("execution", execution_id=execution_id)])

    def executions_by_id(self, execution_ids: Collection[int]) -> list[Execution]:
        """Return the executions with these ids in order, without the ids that do not exist."""
        return [Execution.from_row(row) for row in self._run("executions_by_id", execution_ids=list(execution_ids))]

    def first_publishers(self, artifact_ids: Collection[int]) -> list[Execution]:
        """Return the executions that published these artifacts first; later ones found them."""
        return [Execution.from_row(row) for row in self._run("first_publishers", artifact_ids=list(artifact_ids))]

    def used_folders(self, folders: Collection[str]) -> set[str]:
        """Return the folders (absolute, without a slash at the end) that are or contain an artifact of any state."""
        # A path that is not Unicode cannot be an artifact's URI: the store could not hold it.
        rows = self._run("used_folders", folders=[printable(folder) for folder in folders])
        used = {row["folder"] for row in rows}
        return {folder for folder in folders if printable(folder) in used}

    def execution_artifacts(
        self, execution_id: int, event_type: Literal["INPUT", "OUTPUT"]
    ) -> dict[str, list[Artifact]]:
        """Return the inputs or outputs of an execution, by key."""
        return artifacts_by_key(self._run("execution_artifacts", execution_id=execution_id, event_type=event_type))

    def artifacts(
        self,
        *,
        artifact_type: str | None = None,
        state: ArtifactState | None = None,
        uri: str | None = None,
        digest: str | None = None,
        properties: Mapping[str, PropertyValue] | None = None,
        context_id: int | None = None,
        cursor: int | None = None,
        limit: int = 100,
    ) -> Page[Artifact]:
        """Return a page of artifacts that match all conditions; `properties` includes custom properties."""
        return self._page(
            "artifacts",
            from_row,
            artifact_type=artifact_type,
            state=state and state.value,
            uri=uri,
            digest=digest,
            properties=None if properties is None else encode(properties),
            context_id=context_id,
            cursor=cursor,
            limit=limit,
        )

    def executions(
        self,
        *,
        component_type: str | None = None,
        state: ExecutionState | None = None,
        pipeline: str | None = None,
        run_id: str | None = None,
        run_key: str | None = None,
        component_id: str | None = None,
        fingerprint: str | None = None,
        properties: Mapping[str, PropertyValue] | None = None,
        context_id: int | None = None,
        cursor: int | None = None,
        limit: int = 100,
    ) -> Page[Execution]:
        """Return a page of executions that match all conditions."""
        return self._page(
            "executions",
            Execution.from_row,
            component_type=component_type,
            state=state and state.value,
            pipeline=pipeline,
            run_id=run_id,
            run_key=run_key,
            component_id=component_id,
            fingerprint=fingerprint,
            properties=None if properties is None else encode(properties),
            context_id=context_id,
            cursor=cursor,
            limit=limit,
        )

    def contexts(
        self,
        *,
        context_type: Literal["pipeline", "pipeline_run", "node"] | None = None,
        name: str | None = None,
        parent_id: int | None = None,
        cursor: int | None = None,
        limit: int = 100,
    ) -> Page[Context]:
        """Return a page of contexts that match all conditions."""
        return self._page(
            "contexts",
            Context.from_row,
            context_type=context_type,
            name=name,
            parent_id=parent_id,
            cursor=cursor,
            limit=limit,
        )

    def lineage(
        self,
        *,
        artifact_id: int | None = None,
        execution_id: int | None = None,
        direction: Literal["up", "down"],
        max_depth: int = 20,
        max_nodes: int = 1000,
    ) -> Lineage:
        """Return what an artifact or execution was made from (up) or what was made from it (down).

        Stops at `max_depth` steps or `max_nodes` nodes. Raises InvalidInputError unless exactly one id is given.
        """
        if (artifact_id is None) == (execution_id is None):
            raise InvalidInputError("lineage needs either an artifact_id or an execution_id")
        rows = self._run(
            "lineage",
            kind="execution" if artifact_id is None else "artifact",
            id=execution_id if artifact_id is None else artifact_id,
            up=direction == "up",
            max_depth=max_depth,
            max_nodes=max_nodes + 1,
        )
        nodes = [LineageNode.from_row(row) for row in rows[:max_nodes]]
        ids = {f"{kind}_ids": [node.id for node in nodes if node.kind == kind] for kind in ("artifact", "execution")}
        edges = [LineageEdge.from_row(row) for row in self._run("lineage_edges", **ids)]
        return Lineage(nodes=nodes, edges=edges, truncated=len(rows) > max_nodes)

    # How

    def _run(self, statement: str, /, **parameters: Any) -> list[Row]:
        if self._dsn not in _checked:
            self.check()
            _checked.add(self._dsn)
        return self._connection.run(_STATEMENTS[statement], parameters)

    def _artifacts(self, statement: str, /, **parameters: Any) -> list[Artifact]:
        return [from_row(row) for row in self._run(statement, **parameters)]

    def _page(self, statement: str, from_row: Callable[[Row], T], /, *, limit: int, **parameters: Any) -> Page[T]:
        rows = self._run(statement, limit=limit + 1, **parameters)
        cursor = rows[limit - 1]["id"] if len(rows) > limit else None
        return Page(items=[from_row(row) for row in rows[:limit]], cursor=cursor)

    def _mark(self, artifact_ids: Collection[int], state: ArtifactState) -> list[int]:
        if not artifact_ids:
            return []
        rows = self._run("mark_artifacts", artifact_ids=list(artifact_ids), state=state.value)
        return sorted(row["id"] for row in rows)

    def _ensure_contexts(self, start: ExecutionStart) -> None:
        self._run("ensure_contexts", component_type=start.component_type, **_context_names(start))

    def _ensure_artifact_types(self, outputs: Outputs) -> None:
        wanted = {artifact.TYPE_NAME: declared_properties(artifact) for _, _, artifact in _flat(outputs)}
        types = [{"name": name, "properties": properties} for name, properties in wanted.items()]
        for row in self._run("ensure_artifact_types", types=to_json(types)) if types else []:
            for name, kind in wanted[row["name"]].items():
                if (stored := row["properties"][name]) != kind:
                    raise InvalidValueError(
                        f"property {name!r} of {row['name']} is declared {kind} here, but {stored} in the store, "
                        "where a property's type cannot change: give it another name"
                    )

    def _start(self, start: ExecutionStart, state: ExecutionState, token: str, cached_from: int | None = None) -> int:
        inputs = [
            {"key": check_text(key, "an input's key"), "index": index, "artifact_id": artifact_id}
            for key, ids in start.inputs.items()
            for index, artifact_id in enumerate(ids)
        ]
        parameters = _context_names(start) | {
            "component_type": start.component_type,
            "run_id": start.run.run_id,
            "run_key": start.run.key,
            "component_id": start.component_id,
            "map_index": start.map_index,
            "try_number": start.try_number,
            "part_set": start.part.set,
            "part": start.part.number,
            "parts": start.part.count,
            "state": state.value,
            "token": token,
            "fingerprint": start.fingerprint,
            "fingerprint_parts": encode(start.fingerprint_parts, "fingerprint_parts"),
            "flight": start.flight,
            "cached_from": cached_from,
            "triggered_by": start.triggered_by,
            "environment": encode(start.environment, "environment"),
            "properties": encode(start.properties, "properties"),
            "superseded_error": f"superseded by try {start.try_number}",
            "inputs": to_json(inputs),
        }
        for _ in range(_ROUNDS):
            if rows := self._run("start_execution", **parameters):
                return int(rows[0]["id"])
            self._refuse_if_superseded(start)
            self._refuse_if_in_progress(start)
        raise TransientError(
            f"task {start.component_id!r} of run {start.run.run_id!r} cannot start: other tries keep starting it"
        )

    def _refuse_if_superseded(self, start: ExecutionStart) -> None:
        running = self.executions(
            run_key=start.run.key, component_id=start.component_id, state=ExecutionState.RUNNING
        ).items
        for other in running:
            if other.map_index == start.map_index and other.try_number > start.try_number:
                raise LostClaimError(
                    f"try {other.try_number} of task {start.component_id!r} is running: try {start.try_number} must end"
                )

    def _refuse_if_in_progress(self, start: ExecutionStart) -> None:
        for other in self._run("in_flight", flight=start.flight, stale_after=STALE_AFTER):
            if other["is_stale"]:
                self.abandon_stale(STALE_AFTER)
                continue
            raise InProgressError(
                f"the equal execution {other['id']} is running: {other['component_id']} in run {other['run_id']} of "
                f"{other['pipeline']}",
                other["id"],
            )

    def _copy_outputs(self, execution_id: int, cached_from: int) -> dict[str, list[Artifact]]:
        rows = self._run("copy_outputs", cached_from=cached_from, execution_id=execution_id)
        outputs = artifacts_by_key(rows)
        if not rows or rows[0]["expected"] > sum(map(len, outputs.values())):
            raise TransientError(f"execution {cached_from} cannot be reused: its outputs are not all LIVE any more")
        return outputs

    def _publish(
        self,
        claim: Claim,
        outputs: Outputs,
        not_reusable_reason: str | None,
        *,
        reuse: bool,
        reads: Mapping[str, PropertyValue] | None = None,
    ) -> dict[str, list[Artifact]]:
        receipt = _new_token()
        rows = self._run(
            "publish",
            execution_id=claim.execution_id,
            token=claim.token,
            receipt=receipt,
            not_reusable_reason=not_reusable_reason and printable(not_reusable_reason),
            reuse=reuse,
            reads=encode(reads or {}, "reads"),
            outputs=to_json([_output(key, index, artifact) for key, index, artifact in _flat(outputs)]),
        )
        # No row: the claim is lost. Or the first reply was lost and the statement was sent twice: then the store has
        # the receipt.
        rows = rows or self._run("published", execution_id=claim.execution_id, receipt=receipt)
        if not rows:
            raise self._lost(claim)
        ids = {(row["key"], row["index"]): row["artifact_id"] for row in rows}
        return {
            key: [
                artifact if artifact.id else replace(artifact, id=ids[key, index], state=ArtifactState.LIVE)
                for index, artifact in enumerate(artifacts)
            ]
            for key, artifacts in outputs.items()
        }

    def _lost(self, claim: Claim) -> LostClaimError:
        execution = self.execution(claim.execution_id)
        why = f"is {execution.state.value}, {execution.error or 'with another claim'}" if execution else "is deleted"
        return LostClaimError(f"this try no longer owns execution {claim.execution_id}, which {why}")


def _new_token() -> str:
    return str(uuid.uuid4())


def _context_names(start: ExecutionStart) -> dict[str, Any]:
    return {
        "pipeline": start.run.pipeline,
        "pipeline_run": f"{start.run.pipeline}/{start.run.run_id}",
        "node": f"{start.run.pipeline}/{start.component_id}",
    }


def _flat(outputs: Outputs) -> Iterable[tuple[str, int, Artifact]]:
    return ((key, index, artifact) for key, artifacts in outputs.items() for index, artifact in enumerate(artifacts))


def _output(key: str, index: int, artifact: Artifact) -> dict[str, Any]:
    where = f"{check_text(key, 'an output key')}[{index}]"
    return {"key": key, "index": index, **to_row(artifact, where)}


def _span_rows(spans: Sequence[Span]) -> str:
    return to_json(
        [{"span": span.number, "version": NO_VERSION if span.version is None else span.version} for span in spans]
    )


def _first(items: Sequence[T]) -> T | None:
    return items[0] if items else None
