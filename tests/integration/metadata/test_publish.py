from dataclasses import replace
from datetime import timedelta

import pytest
from named_runs import named_run

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState, Examples, Model, ModelBlessing, PropertyType
from airflow_provider_mlpipe.exceptions import InvalidValueError, LostClaimError, TransientError
from airflow_provider_mlpipe.metadata.store import Claim, ExecutionState


def test_a_publication_records_execution_artifacts_events_and_contexts(store, start):
    (examples,) = store.publish_node(start(component_id="gen"), {"examples": [Examples(uri="/ex", digest="e")]})[1][
        "examples"
    ]
    claim = store.start_execution(start(try_number=2, inputs={"examples": [examples.id]}))
    outputs = store.publish(
        claim,
        {
            "model": [Model(uri="/m", digest="m", custom_properties={"note": "é\\'\""})],
            "blessing": [ModelBlessing(uri="/b0", properties={"blessed": 1}), ModelBlessing(uri="/b1")],
        },
    )

    assert [artifact.uri for artifact in outputs["blessing"]] == ["/b0", "/b1"]
    assert outputs["model"][0].state is ArtifactState.LIVE
    assert store.execution_artifacts(claim.execution_id, "OUTPUT") == {
        key: outputs[key] for key in ("blessing", "model")
    }
    assert store.execution_artifacts(claim.execution_id, "INPUT") == {"examples": [examples]}

    execution = store.execution(claim.execution_id)
    assert execution.state is ExecutionState.COMPLETE
    assert (execution.type, execution.pipeline, execution.run_id, execution.component_id) == (
        "Trainer",
        "taxi",
        "manual__1",
        "trainer",
    )
    assert (execution.map_index, execution.try_number, execution.triggered_by) == (-1, 2, "ada")
    assert (execution.properties, execution.environment) == ({"train_steps": 100}, {"host": "here"})
    assert execution.reusable
    assert execution.started_at <= execution.heartbeat_at <= execution.ended_at

    contexts = {(context.type, context.name): context for context in store.contexts().items}
    for key in (("pipeline", "taxi"), ("pipeline_run", "taxi/manual__1"), ("node", "taxi/trainer")):
        assert claim.execution_id in [item.id for item in store.executions(context_id=contexts[key].id).items]
        assert outputs["model"][0] in store.artifacts(context_id=contexts[key].id).items
    children = store.contexts(parent_id=contexts["pipeline", "taxi"].id).items
    assert {child.name for child in children} == {"taxi/manual__1", "taxi/trainer", "taxi/gen"}


def test_ids_follow_the_order_of_key_and_index(run):
    _, outputs = run({"a": [Model(uri=f"/{index}") for index in range(12)], "b": [Model(uri="/b")]})
    ids = [artifact.id for artifact in (*outputs["a"], *outputs["b"])]
    assert ids == sorted(ids)


def test_an_execution_may_have_no_outputs(store, run):
    execution_id, outputs = run({})
    assert outputs == {}
    assert store.find_cached("f1").execution_id == execution_id


def test_statement_counts(store, start, recorded):
    claim = store.start_execution(start())
    assert len(recorded) == 2  # contexts; the execution
    recorded.clear()
    store.publish(claim, {"model": [Model(uri=f"/{index}") for index in range(50)]})
    assert len(recorded) == 2  # types; the publication
    recorded.clear()
    store.publish_cached(start(run_id="2"), claim.execution_id)
    assert len(recorded) == 5  # contexts; BEGIN, the execution, its outputs, COMMIT
    recorded.clear()
    store.publish_node(start(run_id="3"), {"model": [Model(uri="/m")]})
    assert len(recorded) == 7  # contexts; types; BEGIN, lock, execution, publication, COMMIT
    recorded.clear()
    store.find_cached("f1")
    assert len(recorded) == 1


def test_a_refused_publication_leaves_no_trace(store, start, connection):
    claim = store.start_execution(start())
    with pytest.raises(InvalidValueError, match=r"model\[1\].custom_properties.size: .*64 bits"):
        store.publish(claim, {"model": [Model(uri="/1"), Model(uri="/2", custom_properties={"size": 2**63})]})
    with pytest.raises(InvalidValueError):
        store.publish(claim, {"model": [Model(uri="/1"), Model(uri="/2", id=12345)]})
    assert store.execution(claim.execution_id).state is ExecutionState.RUNNING
    assert store.artifacts().items == []
    store.publish(claim, {"model": [Model(uri="/1")]})


def test_an_input_must_be_an_artifact(store, start):
    with pytest.raises(InvalidValueError, match="artifact"):
        store.start_execution(start(inputs={"examples": [99]}))
    assert store.executions().items == []


