"""Publishers that race: real threads, each with its own session."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_mlpipe.artifacts import Artifact, Model, PropertyType
from airflow_provider_mlpipe.exceptions import LostClaimError
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.store import ExecutionState

THREADS = 16


@pytest.fixture
def together():
    """Runs a function of a number in many threads that all begin at the same moment; returns the results."""
    barrier = threading.Barrier(THREADS)

    def run(function, *, rounds=1):
        def one(number):
            barrier.wait()
            return [function(number * rounds + index) for index in range(rounds)]

        with ThreadPoolExecutor(THREADS) as pool:
            return [result for results in pool.map(one, range(THREADS)) for result in results]

    return run


def _wait_until_blocked(connection, by):
    """Asks until somebody waits for a lock that `by` holds."""
    (holder,) = by.run("SELECT pg_backend_pid() AS pid")
    query = "SELECT count(*) AS n FROM pg_stat_activity WHERE %(pid)s = ANY (pg_blocking_pids(pid))"
    while connection.run(query, holder) == [{"n": 0}]:
        pass


def test_160_publications_at_once(store, start, together):
    def publish(number):
        claim = store.start_execution(start(component_id=f"trainer_{number % 7}", map_index=number))
        outputs = {key: [Model(uri=f"/{key}/{number}")] for key in ("a", "b", "c")}
        store.heartbeat(claim)
        store.publish(claim, outputs)
        return store.publish_cached(start(run_id=f"again {number}"), claim.execution_id)

    results = together(publish, rounds=10)
    assert len({artifact.id for _, outputs in results for (artifact,) in outputs.values()}) == 480
    assert {context.name for context in store.contexts(context_type="pipeline").items} == {"taxi"}


def test_hits_of_one_execution_at_once(store, start, run, together):
    execution_id, outputs = run({key: [Model(uri=f"/{key}")] for key in "abc"})
    results = together(lambda number: store.publish_cached(start(run_id=str(number)), execution_id), rounds=3)
    assert all(reused == outputs for _, reused in results)


def test_new_types_and_contexts_at_once(store, start, together):
    kinds = [
        type(f"Kind{index}", (Artifact,), {"TYPE_NAME": f"Kind{index}", "PROPERTIES": {"size": PropertyType.INT}})
        for index in range(12)
    ]

    def publish(number):
        turned = kinds[number % 12 :] + kinds[: number % 12]
        claim = store.start_execution(start(component_type=f"Type{number % 2}", component_id=str(number)))
        return store.publish(claim, {kind.TYPE_NAME: [kind(uri="/", properties={"size": 1})] for kind in turned})

    together(publish)
    assert len(store.artifacts(limit=1000).items) == 12 * THREADS
    (pipeline,) = store.contexts(context_type="pipeline").items
    assert len(store.contexts(parent_id=pipeline.id).items) == 1 + THREADS
    for context in store.contexts().items:
        expected = 1 if context.type == "node" else THREADS
        assert len(store.executions(context_id=context.id).items) == expected


def test_a_type_grown_by_many_at_once(store, run, start, together):
    def publish(number):
        kind = type("Own", (Artifact,), {"TYPE_NAME": "Own", "PROPERTIES": {f"p{number}": PropertyType.INT}})
        claim = store.start_execution(start(map_index=number))
        store.publish(claim, {"own": [kind(uri="/", properties={f"p{number}": number})]})

    together(publish)
    assert len(store.artifacts().items[0].PROPERTIES) == THREADS


def test_a_context_that_another_transaction_has_not_committed_yet(store, start, connection, database):
    other = Connection(database)
    with ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.run(
                "INSERT INTO mlpipe.context (type_id, name) "
                "SELECT id, 'taxi' FROM mlpipe.context_type WHERE name = 'pipeline'"
            )
            started = pool.submit(store.start_execution, start())
            _wait_until_blocked(connection, other)
        claim = started.result()
    other.close()
    (pipeline,) = store.contexts(context_type="pipeline").items
    assert [execution.id for execution in store.executions(context_id=pipeline.id).items] == [claim.execution_id]
    assert len(store.contexts(parent_id=pipeline.id).items) == 2


def test_tries_of_one_task_that_begin_at_once(store, start, together):
    def begin(number):
        try:
            return store.start_execution(start(try_number=number))
        except LostClaimError:  # a later try has begun
            return None

    claims = [claim for claim in together(begin) if claim]
    (running,) = store.executions(state=ExecutionState.RUNNING).items
    assert running.try_number == THREADS - 1

    def publish(claim):
        try:
            return store.publish(claim, {"model": [Model(uri="/m")]})
        except LostClaimError:
            return None

    published = together(lambda number: publish(claims[number % len(claims)]))
    assert len([outputs for outputs in published if outputs]) == 1
    assert len(store.artifacts().items) == 1


def test_one_claim_published_by_many(store, start, together):
    claim = store.start_execution(start())

    def publish(number):
        try:
            return store.publish(claim, {"model": [Model(uri=f"/{number}")]})
        except LostClaimError:
            return None

    winners = [outputs for outputs in together(publish) if outputs]
    assert len(winners) == 1
    assert store.execution_artifacts(claim.execution_id, "OUTPUT") == winners[0]
    assert len(store.artifacts().items) == 1


def test_imports_of_the_same_at_once(store, start, together):
    def import_(number):
        outputs = {key: [Model(uri=f"/{key}", digest="d")] for key in ("ab" if number % 2 else "ba")}
        return store.publish_node(start(map_index=number), outputs)[1]["a"][0].id

    assert len(set(together(import_))) == 1
    assert len(store.artifacts().items) == 2


def test_a_hit_waits_for_who_marks_its_outputs(store, start, run, connection, database):
    execution_id, outputs = run()
    marker = Connection(database)
    with ThreadPoolExecutor(1) as pool:
        with marker.transaction():
            marker.run("UPDATE mlpipe.artifact SET state = 'MISSING'")
            hit = pool.submit(store.publish_cached, start(run_id="2"), execution_id)
            _wait_until_blocked(connection, marker)
        marker.close()
        with pytest.raises(Exception, match="not all LIVE"):
            hit.result()
    assert store.artifact(outputs["model"][0].id).state.value == "MISSING"


def test_of_two_who_invalidate_at_once_one_reports_it(store, run, connection, database):
    execution_id, _ = run()
    first = Connection(database)
    with ThreadPoolExecutor(1) as pool:
        with first.transaction():
            first.run("UPDATE mlpipe.execution SET reusable = false, not_reusable_reason = 'the first'")
            second = pool.submit(store.invalidate, reason="the second")
            _wait_until_blocked(connection, first)
        assert second.result() == []
    first.close()
    assert store.execution(execution_id).not_reusable_reason == "the first"
