"""Lists, and what resolvers and channels ask."""

import pytest
from named_runs import named_run

from airflow_provider_mlpipe.artifacts import ArtifactState, Examples, Model, ModelBlessing, PushedModel
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.store import ExecutionState

NASTY = """'; DROP SCHEMA mlpipe CASCADE; -- \\' "q" %s %(x)s $1 {} \\x00 é 漢 \U0001f600"""


def _pages(ask, **arguments):
    pages, cursor = [], None
    while True:
        page = ask(cursor=cursor, limit=4, **arguments)
        pages.append([item.id for item in page.items])
        cursor = page.cursor
        if cursor is None:
            return pages


class TestLists:
    def test_pages_show_everything_once_and_new_rows_do_not_shift_them(self, store, run):
        for index in range(9):
            run(run_id=str(index))
        artifacts = [artifact.id for artifact in store.artifacts().items]
        assert artifacts == sorted(artifacts, reverse=True)
        assert _pages(store.artifacts) == [artifacts[:4], artifacts[4:8], artifacts[8:]]
        assert _pages(store.executions, pipeline="taxi") == _pages(store.executions)
        assert [len(page) for page in _pages(store.contexts)] == [4, 4, 3]

        first = store.executions(limit=4)
        run(run_id="new")
        second = store.executions(limit=4, cursor=first.cursor)
        assert [item.id for item in (*first.items, *second.items)] == artifacts[:8]

    def test_a_full_last_page_is_the_last(self, store, run):
        for index in range(4):
            run(run_id=str(index))
        assert store.artifacts(limit=4).cursor is None
        assert store.artifacts(limit=3).cursor is not None

    def test_artifacts(self, store, run):
        _, outputs = run(
            {
                "examples": [Examples(uri="/e", digest="d", properties={"span": 7}, custom_properties={"by": "ada"})],
                "model": [Model(uri="/m", custom_properties={"acc": 0.5, "tags": ["a", "b"]})],
            }
        )
        (examples,), (model,) = outputs["examples"], outputs["model"]
        assert store.artifacts(artifact_type="Examples").items == [examples]
        assert store.artifacts(uri="/m").items == [model]
        assert store.artifacts(digest="d").items == [examples]
        assert store.artifacts(properties={"span": 7, "by": "ada"}).items == [examples]
        assert store.artifacts(properties={"tags": ["b"]}).items == [model]
        assert store.artifacts(properties={"acc": 0.25}).items == []
        store.mark_missing([model.id])
        assert [item.id for item in store.artifacts(state=ArtifactState.MISSING).items] == [model.id]
        assert store.artifacts(state=ArtifactState.LIVE, artifact_type="Model").items == []

    def test_executions(self, store, start, run):
        done, _ = run()
        failed = store.start_execution(start(component_id="other", component_type="Pusher", properties={"x": -0.0}))
        store.fail(failed, "an error")

        def ids(**filters):
            return [item.id for item in store.executions(**filters).items]

        assert ids(state=ExecutionState.FAILED) == [failed.execution_id]
        assert ids(component_type="Trainer") == [done]
        assert ids(component_id="other", run_id="manual__1") == [failed.execution_id]
        assert ids(properties={"x": -0.0}) == [failed.execution_id]
        assert ids(properties={"x": 0.0}) == []
        assert ids(fingerprint="f1") == [failed.execution_id, done]
        assert ids(run_id="2") == []

    def test_contexts(self, store, run):
        run()
        assert [item.name for item in store.contexts(context_type="node").items] == ["taxi/trainer"]
        assert [item.type for item in store.contexts(name="taxi/manual__1").items] == ["pipeline_run"]

    def test_what_is_not_there(self, store):
        assert store.artifact(1) is None
        assert store.execution(1) is None
        assert store.execution_artifacts(1, "INPUT") == {}


def test_sql_in_a_string_stays_a_string(store, start, run):
    names = {"pipeline": NASTY, "run_id": NASTY, "component_id": NASTY, "fingerprint": NASTY, "component_type": NASTY}
    texts = {"properties": {NASTY: NASTY}, "environment": {NASTY: [NASTY]}, "triggered_by": NASTY}
    model = Model(uri=NASTY, digest=NASTY, custom_properties={NASTY: {NASTY: NASTY}})
    execution_id, outputs = run({NASTY: [model]}, fingerprint_parts={NASTY: NASTY}, **names, **texts)

    (stored,) = outputs[NASTY]
    assert store.artifact(stored.id) == stored
    execution = store.execution(execution_id)
    assert {name: getattr(execution, name) for name in texts} == texts
    assert execution.pipeline == execution.run_id == execution.component_id == execution.type == NASTY
    assert store.find_cached(NASTY, pipeline=NASTY).outputs == outputs
    assert store.run_outputs(named_run(NASTY, NASTY), component_id=NASTY, key=NASTY) == [stored]
    assert store.earlier_parts(pipeline=NASTY, component_id=NASTY) == [{NASTY: NASTY}]
    assert store.artifacts(uri=NASTY, digest=NASTY, properties={NASTY: {NASTY: NASTY}}).items == [stored]
    assert store.contexts(name=f"{NASTY}/{NASTY}", context_type="node").items
    assert store.latest_artifacts("Model", pipeline=NASTY, component_id=NASTY) == [stored]
    assert store.latest_artifacts(NASTY) == []
    assert store.latest_blessed_model(pipeline=NASTY, other_than=NASTY) is None
    assert store.latest_pushed(destination=NASTY) is None
    assert [item.id for item in store.invalidate(reason=NASTY, pipeline=NASTY, component=NASTY)] == [execution_id]


