"""Lists, and what resolvers and channels ask."""

import pytest
from named_runs import named_run
from query_plans import query_plan

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
    assert store.latest_artifacts("Model", properties={NASTY: {NASTY: NASTY}}) == [stored]
    assert store.latest_artifacts("Model", pipeline=NASTY, properties={NASTY: NASTY}) == []
    assert store.latest_artifacts(NASTY) == []
    assert store.newest_of_spans(NASTY, pipeline=NASTY, component_id=NASTY) == {}
    assert store.latest_blessed_model(pipeline=NASTY, other_than=NASTY, before_span=1) is None
    assert store.latest_pushed_model(destination=NASTY) is None
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
        assert store.latest_artifacts("Model", pipeline="taxi", without=[second.id]) == [first]
        assert store.latest_artifacts("Model", without=[second.id, first.id]) == []
        with pytest.raises(InvalidInputError, match="without a pipeline"):
            store.latest_artifacts("Model", component_id="trainer")

    def test_artifacts_with_properties(self, store, run):
        def publish(properties, **custom):
            examples = Examples(uri="/e", properties=properties, custom_properties=custom)
            return run({"examples": [examples]})[1]["examples"][0]

        first = publish({"span": 1}, owner="ada", tags=["a", "b"], score=0.5)
        second = publish({"span": 2}, owner="ada", score=float("nan"))

        def ask(**properties):
            everywhere, here = (
                [found.id for found in store.latest_artifacts("Examples", properties=properties, limit=5, **scope)]
                for scope in ({}, {"pipeline": "taxi"})
            )
            assert everywhere == here
            return here

        assert ask() == ask(owner="ada") == [second.id, first.id]
        assert ask(span=1) == ask(span=1, owner="ada", score=0.5) == [first.id]
        assert ask(score=float("nan")) == [second.id]
        assert ask(tags=["a", "b"]) == [first.id]
        assert ask(tags=["b"]) == ask(tags=["b", "a"]) == ask(tags=[]) == []
        assert ask(span="1") == ask(span=True) == ask(owner="ada", span=3) == ask(other=None) == []

    def test_artifacts_by_id(self, store, run):
        made = [run(run_id=str(index))[1]["model"][0] for index in range(3)]
        assert store.artifacts_by_id([made[2].id, 999, made[0].id]) == [made[0], made[2]]
        assert store.artifacts_by_id([]) == []

    def test_spans(self, store, start, run):
        def read(span, version=None, component_id="gen", **changes):
            properties = {"span": span} | ({} if version is None else {"version": version})
            outputs = {"examples": [Examples(uri="/e", properties=properties)]}
            return run(outputs, component_id=component_id, **changes)[1]["examples"][0].id

        def ask(**given):
            return store.newest_of_spans("Examples", **{"pipeline": "taxi", **given})

        assert ask() == {}
        run({"examples": [Examples(uri="/e")]}, component_id="gen")
        assert ask() == {}
        ten = read(10, version=2)
        read(10, version=1)
        nine = read(9)
        again = read(9)
        assert ask() == {"taxi/gen": {9: again, 10: ten}}
        assert ask(without=[again]) == {"taxi/gen": {9: nine, 10: ten}}
        transformed = read(9, component_id="transform")
        elsewhere = read(10, version=11, pipeline="other")
        both = {"taxi/gen": {9: again, 10: ten}, "taxi/transform": {9: transformed}}
        assert ask() == both
        assert ask(component_id="transform") == {"taxi/transform": {9: transformed}}
        assert ask(pipeline=None) == {**both, "other/gen": {10: elsewhere}}

        store.publish_node(start(component_id="resolver"), {"result": [store.artifact(ten)]})
        assert ask() == both  # it only found what another had published
        store.publish_node(start(component_id="resolver"), {"result": [store.artifact(elsewhere)]})
        assert ask()["taxi/resolver"] == {10: elsewhere}
        store.mark_missing([ten])
        assert ask()["taxi/gen"][10] not in (ten, elsewhere)

    def test_a_hit_counts_for_its_node(self, store, start, run):
        made, outputs = run({"examples": [Examples(uri="/e", properties={"span": 1})]}, pipeline="other")
        store.publish_cached(start(component_id="gen"), made)
        (examples,) = outputs["examples"]
        assert store.newest_of_spans("Examples", pipeline="taxi") == {"taxi/gen": {1: examples.id}}
        assert store.newest_of_spans("Examples") == {"other/trainer": {1: examples.id}}

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

    def test_blessed_models_before_a_span(self, store, start, run):
        def read(**properties):
            return run({"examples": [Examples(uri="/e", properties=properties)]}, component_id="gen")[1]["examples"][0]

        def train(*examples, others=()):
            inputs = {"examples": [one.id for one in examples], "base_model": [one.id for one in others]}
            model = run({"model": [Model(uri="/m", digest="d")]}, inputs=inputs)[1]["model"][0]
            blessing = ModelBlessing(uri="/b", properties={"blessed": 1})
            # What it was evaluated on does not count.
            inputs = {"model": [model.id], "examples": [days[5].id]}
            run({"blessing": [blessing]}, component_id="evaluator", inputs=inputs)
            return model

        def ask(span):
            return store.latest_blessed_model(pipeline="taxi", before_span=span)

        days = {span: read(span=span) for span in range(1, 6)}
        assert ask(5) is None
        unspanned = train(read())
        one = train(days[1])
        window = train(days[2], days[1])
        last = train(days[3], days[4], days[2], others=[one])
        assert ask(5) == ask(100) == last
        assert ask(4) == ask(3) == window
        assert ask(2) == one
        assert ask(1) == ask(-7) == unspanned
        # An equal training in a later run is a hit: the model keeps the span of those examples that made it.
        made = store.lineage(artifact_id=one.id, direction="up", max_depth=1).nodes[1].id
        store.publish_cached(start(run_id="2", inputs={"examples": [days[5].id]}), made)
        assert ask(2) == one

    def test_pushed_model(self, store, start, run):
        def push(pushed, destination, version="7"):
            model = run()[1]["model"][0]
            properties = {"pushed": pushed, "destination": f"{destination}/{version}", "version": version}
            pusher = {"component_id": "pusher", "inputs": {"model": [model.id]}}
            execution_id, _ = run({"pushed_model": [PushedModel(uri="/p", properties=properties)]}, **pusher)
            return model, execution_id

        assert store.latest_pushed_model(destination="/serving") is None
        first, first_push = push(1, "/serving")
        second, _ = push(1, "/serving", version="8")
        push(0, "/serving")
        push(1, "/other")
        push(1, "/serving/eu")
        assert store.latest_pushed_model(destination="/serving") == second
        assert store.latest_pushed_model(destination="/serv") is None
        store.publish_cached(start(component_id="pusher", run_id="2", inputs={"model": [first.id]}), first_push)
        assert store.latest_pushed_model(destination="/serving") == second
        assert store.latest_pushed_model(destination="/serving", without=[second.id]) is None
        store.mark_missing([second.id])
        assert store.latest_pushed_model(destination="/serving") is None


