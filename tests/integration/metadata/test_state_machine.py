"""Whatever the store is asked, in whatever order, it answers as its model does, and holds what its model holds."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from named_runs import named_run
from store_model import RefusedError, Row, StoreModel

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.exceptions import LostClaimError
from airflow_provider_mlpipe.metadata.store import STALE_AFTER, Claim, ExecutionStart, PlannedTask

# Few of each, and most often the first, so that what happens in one meets what happens in another.
PIPELINE, COMPONENT, FINGERPRINT, KEY = (st.sampled_from(names) for names in ("ppq", "aab", "ffg", ["model", "spare"]))
FIRST = named_run("p", "r1")
REMADE = replace(FIRST, key=str(UUID(int=1)))  # it has the id of a run that was deleted
RUN = st.sampled_from([FIRST, FIRST, REMADE, named_run("q", "r1"), named_run("p", "r2")])
TASK = st.tuples(RUN, COMPONENT)
TRY = st.integers(1, 3)
CLEAR = st.integers(0, 1)
MARK = st.sampled_from(["MISSING", "MISSING", "DELETED"])
FAR = st.sampled_from([2 * STALE_AFTER, -2 * STALE_AFTER])

_EMPTY = """
TRUNCATE mlpipe.execution, mlpipe.artifact, mlpipe.event, mlpipe.association, mlpipe.attribution, mlpipe.context,
    mlpipe.parent_context, mlpipe.plan RESTART IDENTITY
"""
_OUTPUTS = "SELECT execution_id, key, artifact_id FROM mlpipe.event WHERE type = 'OUTPUT'"


def start_of(row):
    run, component_id = row.task
    return ExecutionStart(
        component_type="Trainer",
        run=run,
        component_id=component_id,
        try_number=row.try_number,
        fingerprint=row.fingerprint,
        fingerprint_parts={},
        inputs={},
        properties={},
        triggered_by=None,
        environment={},
        flight=row.flight,
    )


def both(model, store):
    """Does it in the model, then in the store, and returns the store's answer; None if both refuse it alike."""
    try:
        model()
    except RefusedError as error:
        refused = error
    else:
        return store()
    with pytest.raises(refused.error) as raised:
        store()
    assert raised.type is refused.error
    assert getattr(raised.value, "execution_id", None) == refused.execution_id
    return None


