"""What decides a hit, and what explains a miss."""

import re
from datetime import timedelta

from query_plans import query_plan

from airflow_provider_mlpipe.artifacts import ArtifactState, Model


def test_the_newest_complete_reusable_execution_with_live_outputs_wins(store, start, run):
    oldest, outputs = run(run_id="1")
    older, older_outputs = run(run_id="2")
    newest, newest_outputs = run(run_id="3")
    store.publish(store.start_execution(start(run_id="4")), {}, not_reusable_reason="a reason")
    store.fail(store.start_execution(start(run_id="5")), "an error")
    store.start_execution(start(run_id="6"))
    store.publish_cached(start(run_id="7"), oldest)
    run(fingerprint="f2", run_id="8")

    hit = store.find_cached("f1")
    assert (hit.execution_id, hit.outputs) == (newest, newest_outputs)
    store.mark_missing([newest_outputs["model"][0].id])
    assert store.find_cached("f1").execution_id == older
    store.mark_deleted([older_outputs["model"][0].id])
    assert store.find_cached("f1").execution_id == oldest
    store.mark_missing([artifact.id for artifact in outputs["model"]])
    assert store.find_cached("f1") is None
    assert store.find_cached("never seen") is None


def test_one_missing_output_of_many_is_a_miss(store, run):
    _, outputs = run({"a": [Model(uri="/a0"), Model(uri="/a1")], "b": [Model(uri="/b")]})
    store.mark_missing([outputs["a"][1].id])
    assert store.find_cached("f1") is None


def test_scope_and_age(store, run, connection):
    here, _ = run()
    there, _ = run(pipeline="other")
    assert store.find_cached("f1").execution_id == there
    assert store.find_cached("f1", pipeline="taxi").execution_id == here
    assert store.find_cached("f1", pipeline="third") is None
    connection.run(
        "UPDATE mlpipe.execution SET ended_at = ended_at - interval '2 days' WHERE id = %(id)s", {"id": there}
    )
    assert store.find_cached("f1", max_age=timedelta(days=1)).execution_id == here
    assert store.find_cached("f1", max_age=timedelta(days=3)).execution_id == there


def test_marks(store, run):
    _, outputs = run({"a": [Model(uri="/0"), Model(uri="/1")]})
    first, second = (artifact.id for artifact in outputs["a"])
    assert store.mark_missing([second, first, second, 999]) == [first, second]
    assert store.mark_missing([first]) == []
    assert store.mark_deleted([first]) == [first]
    assert store.mark_missing([first]) == []
    assert store.mark_missing([]) == []


def test_what_is_invalidated_is_no_hit_any_more(store, run):
    execution_id, outputs = run()
    (invalidated,) = store.invalidate(reason="invalidated by \0ada", pipeline="taxi")
    assert (invalidated.id, invalidated.type, invalidated.pipeline, invalidated.component_id) == (
        execution_id,
        "Trainer",
        "taxi",
        "trainer",
    )
    assert store.find_cached("f1") is None
    execution = store.execution(execution_id)
    assert not execution.reusable
    assert re.fullmatch(r"invalidated by ␀ada at [\d-]{10} [\d:]{8}[+-][\d:]{2,5}", execution.not_reusable_reason)
    assert store.artifact(outputs["model"][0].id).state is ArtifactState.LIVE


def test_what_is_invalidated_has_all_of_what_is_given(store, run, connection):
    old, old_outputs = run(run_id="1")
    new, _ = run(run_id="2")
    pusher, _ = run(run_id="2", component_id="last", component_type="Pusher", pipeline="other")
    connection.run("UPDATE mlpipe.execution SET ended_at = ended_at - interval '2 days' WHERE id = %(id)s", {"id": old})
    ended = store.execution(old).ended_at

    def ids(**filters):
        return [item.id for item in store.invalidate(reason="why", dry_run=True, **filters)]

    assert ids() == [old, new, pusher]
    assert ids(pipeline="taxi") == [old, new]
    assert ids(component="Pusher") == ids(component="last") == [pusher]
    assert ids(artifact_id=old_outputs["model"][0].id) == [old]
    assert ids(since=ended) == [old, new, pusher]
    assert ids(before=ended) == []
    assert ids(since=ended, before=ended + timedelta(microseconds=1)) == [old]
    assert ids(since=ended + timedelta(days=1), pipeline="taxi", component="trainer") == [new]
    assert ids(pipeline="taxi", component="Pusher") == []
    assert store.find_cached("f1").execution_id == pusher  # a dry run changes nothing


def test_only_complete_reusable_executions_are_invalidated(store, start, run):
    done, _ = run(run_id="1")
    store.publish(store.start_execution(start(run_id="2")), {}, not_reusable_reason="a reason")
    store.fail(store.start_execution(start(run_id="3")), "an error")
    store.start_execution(start(run_id="4"))
    store.publish_cached(start(run_id="5"), done)
    assert [item.id for item in store.invalidate(reason="first")] == [done]
    assert store.invalidate(reason="second") == []
    reasons = [execution.not_reusable_reason for execution in reversed(store.executions().items)]
    assert [reason and reason.split(" at ")[0] for reason in reasons] == ["first", "a reason", None, None, None]


def test_earlier_parts(store, start, run):
    assert store.earlier_parts(pipeline="taxi", component_id="trainer") == []
    first, _ = run(fingerprint_parts={"parameters": "p1", "$odd": "x"})
    store.fail(store.start_execution(start(run_id="2", fingerprint_parts={"parameters": "p2"})), "an error")
    assert store.earlier_parts(pipeline="taxi", component_id="trainer") == [{"parameters": "p1", "$odd": "x"}]
    store.publish_cached(start(run_id="3", fingerprint_parts={"parameters": "p3"}), first)
    assert store.earlier_parts(pipeline="taxi", component_id="trainer")[0] == {"parameters": "p3"}
    assert store.earlier_parts(pipeline="taxi", component_id="trainer", limit=1) == [{"parameters": "p3"}]
    assert store.earlier_parts(pipeline="taxi", component_id="other") == []


ANY = {"max_age": None, "before": None}

# 100,000 executions with an output each, two to a fingerprint.
_MANY = """
SET session_replication_role = replica;  -- foreign keys are not checked
INSERT INTO mlpipe.execution
    (type_id, pipeline, run_id, run_key, component_id, state, fingerprint, fingerprint_parts, ended_at)
SELECT 1, 'taxi', 'r' || n, gen_random_uuid(), 'trainer', 'COMPLETE', 'many' || n % 50000, '{}', now()
FROM generate_series(1, 100000) n;
INSERT INTO mlpipe.artifact (type_id, uri) SELECT 1, '/many/' || n FROM generate_series(1, 100000) n;
INSERT INTO mlpipe.event (execution_id, artifact_id, type, key)
SELECT execution.id, artifact.id, 'OUTPUT', 'model'
FROM mlpipe.execution JOIN mlpipe.artifact ON artifact.uri = '/many/' || substr(run_id, 2) WHERE run_id LIKE 'r%';
RESET session_replication_role;
ANALYZE;
"""


def test_the_look_up_is_flat_at_100_000_executions(run, connection):
    run()
    connection.run(_MANY)
    for pipeline in (None, "taxi"):
        plan = query_plan(connection, "find_cached", fingerprint="many77", pipeline=pipeline, **ANY)
        assert "execution_cache" in plan.indexes
        assert not plan.scanned
        assert plan.rows == 1
        assert plan.blocks < 40
