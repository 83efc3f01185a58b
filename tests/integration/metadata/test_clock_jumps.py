"""The database's clock is the only one that decides; set forwards or back, it neither blocks nor keeps for good.

A jump shows to the store as times that are far from now, and these are given to the rows here.
"""

from datetime import timedelta

import pytest
from named_runs import named_run

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.exceptions import InProgressError, LostClaimError
from airflow_provider_mlpipe.metadata.store import STALE_AFTER, ExecutionState

FAR = [timedelta(days=-365), timedelta(minutes=-2), timedelta(minutes=2), timedelta(days=365)]
NEAR = [-STALE_AFTER / 2, timedelta(0), STALE_AFTER / 2]
TTL = timedelta(days=1)


@pytest.fixture
def move(connection):
    """Moves the times of an execution."""

    def by(execution_id, distance):
        connection.run(
            "UPDATE mlpipe.execution SET started_at = started_at + %(distance)s, "
            "heartbeat_at = heartbeat_at + %(distance)s, ended_at = ended_at + %(distance)s WHERE id = %(id)s",
            {"id": execution_id, "distance": distance},
        )

    return by


@pytest.mark.parametrize("distance", FAR)
def test_the_dead_block_nobody_whatever_the_clock_said_then(store, start, move, distance):
    dead = store.start_execution(start(flight="f1"))
    move(dead.execution_id, distance)
    assert not store.is_under_way(dead.execution_id)
    alive = store.start_execution(start(run_id="2", flight="f1"))
    assert store.execution(dead.execution_id).state is ExecutionState.ABANDONED
    assert store.execution(alive.execution_id).state is ExecutionState.RUNNING
    with pytest.raises(LostClaimError, match="no heartbeat since"):
        store.publish(dead, {"model": [Model(uri="/m")]})


@pytest.mark.parametrize("distance", NEAR)
def test_a_small_jump_ends_nobody(store, start, move, distance):
    claim = store.start_execution(start(flight="f1"))
    move(claim.execution_id, distance)
    assert store.is_under_way(claim.execution_id)
    with pytest.raises(InProgressError):
        store.start_execution(start(run_id="2", flight="f1"))
    assert store.abandon_stale(STALE_AFTER) == []
    store.publish(claim, {})


@pytest.mark.parametrize("distance", FAR)
def test_whoever_lives_beats_by_the_new_clock(store, start, move, distance):
    claim = store.start_execution(start(flight="f1"))
    move(claim.execution_id, distance)
    store.heartbeat(claim)
    with pytest.raises(InProgressError):
        store.start_execution(start(run_id="2", flight="f1"))
    assert store.abandon_stale(STALE_AFTER) == []
    store.publish(claim, {})
    assert store.find_cached("f1").execution_id == claim.execution_id


@pytest.mark.parametrize("distance", FAR)
def test_the_stale_of_either_direction_are_abandoned(store, start, move, distance):
    dead, alive = (store.start_execution(start(run_id=run_id)) for run_id in "12")
    move(dead.execution_id, distance)
    assert store.abandon_stale(STALE_AFTER) == [dead.execution_id]
    assert store.abandon_stale(STALE_AFTER) == []
    store.publish(alive, {})


@pytest.mark.parametrize("distance", FAR)
def test_a_retry_ends_the_try_before_it_whatever_the_clock_said_then(store, start, move, distance):
    zombie = store.start_execution(start())
    move(zombie.execution_id, distance)
    store.publish(store.start_execution(start(try_number=2)), {})
    with pytest.raises(LostClaimError, match="superseded by try 2"):
        store.publish(zombie, {})


@pytest.mark.parametrize(
    ("distance", "is_hit"), [(-2 * TTL, False), (-TTL / 2, True), (TTL / 2, True), (2 * TTL, False)]
)
def test_a_result_of_a_wrong_clock_is_not_reused_for_longer_than_its_ttl(store, run, move, distance, is_hit):
    execution_id, _ = run()
    move(execution_id, distance)
    assert (store.find_cached("f1", max_age=TTL) is not None) == is_hit
    assert store.find_cached("f1") is not None  # without a limit no clock is looked at


@pytest.mark.parametrize("distance", FAR)
def test_newest_is_what_began_last_not_what_the_clock_says(store, run, move, distance):
    first, _ = run(run_id="1")
    second, outputs = run(run_id="2")
    move(first, distance)
    assert store.find_cached("f1").execution_id == second
    assert store.latest_artifacts("Model") == outputs["model"]
    assert store.latest_run_with(["trainer"], other_than=named_run("taxi", "3")) == named_run("taxi", "2")