class StoreMachine(RuleBasedStateMachine):
    """Claims are never put away, so most are lost by the time that they are used; that of a hit never held."""

    claims = Bundle("claims")

    def __init__(self, store, connection):
        super().__init__()
        self.store, self.connection, self.model = store, connection, StoreModel()
        connection.run(_EMPTY)

    # Recording

    @rule(target=claims, task=TASK, fingerprint=FINGERPRINT, try_number=TRY, flies=st.booleans())
    def start_execution(self, task, fingerprint, try_number, flies):
        row = Row(task, fingerprint, try_number, flight=fingerprint if flies else None)
        claim = both(lambda: self.model.start(row), lambda: self.store.start_execution(start_of(row)))
        if claim is None:
            return multiple()
        self.model.rows[claim.execution_id] = row
        return claim

    @rule(target=claims, task=TASK, fingerprint=FINGERPRINT)
    def run(self, task, fingerprint):
        """A last try that succeeds, so that there is something to hit, to mark and to plan with."""
        row = Row(task, fingerprint, try_number=3)
        self.model.start(row)
        claim = self.store.start_execution(start_of(row))
        self.model.rows[claim.execution_id] = row
        self._publish(claim, {"model"}, None)
        return claim

    @rule(claim=claims)
    def heartbeat(self, claim):
        both(lambda: self.model.beat(claim.execution_id), lambda: self.store.heartbeat(claim))

    @rule(claim=claims, keys=st.sets(KEY), reason=st.sampled_from([None, None, "a reason"]))
    def publish(self, claim, keys, reason):
        with pytest.raises(LostClaimError):
            self.store.publish(nobodys_claim(claim.execution_id), {"model": [Model(uri="/stolen")]})
        self._publish(claim, keys, reason)

    def _publish(self, claim, keys, reason):
        outputs = {key: [Model(uri=f"/{key}")] for key in keys}
        published = both(
            lambda: self.model.publish(claim.execution_id, is_reusable=reason is None),
            lambda: self.store.publish(claim, outputs, not_reusable_reason=reason),
        )
        for key, (artifact,) in (published or {}).items():
            assert artifact.id not in self.model.artifacts
            self.model.artifacts[artifact.id] = "LIVE"
            self.model.rows[claim.execution_id].outputs[key] = artifact.id

    @rule(target=claims, task=TASK, fingerprint=FINGERPRINT, try_number=TRY, origin=claims)
    def publish_cached(self, task, fingerprint, try_number, origin):
        row = Row(task, fingerprint, try_number)
        hit = both(
            lambda: self.model.hit(row, origin.execution_id),
            lambda: self.store.publish_cached(start_of(row), origin.execution_id),
        )
        return multiple() if hit is None else self._recorded(row, *hit)

    @rule(claim=claims, origin=claims)
    def settle(self, claim, origin):
        both(
            lambda: self.model.settle(claim.execution_id, origin.execution_id),
            lambda: self.store.settle(claim, origin.execution_id),
        )

    @rule(claim=claims)
    def fail(self, claim):
        assert self.store.fail(claim, "an error") == self.model.fail(claim.execution_id)

    @rule(claim=claims, distance=FAR)
    def fall_silent(self, claim, distance):
        """A worker dies, and time passes; or the clock is set back."""
        self.connection.run(
            "UPDATE mlpipe.execution SET heartbeat_at = clock_timestamp() + %(distance)s WHERE id = %(id)s",
            {"id": claim.execution_id, "distance": distance},
        )
        self.model.rows[claim.execution_id].is_stale = True

    @rule()
    def abandon_stale(self):
        assert sorted(self.store.abandon_stale(STALE_AFTER)) == self.model.abandon_stale()

    @rule(
        numbers=st.lists(st.integers(0, 99), min_size=1, max_size=2),
        state=st.sampled_from(["MISSING", "MISSING", "DELETED"]),
    )
    def mark(self, numbers, state):
        newest_first = sorted(self.model.artifacts, reverse=True) or [12345]
        artifact_ids = [newest_first[number % len(newest_first)] for number in numbers]
        mark = self.store.mark_missing if state == "MISSING" else self.store.mark_deleted
        assert mark(artifact_ids) == self.model.mark(artifact_ids, state)

    @rule(pipeline=st.none() | PIPELINE, component=st.none() | COMPONENT)
    def invalidate(self, pipeline, component):
        found = self.store.invalidate(reason="stale", pipeline=pipeline, component=component)
        assert [execution.id for execution in found] == self.model.invalidate(pipeline, component)

    # Planning

    @rule(target=claims, task=TASK, clear=CLEAR, origin=claims, is_skipped=st.booleans())
    def commit_plan(self, task, clear, origin, is_skipped):
        """A plan of two: one is a hit, which is recorded with the plan or not at all, the other decides itself."""
        run, component = task
        row, recorded, plan = Row(task, "f"), [], []

        def record():
            start = start_of(row)
            recorded[:] = self.store.publish_cached(start, origin.execution_id)
            other = "a" if component == "b" else "b"
            plan.append(planned(component, is_skipped, start.part.set))
            plan.append(planned(other, False, None))
            return plan

        if (run, clear) in self.model.plans:
            assert self.store.commit_plan(run, clear=clear, record=record) is False
            return multiple()
        if not both(
            lambda: self.model.hit(row, origin.execution_id),
            lambda: self.store.commit_plan(run, clear=clear, record=record),
        ):
            return multiple()
        self.model.plans[run, clear] = plan
        return self._recorded(row, *recorded)

    # Looking

    @rule(claim=claims, task=TASK, key=KEY, clear=st.none() | CLEAR)
    def look(self, claim, task, key, clear):
        run, component = task
        assert self.store.is_under_way(claim.execution_id) == self.model.is_under_way(claim.execution_id)
        outputs = self.store.run_outputs(run, component_id=component, key=key)
        assert [artifact.id for artifact in outputs] == self.model.run_outputs(task, key)
        assert self.store.plan(run, clear=clear) == self.model.plan(run, clear)

    @invariant()
    def find_cached(self):
        for fingerprint in ("f", "g"):
            for pipeline in (None, "p", "q"):
                hit = self.store.find_cached(fingerprint, pipeline=pipeline)
                expected = self.model.find_cached(fingerprint, pipeline)
                assert (hit and hit.execution_id) == expected
                assert hit is None or one_by_key(hit.outputs) == self.model.rows[expected].outputs

    @invariant()
    def executions(self):
        rows = self.connection.run("SELECT * FROM mlpipe.execution")
        assert {row["id"]: (row["state"], row["reusable"], row["cached_from"]) for row in rows} == {
            execution_id: (row.state, row.is_reusable, row.cached_from) for execution_id, row in self.model.rows.items()
        }
        running = [row for row in rows if row["state"] == "RUNNING"]
        tasks = Counter((row["run_key"], row["component_id"]) for row in running)
        flights = Counter(row["flight"] for row in running if row["flight"] is not None)
        assert {*tasks.values(), *flights.values()} <= {1}

    @invariant()
    def outputs(self):
        states = {row["id"]: row["state"] for row in self.connection.run("SELECT id, state FROM mlpipe.artifact")}
        assert states == self.model.artifacts
        outputs = {execution_id: {} for execution_id in self.model.rows}
        for row in self.connection.run(_OUTPUTS):
            outputs[row["execution_id"]][row["key"]] = row["artifact_id"]
        assert outputs == {execution_id: row.outputs for execution_id, row in self.model.rows.items()}
        self._assert_whose(outputs, states)

    def _assert_whose(self, outputs, states):
        """An artifact is of one COMPLETE execution, and besides of those that hit it; of no other."""
        made = [id_ for key, row in self.model.rows.items() if row.state == "COMPLETE" for id_ in outputs[key].values()]
        assert sorted(made) == sorted(states)
        for execution_id, row in self.model.rows.items():
            if row.state == "CACHED":
                assert outputs[execution_id] == outputs[row.cached_from]
            elif row.state != "COMPLETE":
                assert not outputs[execution_id]

    def _recorded(self, row, execution_id, outputs):
        assert one_by_key(outputs) == row.outputs
        self.model.rows[execution_id] = row
        return nobodys_claim(execution_id)


def nobodys_claim(execution_id):
    """A claim by a token that nobody was given."""
    return Claim(execution_id=execution_id, token="00000000-0000-0000-0000-000000000000")


def planned(component_id, is_skipped, part_set):
    return PlannedTask(component_id=component_id, verdict="v", reason="r", is_skipped=is_skipped, part_set=part_set)


def one_by_key(outputs):
    return {key: artifact.id for key, (artifact,) in outputs.items()}


def test_the_store_does_what_its_model_does(store, connection):
    run_state_machine_as_test(
        lambda: StoreMachine(store, connection),
        settings=settings(
            derandomize=True,
            max_examples=40,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # no shrinking: it takes minutes, and thirty steps can be read
        ),
    )