class TestRunOutputs:
    def test_the_newest_success_of_the_task_in_this_run(self, store, start, run):
        first, first_outputs = run()
        _, again = run()
        run(run_id="2")
        run(component_id="other")
        store.fail(store.start_execution(start()), "an error")
        store.start_execution(start())

        def ask(key="model", pipeline="taxi", run_id="manual__1"):
            return store.run_outputs(named_run(pipeline, run_id), component_id="trainer", key=key)

        assert ask() == again["model"]
        store.publish_cached(start(), first)
        assert ask() == first_outputs["model"]
        assert ask(key="other") == []
        assert ask(run_id="3") == []
        assert ask(pipeline="other") == []

    def test_map_indexes(self, store, run):
        made = {index: run(map_index=index)[1]["model"][0] for index in (2, 0, 1)}
        made[0] = run(map_index=0)[1]["model"][0]
        task = {"run": named_run("taxi", "manual__1"), "component_id": "trainer", "key": "model"}
        assert store.run_outputs(**task) == [made[0], made[1], made[2]]
        assert store.run_outputs(**task, map_indexes=[2, 1]) == [made[1], made[2]]
        assert store.run_outputs(**task, map_indexes=[]) == []

    def test_several_of_one_key_keep_their_order(self, store, run):
        _, outputs = run({"model": [Model(uri=f"/{index}") for index in range(12)]})
        found = store.run_outputs(named_run("taxi", "manual__1"), component_id="trainer", key="model")
        assert found == outputs["model"]


class TestLatest:
    def test_artifacts(self, store, run):
        first = run()[1]["model"][0]
        second = run(component_id="other")[1]["model"][0]
        third = run(pipeline="third")[1]["model"][0]
        run({"examples": [Examples(uri="/e")]})
        assert store.latest_artifacts("Model") == [third]
        assert store.latest_artifacts("Model", limit=5) == [third, second, first]
        assert store.latest_artifacts("Model", pipeline="taxi") == [second]
        assert store.latest_artifacts("Model", pipeline="taxi", component_id="trainer") == [first]
        store.mark_missing([third.id])
        assert store.latest_artifacts("Model") == [second]
        assert store.latest_artifacts("Schema") == []
        with pytest.raises(InvalidInputError, match="without a pipeline"):
            store.latest_artifacts("Model", component_id="trainer")

    def test_blessed_model(self, store, start, run):
        def train(digest, blessed, key="model", **changes):
            model = run({"model": [Model(uri="/m", digest=digest)]}, **changes)[1]["model"][0]
            blessing = ModelBlessing(uri="/b", properties={"blessed": blessed})
            run({"blessing": [blessing]}, component_id="evaluator", inputs={key: [model.id]}, **changes)
            return model

        assert store.latest_blessed_model() is None
        first = train("d1", 1)
        second = train("d2", 1)
        train("d3", 0)
        train("d4", 1, key="baseline_model")
        run({"model": [Model(uri="/m", digest="d5")]})
        elsewhere = train("d6", 1, pipeline="other")
        assert store.latest_blessed_model() == elsewhere
        assert store.latest_blessed_model(pipeline="taxi") == second
        assert store.latest_blessed_model(pipeline="taxi", other_than="d2") == first
        assert store.latest_blessed_model(pipeline="taxi", other_than="d1") == second
        store.mark_deleted([second.id])
        assert store.latest_blessed_model(pipeline="taxi") == first

    def test_a_blessing_by_a_hit_counts_for_the_model_that_was_its_input(self, store, start, run):
        model = run({"model": [Model(uri="/m1", digest="d")]})[1]["model"][0]
        blessing = ModelBlessing(uri="/b", properties={"blessed": 1})
        evaluated, _ = run({"blessing": [blessing]}, component_id="evaluator", inputs={"model": [model.id]})
        equal = run({"model": [Model(uri="/m2", digest="d")]}, run_id="2")[1]["model"][0]
        assert store.latest_blessed_model() == model
        store.publish_cached(start(run_id="2", component_id="evaluator", inputs={"model": [equal.id]}), evaluated)
        assert store.latest_blessed_model() == equal

    def test_pushed(self, store, run):
        def push(pushed, destination):
            properties = {"pushed": pushed, "destination": destination}
            return run({"pushed_model": [PushedModel(uri="/p", properties=properties)]})[1]["pushed_model"][0]

        assert store.latest_pushed(destination="/serving") is None
        push(1, "/serving")
        second = push(1, "/serving")
        push(0, "/serving")
        push(1, "/other")
        assert store.latest_pushed(destination="/serving") == second