def test_not_reusable_says_why(store, start):
    claim = store.start_execution(start())
    store.publish(claim, {}, not_reusable_reason="imported late: x.py")
    execution = store.execution(claim.execution_id)
    assert (execution.reusable, execution.not_reusable_reason) == (False, "imported late: x.py")
    assert store.find_cached("f1") is None


class TestClaims:
    def test_a_claim_publishes_once(self, store, start):
        claim = store.start_execution(start())
        store.publish(claim, {})
        with pytest.raises(LostClaimError, match="which is COMPLETE"):
            store.publish(claim, {})

    def test_a_wrong_token_does_nothing(self, store, start):
        claim = store.start_execution(start())
        wrong = replace(claim, token="00000000-0000-0000-0000-000000000000")
        with pytest.raises(LostClaimError, match="another claim"):
            store.publish(wrong, {"model": [Model(uri="/m")]})
        with pytest.raises(LostClaimError):
            store.heartbeat(wrong)
        assert store.fail(wrong, "no") is False
        assert store.artifacts().items == []
        assert store.execution(claim.execution_id).state is ExecutionState.RUNNING

    def test_an_unknown_execution(self, store):
        with pytest.raises(LostClaimError, match="which is deleted"):
            store.heartbeat(Claim(execution_id=7, token="00000000-0000-0000-0000-000000000000"))

    def test_a_later_try_supersedes(self, store, start):
        zombie = store.start_execution(start())
        other_index = store.start_execution(start(map_index=3))
        claim = store.start_execution(start(try_number=2))
        with pytest.raises(LostClaimError, match="superseded by try 2"):
            store.publish(zombie, {"model": [Model(uri="/zombie")]})
        with pytest.raises(LostClaimError):
            store.heartbeat(zombie)
        assert store.fail(zombie, "late") is False
        execution = store.execution(zombie.execution_id)
        assert (execution.state, execution.error) == (ExecutionState.FAILED, "superseded by try 2")
        store.heartbeat(other_index)
        store.publish(claim, {})

    def test_a_hit_supersedes_too(self, store, start, run):
        execution_id, _ = run()
        zombie = store.start_execution(start())
        store.publish_cached(start(try_number=2), execution_id)
        with pytest.raises(LostClaimError):
            store.heartbeat(zombie)

    def test_failure(self, store, start):
        claim = store.start_execution(start())
        assert store.fail(claim, "Traceback\0 \\ ' \ud800") is True
        execution = store.execution(claim.execution_id)
        assert (execution.state, execution.error) == (ExecutionState.FAILED, "Traceback␀ \\ ' \\ud800")
        with pytest.raises(LostClaimError):
            store.publish(claim, {})

    def test_the_dead_are_abandoned(self, store, start):
        dead = store.start_execution(start())
        assert store.abandon_stale(timedelta(hours=1)) == []
        assert store.abandon_stale(timedelta(0)) == [dead.execution_id]
        assert store.execution(dead.execution_id).state is ExecutionState.ABANDONED
        with pytest.raises(LostClaimError, match="no heartbeat since"):
            store.publish(dead, {"model": [Model(uri="/m")]})
        assert store.artifacts().items == []


class TestCached:
    def test_a_hit_points_at_the_same_artifacts(self, store, start, run):
        earlier, outputs = run()
        cached_id, reused = store.publish_cached(start(run_id="2", pipeline="other"), earlier)
        assert reused == outputs
        execution = store.execution(cached_id)
        assert (execution.state, execution.cached_from) == (ExecutionState.CACHED, earlier)
        assert execution.started_at <= execution.ended_at
        assert store.run_outputs(named_run("other", "2"), component_id="trainer", key="model") == outputs["model"]
        (context,) = store.contexts(context_type="pipeline", name="other").items
        assert store.artifacts(context_id=context.id).items == outputs["model"]

    def test_a_hit_is_never_a_hit_of_a_hit(self, store, start, run):
        earlier, _ = run()
        cached_id, _ = store.publish_cached(start(run_id="2"), earlier)
        assert store.find_cached("f1").execution_id == earlier
        with pytest.raises(TransientError):
            store.publish_cached(start(run_id="3"), cached_id)

    @pytest.mark.parametrize("mark", ["mark_missing", "mark_deleted"])
    def test_outputs_that_are_gone_cannot_be_reused(self, store, start, run, mark):
        earlier, outputs = run({"a": [Model(uri="/a")], "b": [Model(uri="/b")]})
        assert getattr(store, mark)([outputs["a"][0].id]) == [outputs["a"][0].id]
        with pytest.raises(TransientError, match=f"execution {earlier} cannot be reused"):
            store.publish_cached(start(run_id="2"), earlier)
        assert store.executions(run_id="2").items == []

    def test_an_execution_without_outputs_can_be_reused(self, store, start, run):
        earlier, _ = run({})
        assert store.publish_cached(start(run_id="2"), earlier)[1] == {}


