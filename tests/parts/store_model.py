"""The store's rules in plain Python, without a database: what a state machine compares the store with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from airflow_provider_mlpipe.exceptions import InProgressError, LostClaimError, TransientError
from airflow_provider_mlpipe.metadata.rows import PlannedTask, Run

Task = tuple[Run, str]
"""Run and component."""


@dataclass
class Row:
    """An execution; `outputs` are the ids of its artifacts, one by key."""

    task: Task
    fingerprint: str
    try_number: int = 1
    flight: str | None = None
    state: str = "RUNNING"
    is_stale: bool = False
    has_failed_itself: bool = False
    is_reusable: bool = True
    cached_from: int | None = None
    outputs: dict[str, int] = field(default_factory=dict)


@dataclass
class RefusedError(Exception):
    """What the store must raise, and the execution that InProgressError must name."""

    error: type[TransientError]
    execution_id: int | None = None


@dataclass
class StoreModel:
    """Executions and the states of artifacts by id, and plans by run and clear."""

    rows: dict[int, Row] = field(default_factory=dict)
    artifacts: dict[int, str] = field(default_factory=dict)
    plans: dict[tuple[Run, int], list[PlannedTask]] = field(default_factory=dict)

    # Recording

    def start(self, row: Row) -> None:
        """What happens before the row is there; a refusal does not undo the end of earlier tries."""
        self._supersede(row)
        if any(other.task == row.task for other in self.running().values()):
            raise RefusedError(LostClaimError)
        for execution_id, other in self.running().items():
            if row.flight is not None and other.flight == row.flight:
                if not other.is_stale:
                    raise RefusedError(InProgressError, execution_id)
                self.abandon_stale()

    def beat(self, execution_id: int) -> None:
        self._owned(execution_id).is_stale = False

    def publish(self, execution_id: int, is_reusable: bool) -> None:
        row = self._owned(execution_id)
        row.state, row.is_reusable = "COMPLETE", is_reusable

    def hit(self, row: Row, origin: int) -> None:
        outputs = self._reusable_outputs(origin)
        self._supersede(row)
        row.state, row.cached_from, row.outputs = "CACHED", origin, outputs

    def settle(self, execution_id: int, origin: int) -> None:
        row, outputs = self._owned(execution_id), self._reusable_outputs(origin)
        row.state, row.cached_from, row.outputs = "CACHED", origin, outputs

    def fail(self, execution_id: int) -> bool:
        """Told twice it answers the same, since a lost reply makes the store be told twice."""
        row = self.rows[execution_id]
        if row.state == "RUNNING":
            row.state, row.has_failed_itself = "FAILED", True
        return row.has_failed_itself

    def abandon_stale(self) -> list[int]:
        stale = [execution_id for execution_id, row in self.running().items() if row.is_stale]
        for execution_id in stale:
            self.rows[execution_id].state = "ABANDONED"
        return stale

    def mark(self, artifact_ids: Collection[int], state: str) -> list[int]:
        admitted = {"LIVE", "MISSING"} - {state}
        changed = [one for one in sorted(set(artifact_ids)) if self.artifacts.get(one) in admitted]
        self.artifacts |= dict.fromkeys(changed, state)
        return changed

    def invalidate(self, pipeline: str | None, component: str | None) -> list[int]:
        found = [
            execution_id
            for execution_id, row in self.rows.items()
            if self._may_be_hit(row) and pipeline in (None, row.task[0].pipeline) and component in (None, row.task[1])
        ]
        for execution_id in found:
            self.rows[execution_id].is_reusable = False
        return found

    # Looking

    def running(self) -> dict[int, Row]:
        return {execution_id: row for execution_id, row in self.rows.items() if row.state == "RUNNING"}

    def is_under_way(self, execution_id: int) -> bool:
        row = self.running().get(execution_id)
        return row is not None and not row.is_stale

    def find_cached(self, fingerprint: str, pipeline: str | None) -> int | None:
        hits = [
            execution_id
            for execution_id, row in self.rows.items()
            if row.fingerprint == fingerprint and self._may_be_hit(row) and self._is_live(row)
            if pipeline in (None, row.task[0].pipeline)
        ]
        return max(hits, default=None)

    def run_outputs(self, task: Task, key: str) -> list[int]:
        done = [
            execution_id
            for execution_id, row in self.rows.items()
            if row.task == task and row.state in ("COMPLETE", "CACHED")
        ]
        outputs = self.rows[max(done)].outputs if done else {}
        return [outputs[key]] if key in outputs else []

    def plan(self, run: Run, clear: int | None) -> list[PlannedTask] | None:
        clears = [known for planned, known in self.plans if planned == run and clear in (None, known)]
        return self.plans[run, max(clears)] if clears else None

    # How

    def _supersede(self, row: Row) -> None:
        for other in self.running().values():
            if other.task == row.task and other.try_number <= row.try_number:
                other.state = "FAILED"

    def _owned(self, execution_id: int) -> Row:
        if execution_id not in self.running():
            raise RefusedError(LostClaimError)
        return self.rows[execution_id]

    def _reusable_outputs(self, execution_id: int) -> dict[str, int]:
        row = self.rows[execution_id]
        if row.state != "COMPLETE" or not self._is_live(row):
            raise RefusedError(TransientError)
        return row.outputs

    def _may_be_hit(self, row: Row) -> bool:
        return row.state == "COMPLETE" and row.is_reusable

    def _is_live(self, row: Row) -> bool:
        return all(self.artifacts[artifact_id] == "LIVE" for artifact_id in row.outputs.values())
