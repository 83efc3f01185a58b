"""Records what happened: one transaction makes an execution's outputs LIVE. The files are not moved."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.caching import reads
from airflow_provider_mlpipe.caching.driver import Decision, Resolution
from airflow_provider_mlpipe.forms import summary_from_message
from airflow_provider_mlpipe.metadata.store import CachedExecution, Claim, ExecutionStart, MetadataStore
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExecutorResult, FinishedWork
from airflow_provider_mlpipe.proto.values import from_map

Recorded = tuple[int, dict[str, list[Artifact]]]
"""The id of an execution, and its outputs by key."""

PATIENCE = timedelta(minutes=30)
"""How long a result that is ready waits for a store that is away. To make it again may take hours."""

log = logging.getLogger(__name__)


def publish(
    store: MetadataStore,
    claim: Claim,
    decision: Decision,
    pending: Mapping[str, Sequence[Artifact]],
    work: FinishedWork,
) -> dict[str, list[Artifact]]:
    """Publishes what an executor made. If something changed meanwhile, later runs do not reuse it.

    Waits PATIENCE for a store that is away; after that, the task's next try takes the work up (`finished.py`). Raises
    LostClaimError when a later try has replaced this one; then its outputs are not published.
    """
    made = work.result.success.outputs
    outputs = {
        key: [_with_result(one, output) for one, output in zip(artifacts, made[key].artifacts, strict=True)]
        for key, artifacts in pending.items()
    }
    reason = _why_not_reusable(decision, work)
    if reason:
        log.warning("later runs will not reuse this result: %s", reason)
    barrier("publisher.before")
    read = reads.to_struct(reads.of_result(work.result, decision.source_folders))
    with store.patience(PATIENCE):
        published = store.publish(claim, outputs, not_reusable_reason=reason, reads=read)
    barrier("publisher.after")
    return published


def publish_hit(store: MetadataStore, start: ExecutionStart, cached_from: int) -> Recorded:
    """Records a CACHED execution whose outputs are those of the earlier one, `cached_from`."""
    barrier("publisher.before_hit")
    recorded = store.publish_cached(start, cached_from)
    barrier("publisher.after_hit")
    return recorded


def publish_late_hit(store: MetadataStore, claim: Claim, cached: CachedExecution) -> dict[str, list[Artifact]]:
    """Ends an execution as CACHED that found a hit only after it had its claim; raises LostClaimError."""
    return store.settle(claim, cached.execution_id)


def publish_resolution(store: MetadataStore, resolution: Resolution) -> Recorded:
    """Records the artifacts that a node without an executor found."""
    store.mark_missing(resolution.lost)
    return store.publish_node(resolution.start, resolution.outputs, reuse=resolution.reuse)


def _why_not_reusable(decision: Decision, work: FinishedWork) -> str | None:
    result = work.result
    if work.changed:
        return f"changed while it ran: {work.changed}"
    if not decision.is_reusable:
        return "caching is off"
    if result.reads_problem:
        return result.reads_problem
    unhashed = sorted(path for path in result.user_files if path not in decision.source_files)
    return f"imported while it ran, but not part of the fingerprint: {', '.join(unhashed)}" if unhashed else None


def _with_result(artifact: Artifact, output: ExecutorResult.Output) -> Artifact:
    return replace(
        artifact,
        digest=output.digest,
        files=summary_from_message(output.files),
        properties={**from_map(output.properties), **artifact.properties},
        custom_properties=from_map(output.custom_properties),
    )