class TestNodes:
    def test_a_resolver_refers(self, store, start, run):
        _, outputs = run()
        execution_id, resolved = store.publish_node(start(component_id="resolver"), outputs)
        assert resolved == outputs
        assert store.execution(execution_id).state is ExecutionState.COMPLETE
        assert not store.execution(execution_id).reusable

    def test_an_importer_reuses_what_is_equal(self, store, start):
        def import_(artifact, run_id):
            return store.publish_node(start(run_id=run_id), {"result": [artifact]})[1]["result"][0]

        first = import_(Model(uri="/m", digest="d"), "1")
        assert import_(Model(uri="/m", digest="d"), "2") == first
        others = [
            import_(Model(uri="/m", digest="e"), "3"),
            import_(Model(uri="/n", digest="d"), "4"),
            import_(Model(uri="/m", digest="d", custom_properties={"a": 1}), "5"),
            import_(Examples(uri="/m", digest="d"), "6"),
            import_(Model(uri="/m"), "7"),
            import_(Model(uri="/m"), "8"),  # without a digest nothing is known to be equal
        ]
        assert len({first.id, *(artifact.id for artifact in others)}) == 7
        store.mark_missing([first.id])
        assert import_(Model(uri="/m", digest="d"), "9").id != first.id


class Newer(Artifact, is_known=False):
    TYPE_NAME = "Model"
    PROPERTIES = {"quality": PropertyType.DOUBLE}  # noqa: RUF012


class Clashing(Artifact, is_known=False):
    TYPE_NAME = "Model"
    PROPERTIES = {"quality": PropertyType.STRING}  # noqa: RUF012


class Own(Artifact):
    TYPE_NAME = "Own"
    PROPERTIES = {"size": PropertyType.INT}  # noqa: RUF012


class TestTypes:
    def test_types_grow_and_old_code_can_read(self, store, run):
        run({"model": [Model(uri="/old")]})
        _, outputs = run({"model": [Newer(uri="/new", properties={"quality": 0.5})]})
        run({"model": [Model(uri="/old again")]})
        read = store.artifact(outputs["model"][0].id)
        assert isinstance(read, Model)
        assert read.properties == {"quality": 0.5}
        assert read == store.artifact(outputs["model"][0].id)

    def test_a_property_keeps_its_type(self, store, run):
        run({"model": [Newer(uri="/new", properties={"quality": 0.5})]})
        with pytest.raises(
            InvalidValueError, match="'quality' of Model is declared string here, but double in the store"
        ):
            run({"model": [Clashing(uri="/clash", properties={"quality": "good"})]})

    def test_a_type_of_ones_own(self, store, run):
        _, outputs = run({"own": [Own(uri="/own", properties={"size": 2**40})]})
        read = store.artifact(outputs["own"][0].id)
        assert (read.TYPE_NAME, read.properties, read.PROPERTIES) == ("Own", {"size": 2**40}, Own.PROPERTIES)

    def test_a_property_changed_after_it_was_checked(self, run):
        blessing = ModelBlessing(uri="/b", properties={"blessed": 1})
        blessing.properties["blessed"] = "yes"
        with pytest.raises(InvalidValueError, match=r"blessing\[0\].properties.blessed"):
            run({"blessing": [blessing]})


def test_a_try_that_fails_before_it_begins_is_recorded_once_and_ends_earlier_ones_only(store, start):
    first = store.start_execution(start(try_number=1))
    assert store.fail_before_start(start(try_number=2), "no such file")
    assert not store.fail_before_start(start(try_number=2), "again")
    states = {each.try_number: (each.state, each.error) for each in store.executions().items}
    assert states == {
        1: (ExecutionState.FAILED, "superseded by try 2"),
        2: (ExecutionState.FAILED, "no such file"),
    }
    with pytest.raises(LostClaimError):
        store.heartbeat(first)
    fourth = store.start_execution(start(try_number=4))
    with pytest.raises(LostClaimError, match="try 4 of task 'trainer' is running"):
        store.fail_before_start(start(try_number=3), "too late")
    store.heartbeat(fourth)
    assert {each.try_number for each in store.executions().items} == {1, 2, 4}