# 100,000 executions: each of 25,000 spans is read, trained on, and evaluated, and its model blessed and resolved.
_MANY = """
SET session_replication_role = replica;  -- foreign keys are not checked
INSERT INTO mlpipe.execution
    (type_id, pipeline, run_id, run_key, component_id, state, fingerprint, fingerprint_parts, ended_at)
SELECT 1, 'taxi', 'r' || span, gen_random_uuid(), component_id, 'COMPLETE', '', '{}', now()
FROM generate_series(1, 25000) span, unnest(ARRAY['gen', 'trainer', 'evaluator', 'resolver']) component_id;
INSERT INTO mlpipe.artifact (type_id, uri, properties)
SELECT type.id, '/many/' || span, CASE type.name
    WHEN 'Examples' THEN jsonb_build_object('span', span, 'version', 0)
    WHEN 'ModelBlessing' THEN '{"blessed": 1}' ELSE '{}' END
FROM generate_series(1, 25000) span, mlpipe.artifact_type type
WHERE type.name IN ('Examples', 'Model', 'ModelBlessing')
ORDER BY span;
INSERT INTO mlpipe.event (execution_id, artifact_id, type, key)
SELECT execution.id, artifact.id, event.type, event.key
FROM (VALUES
    ('gen', 'Examples', 'OUTPUT', 'examples'), ('trainer', 'Examples', 'INPUT', 'examples'),
    ('trainer', 'Model', 'OUTPUT', 'model'), ('evaluator', 'Model', 'INPUT', 'model'),
    ('evaluator', 'ModelBlessing', 'OUTPUT', 'blessing'), ('resolver', 'Model', 'OUTPUT', 'model')
) AS event (component_id, artifact_type, type, key)
JOIN mlpipe.execution ON execution.component_id = event.component_id
JOIN mlpipe.artifact_type type ON type.name = event.artifact_type
JOIN mlpipe.artifact ON artifact.uri = '/many/' || substr(run_id, 2) AND artifact.type_id = type.id;
INSERT INTO mlpipe.attribution (context_id, artifact_id)
SELECT context.id, artifact.id FROM mlpipe.context, mlpipe.artifact WHERE context.name = 'taxi' ON CONFLICT DO NOTHING;
RESET session_replication_role;
ANALYZE;
"""


def test_resolvers_search_among_100_000_executions(store, run, connection):
    first = {"model": [Model(uri="/m")], "examples": [Examples(uri="/e")], "blessing": [ModelBlessing(uri="/b")]}
    run(first)
    connection.run(_MANY)

    def blocks_of_blessed(pipeline, before_span):
        given = {"pipeline": pipeline, "other_than": "x", "before_span": before_span}
        found = store.latest_blessed_model(**given)
        plan = query_plan(connection, "latest_blessed_model", **given, without=[])
        assert found.uri == f"/many/{25_000 if before_span is None else before_span - 1}"
        assert plan.rows == 1
        assert not plan.scanned
        assert {"artifact_newest_live", "event_artifact", "event_pkey"} <= plan.indexes
        return plan.blocks

    for pipeline in (None, "taxi"):
        assert blocks_of_blessed(pipeline, None) < 60
        assert blocks_of_blessed(pipeline, 24_990) < 500
        # Of each newer model it looks at the inputs of its training, and nothing else.
        assert blocks_of_blessed(pipeline, 15_000) - blocks_of_blessed(pipeline, 20_000) < 40 * 5_000

        given = {"artifact_type": "Examples", "properties": '{"version": 0}', "before": None, "without": [], "limit": 5}
        context = {"context_type": "pipeline", "context_name": pipeline} if pipeline else {}
        newest = query_plan(
            connection, "latest_artifacts_of_context" if pipeline else "latest_artifacts", **given, **context
        )
        assert newest.rows == 5
        assert not newest.scanned
        assert newest.blocks < 100

        given = {"artifact_type": "Examples", "pipeline": pipeline, "component_id": None, "without": []}
        of_spans = query_plan(connection, "newest_of_spans", **given)
        assert of_spans.rows == 25_000
        assert not of_spans.scanned
        assert of_spans.blocks < 12 * 25_000
