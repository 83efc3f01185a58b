"""A Resolver names what is there: what is lost is passed over, what is out of reach is an error."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import pytest
from airflow.sdk import DAG
from named_runs import named_run
from planned import Pipeline
from rights import closed

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState, Model, ModelBlessing
from airflow_provider_mlpipe.components.resolver.operator import ResolverOperator, Strategy
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError, PipelineError, TransientError
from airflow_provider_mlpipe.metadata.store import ExecutionStart
from airflow_provider_mlpipe.planning.planner import PlannedNode, Verdict
from airflow_provider_mlpipe.storage.digests import tree_summary

_runs = count()


@pytest.fixture
def models(pipeline: Pipeline) -> list[Artifact]:
    """Three models that are blessed, the newest first."""
    made = []
    for text in ("a", "b", "c"):
        folder = pipeline.root / "Trainer" / "model" / text
        folder.mkdir(parents=True)
        (folder / "saved").write_text(text)
        unpublished = Model(uri=str(folder), digest=text, files=tree_summary(folder))
        _, outputs = pipeline.store.publish_node(start(f"makes {text}", {}), {"model": [unpublished]})
        (model,) = outputs["model"]
        blessing = ModelBlessing(uri=f"/blessing/{text}", properties={"blessed": 1})
        pipeline.store.publish_node(start(f"blesses {text}", {"model": [model.id or 0]}), {"blessing": [blessing]})
        made.append(model)
    return made[::-1]


def start(run_id: str, inputs: dict[str, list[int]], component_id: str = "any") -> ExecutionStart:
    return ExecutionStart(
        component_type="Any",
        run=named_run("d", run_id),
        component_id=component_id,
        fingerprint="",
        fingerprint_parts={},
        inputs=inputs,
        properties={},
        triggered_by=None,
        environment={},
    )


@pytest.fixture(params=["LatestArtifact", "LatestBlessedModel"])
def strategy(request: pytest.FixtureRequest) -> Strategy:
    given: Strategy = request.param
    return given


def resolver(pipeline: Pipeline, strategy: Strategy) -> DAG:
    artifact_type = Model if strategy == "LatestArtifact" else None
    return pipeline.dag(ResolverOperator(strategy=strategy, artifact_type=artifact_type))


def named(pipeline: Pipeline, strategy: Strategy) -> list[int | None]:
    """The ids of what a run of the Resolver publishes."""
    run_id = f"resolves {next(_runs)}"
    pipeline.run(resolver(pipeline, strategy), run_id)
    (execution,) = pipeline.store.executions(run_id=run_id).items
    outputs = pipeline.store.execution_artifacts(execution.id, "OUTPUT")
    return [artifact.id for artifacts in outputs.values() for artifact in artifacts]


def planned(pipeline: Pipeline, strategy: Strategy) -> PlannedNode:
    return pipeline.plan(resolver(pipeline, strategy))["Resolver"]


def states(pipeline: Pipeline, models: list[Artifact]) -> list[ArtifactState]:
    return [pipeline.store.artifact(model.id or 0).state for model in models]  # type: ignore[union-attr]


def test_what_is_lost_is_passed_over_and_marked(pipeline: Pipeline, models: list[Artifact], strategy: Strategy) -> None:
    live, missing = ArtifactState.LIVE, ArtifactState.MISSING
    for lost in range(3):
        assert named(pipeline, strategy) == [models[lost].id]
        shutil.rmtree(models[lost].uri)
        rest = [f"found {model.id}" for model in models[lost + 1 : lost + 2]] or ["nothing found"]
        assert planned(pipeline, strategy).reason == rest[0]
        assert states(pipeline, models) == [missing] * lost + [live] * (3 - lost)  # a look marks nothing
    assert named(pipeline, strategy) == []
    assert states(pipeline, models) == [missing] * 3


def test_what_is_lost_is_marked_by_the_plan_that_passes_over_it(
    pipeline: Pipeline, models: list[Artifact], strategy: Strategy
) -> None:
    shutil.rmtree(models[0].uri)
    assert pipeline.draft(resolver(pipeline, strategy)).commit(clear=0)
    assert states(pipeline, models)[0] is ArtifactState.MISSING


@pytest.mark.parametrize(("away", "error"), [("unmounted", TransientError), ("closed", InvalidInputError)])
def test_an_older_one_is_not_taken_for_one_out_of_reach(
    pipeline: Pipeline,
    models: list[Artifact],
    strategy: Strategy,
    tmp_path: Path,
    away: str,
    error: type[MlpipeError],
) -> None:
    if away == "unmounted":
        pipeline.root.rename(tmp_path / "elsewhere")
        with pytest.raises(error, match="its disk may not be mounted"):
            named(pipeline, strategy)
        (tmp_path / "elsewhere").rename(pipeline.root)
    else:
        with closed(Path(models[0].uri)):
            assert planned(pipeline, strategy).verdict is Verdict.FAILS
            with pytest.raises(error, match="Let this user read it"):
                named(pipeline, strategy)
    assert states(pipeline, models) == [ArtifactState.LIVE] * 3
    assert named(pipeline, strategy) == [models[0].id]


def test_the_newest_of_a_component(pipeline: Pipeline, models: list[Artifact]) -> None:
    folder = pipeline.root / "other"
    folder.mkdir()
    other = Model(uri=str(folder), digest="other", files=tree_summary(folder))
    _, outputs = pipeline.store.publish_node(start("makes another", {}, "other"), {"model": [other]})
    for component_id, expected in (("any", models[0]), ("other", outputs["model"][0]), ("none", None)):
        node = ResolverOperator(strategy="LatestArtifact", artifact_type=Model, producer_component_id=component_id)
        reason = f"found {expected.id}" if expected else "nothing found"
        assert pipeline.plan(pipeline.dag(node))["Resolver"].reason == reason


def test_a_component_is_not_for_the_latest_blessed_model() -> None:
    with pytest.raises(PipelineError, match="Resolver: producer_component_id is for LatestArtifact; leave it out"):
        ResolverOperator(strategy="LatestBlessedModel", producer_component_id="Trainer")
