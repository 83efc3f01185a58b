import pytest

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.exceptions import InvalidInputError


def _of(lineage, kind):
    return [node.id for node in lineage.nodes if node.kind == kind]


@pytest.fixture
def step(run):
    """Runs a task from artifacts to new artifacts, `width` of them."""

    def make(inputs=(), *, width=1, run_id="1", component_id="step"):
        execution_id, outputs = run(
            {"out": [Model(uri=f"/{component_id}/{run_id}/{index}") for index in range(width)]},
            run_id=run_id,
            component_id=component_id,
            inputs={"in": list(inputs)},
        )
        return execution_id, [artifact.id for artifact in outputs["out"]]

    return make


def test_up_and_down_a_chain(store, step):
    first, (a,) = step(component_id="first")
    second, (b,) = step([a], component_id="second")
    third, (c,) = step([b], component_id="third")

    up = store.lineage(artifact_id=c, direction="up")
    assert [(node.kind, node.id, node.depth) for node in up.nodes] == [
        ("artifact", c, 0),
        ("execution", third, 1),
        ("artifact", b, 2),
        ("execution", second, 3),
        ("artifact", a, 4),
        ("execution", first, 5),
    ]
    assert (up.nodes[0].type, up.nodes[0].state, up.nodes[0].label) == ("Model", "LIVE", "/third/1/0")
    assert (up.nodes[1].type, up.nodes[1].state, up.nodes[1].label) == ("Trainer", "COMPLETE", "third")
    assert {(edge.execution_id, edge.type, edge.artifact_id) for edge in up.edges} == {
        (first, "OUTPUT", a),
        (second, "INPUT", a),
        (second, "OUTPUT", b),
        (third, "INPUT", b),
        (third, "OUTPUT", c),
    }
    assert not up.truncated

    down = store.lineage(execution_id=first, direction="down")
    assert [node.id for node in down.nodes] == [first, a, second, b, third, c]
    assert store.lineage(execution_id=third, direction="up").nodes[1].id == b


def test_the_depth_is_limited(store, step):
    _, (a,) = step(component_id="first")
    second, (b,) = step([a], component_id="second")
    lineage = store.lineage(artifact_id=a, direction="down", max_depth=2)
    assert [node.id for node in lineage.nodes] == [a, second, b]
    assert [node.id for node in store.lineage(artifact_id=a, direction="down", max_depth=0).nodes] == [a]


def test_the_number_of_nodes_is_limited(store, step):
    execution, artifacts = step(width=30)
    lineage = store.lineage(execution_id=execution, direction="down", max_nodes=11)
    assert lineage.truncated
    assert [node.id for node in lineage.nodes] == [execution, *artifacts[:10]]
    assert len(lineage.edges) == 10


def test_a_ladder_of_diamonds_has_2_to_the_60_paths_and_181_nodes(store, step):
    _, top = step(width=2, component_id="0")
    artifacts = top
    for level in range(1, 61):
        _, artifacts = step(artifacts, width=2, component_id=str(level))
    down = store.lineage(artifact_id=top[0], direction="down", max_depth=500)
    up = store.lineage(artifact_id=artifacts[0], direction="up", max_depth=500)
    assert (len(_of(down, "execution")), len(_of(down, "artifact"))) == (60, 121)
    assert (len(_of(up, "execution")), len(_of(up, "artifact"))) == (61, 121)


def test_up_leads_to_the_maker_and_down_to_every_user(store, start, step):
    maker, (model,) = step()
    cached, _ = store.publish_cached(start(run_id="2", component_id="step"), maker)
    resolver, _ = store.publish_node(start(run_id="2", component_id="resolver"), {"model": [store.artifact(model)]})
    user, _ = step([model], run_id="2", component_id="user")
    assert _of(store.lineage(artifact_id=model, direction="up"), "execution") == [maker]
    assert _of(store.lineage(artifact_id=model, direction="down"), "execution") == [user]
    assert _of(store.lineage(execution_id=cached, direction="down"), "artifact")[0] == model
    assert resolver not in _of(store.lineage(execution_id=user, direction="up"), "execution")


def test_an_id_that_is_not_there(store):
    assert store.lineage(artifact_id=1, direction="up").nodes == []


@pytest.mark.parametrize("ids", [{}, {"artifact_id": 1, "execution_id": 1}])
def test_either_an_artifact_or_an_execution(store, ids):
    with pytest.raises(InvalidInputError, match="either"):
        store.lineage(direction="up", **ids)
