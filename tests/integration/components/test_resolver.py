"""A Resolver names what is there: what is lost is passed over, what is out of reach is an error."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from named_runs import named_run
from pages import text_of
from parts import DescribeOperator, JoinOperator, ReadOperator
from planned import Pipeline
from rights import closed

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState, Examples, Model, ModelBlessing
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.pusher.operator import PusherOperator
from airflow_provider_mlpipe.components.resolver.operator import ResolverOperator
from airflow_provider_mlpipe.components.resolver.strategies import Strategy
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError, TransientError
from airflow_provider_mlpipe.metadata.store import ExecutionStart
from airflow_provider_mlpipe.planning.planner import PlannedNode, Verdict
from airflow_provider_mlpipe.storage.digests import tree_summary
from airflow_provider_mlpipe.storage.layout import folder_of

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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Files of the spans 1 to 4, of which 2 has two versions."""
    folder = tmp_path / "data"
    folder.mkdir()
    for span, version in ((1, 0), (2, 0), (2, 1), (3, 0), (4, 0)):
        (folder / f"{span}-v{version}").write_text(f"text {span}.{version}")
    return folder


def read(data: Path, *numbers: int) -> ReadOperator:
    """Reads the spans from the first to the last number."""
    return ReadOperator(
        input_base=str(data),
        input_config={"splits": [{"name": "all", "pattern": "{SPAN}-v{VERSION}"}]},
        range_config={"static_range": {"start_span_number": min(numbers), "end_span_number": max(numbers)}},
    )


@pytest.fixture
def spans(pipeline: Pipeline, data: Path) -> dict[int, Artifact]:
    """The examples of the spans 1 to 4, the newest first in the store; what Join copied of them has the same spans."""
    for number in (4, 3, 2, 1):
        source = read(data, number)
        pipeline.run(pipeline.dag(source, JoinOperator(examples=source.outputs["examples"])), f"span {number}")
    found = pipeline.store.latest_artifacts("Examples", pipeline="d", component_id="Read", limit=10)
    return {one.properties["span"]: one for one in found}


def window(**given: Any) -> ResolverOperator:
    defaults: dict[str, Any] = {"range_config": {"rolling_range": {"num_spans": 3}}, "producer_component_id": "Read"}
    return ResolverOperator(strategy="SpanRange", **{**defaults, **given})


def found_by(pipeline: Pipeline, resolver: ResolverOperator, dag_id: str = "d") -> list[int | None]:
    """The ids of what it publishes; a plan finds the same."""
    node = pipeline.plan(pipeline.dag(resolver, dag_id=dag_id))["Resolver"]
    run_id = f"resolves {next(_runs)}"
    pipeline.run(pipeline.dag(*[resolver.__class__(**resolver.given_arguments)], dag_id=dag_id), run_id)
    run = named_run(dag_id, run_id)
    (key,) = resolver.output_types()
    ids = [one.id for one in pipeline.store.run_outputs(run, component_id="Resolver", key=key)]
    assert node.reason == (f"found {', '.join(map(str, ids))}" if ids else "nothing found")
    return ids


def ids_of(spans: Mapping[int, Artifact], *numbers: int) -> list[int | None]:
    return [spans[number].id for number in numbers]


class TestSeveral:
    def test_the_newest_in_the_order_of_their_spans(self, pipeline: Pipeline, spans: dict[int, Artifact]) -> None:
        def newest(**given: Any) -> list[int | None]:
            latest = {"strategy": "LatestArtifact", "artifact_type": Examples, "producer_component_id": "Read"}
            return found_by(pipeline, ResolverOperator(**{**latest, **given}))

        assert newest() == ids_of(spans, 1)
        assert newest(count=3) == ids_of(spans, 1, 2, 3)
        assert newest(count=9) == newest(count=9, min_count=4) == ids_of(spans, 1, 2, 3, 4)
        assert newest(count=9, min_count=5) == []

    def test_models_without_a_span_are_in_the_order_of_their_ids(
        self, pipeline: Pipeline, models: list[Artifact]
    ) -> None:
        resolver = ResolverOperator(strategy="LatestArtifact", artifact_type=Model, count=2)
        assert found_by(pipeline, resolver) == [models[1].id, models[0].id]

    def test_those_whose_files_are_lost_are_passed_over(self, pipeline: Pipeline, spans: dict[int, Artifact]) -> None:
        for number in (1, 3):
            shutil.rmtree(spans[number].uri)
        latest = ResolverOperator(
            strategy="LatestArtifact", artifact_type=Examples, producer_component_id="Read", count=2, min_count=2
        )
        assert found_by(pipeline, latest) == ids_of(spans, 2, 4)
        assert [one.state.value for one in map(again(pipeline), (spans[1], spans[3]))] == ["MISSING", "MISSING"]

    def test_a_component_reads_all_of_them_or_runs_for_each(
        self, pipeline: Pipeline, spans: dict[int, Artifact]
    ) -> None:
        resolver = window()
        each = DescribeOperator(examples=resolver.outputs["result"])
        together = JoinOperator(task_id="Together", examples=resolver.outputs["result"])
        dag = pipeline.dag(resolver, each, together)
        pipeline.run(dag, "reads")
        described = pipeline.store.run_outputs(named_run("d", "reads"), component_id="Describe", key="statistics")
        assert [one.properties["span"] for one in described] == [2, 3, 4]
        (model,) = pipeline.store.run_outputs(named_run("d", "reads"), component_id="Together", key="model")
        assert (folder_of(model) / "saved").read_text() == "text 2.1 text 3.0 text 4.0"


def again(pipeline: Pipeline) -> Callable[[Artifact], Artifact]:
    def look(artifact: Artifact) -> Artifact:
        found = pipeline.store.artifact(artifact.id or 0)
        assert found is not None
        return found

    return look


class TestSpanRange:
    def test_the_spans_of_a_range(self, pipeline: Pipeline, spans: dict[int, Artifact]) -> None:
        def of(**config: dict[str, int]) -> list[int | None]:
            return found_by(pipeline, window(range_config=config))

        assert of(rolling_range={"num_spans": 1}) == ids_of(spans, 4)
        assert of(rolling_range={"num_spans": 9}) == ids_of(spans, 1, 2, 3, 4)
        assert of(rolling_range={"num_spans": 9, "start_span_number": 3}) == ids_of(spans, 3, 4)
        assert of(rolling_range={"num_spans": 2, "skip_num_recent_spans": 1}) == ids_of(spans, 2, 3)
        assert of(rolling_range={"num_spans": 2, "skip_num_recent_spans": 3}) == ids_of(spans, 1)
        assert of(rolling_range={"num_spans": 2, "skip_num_recent_spans": 4}) == []
        assert of(rolling_range={"num_spans": 2, "start_span_number": 5}) == []
        assert of(static_range={"start_span_number": 2, "end_span_number": 3}) == ids_of(spans, 2, 3)

    def test_the_newest_version_counts_although_an_older_one_was_published_later(
        self, pipeline: Pipeline, spans: dict[int, Artifact], data: Path
    ) -> None:
        (data / "2-v1").rename(data / "away")
        pipeline.run(pipeline.dag(read(data, 2)), "an older version")
        newest = pipeline.store.latest_artifacts("Examples", pipeline="d", component_id="Read")[0]
        assert (newest.properties["span"], newest.properties["version"]) == (2, 0)
        only_two = {"static_range": {"start_span_number": 2, "end_span_number": 2}}
        assert found_by(pipeline, window(range_config=only_two)) == ids_of(spans, 2)
        shutil.rmtree(spans[2].uri)
        assert found_by(pipeline, window(range_config=only_two)) == [newest.id]

    def test_fewer_than_min_spans_is_nothing(self, pipeline: Pipeline, spans: dict[int, Artifact]) -> None:
        config = {"rolling_range": {"num_spans": 5}}
        assert found_by(pipeline, window(range_config=config, min_spans=4)) == ids_of(spans, 1, 2, 3, 4)
        assert found_by(pipeline, window(range_config=config, min_spans=5)) == []
        to_come = {"static_range": {"start_span_number": 3, "end_span_number": 6}}
        assert found_by(pipeline, window(range_config=to_come, min_spans=4)) == []

    def test_a_missing_span_is_an_error(self, pipeline: Pipeline, spans: dict[int, Artifact]) -> None:
        to_come = window(range_config={"static_range": {"start_span_number": 3, "end_span_number": 6}})
        with pytest.raises(
            InvalidInputError,
            match="Resolver: there are no Examples of spans 5-6, only of spans 1-4; let d/Read make",
        ):
            pipeline.run(pipeline.dag(to_come), "to come")
        shutil.rmtree(spans[3].uri)
        node = pipeline.plan(pipeline.dag(window()))["Resolver"]
        assert node.verdict is Verdict.FAILS
        assert "there are no Examples of span 3, only of spans 1-2, 4" in node.reason
        assert found_by(pipeline, window(range_config={"rolling_range": {"num_spans": 1}})) == ids_of(spans, 4)

    def test_examples_of_two_components_are_not_mixed(self, pipeline: Pipeline, spans: dict[int, Artifact]) -> None:
        node = pipeline.plan(pipeline.dag(window(producer_component_id=None)))["Resolver"]
        assert node.verdict is Verdict.FAILS
        assert "d/Join, d/Read have published Examples with spans; name the one that you mean" in node.reason
        copies = found_by(pipeline, window(producer_component_id="Join"))
        assert len(copies) == 3
        assert not set(copies) & set(ids_of(spans, 1, 2, 3, 4))
        # What a Resolver published itself counts for the component that made it.
        assert found_by(pipeline, window()) == ids_of(spans, 2, 3, 4)

    def test_nothing_is_found_where_nothing_has_a_span(
        self, pipeline: Pipeline, models: list[Artifact], caplog: pytest.LogCaptureFixture
    ) -> None:
        assert found_by(pipeline, window(producer_component_id=None)) == []
        assert not caplog.messages
        assert found_by(pipeline, window(producer_component_id="Reed")) == []
        assert "Resolver: the store knows no d/Reed; if it has run, correct the name" in caplog.messages


class TestOtherPipelines:
    def test_one_or_all(self, pipeline: Pipeline, spans: dict[int, Artifact], caplog: pytest.LogCaptureFixture) -> None:
        assert found_by(pipeline, window(pipeline="d"), dag_id="trains") == ids_of(spans, 2, 3, 4)
        assert found_by(pipeline, window(producer_component_id=None, pipeline="t"), dag_id="trains") == []
        assert "Resolver: the store knows no t; if it has run, correct the name" in caplog.messages
        latest = {"strategy": "LatestArtifact", "artifact_type": "Examples"}
        (newest,) = found_by(pipeline, ResolverOperator(**latest, pipeline="*"), dag_id="other")
        assert found_by(pipeline, ResolverOperator(**latest, pipeline="d")) == [newest]

    def test_this_one_by_default(self, pipeline: Pipeline, models: list[Artifact]) -> None:
        for more, expected in (({}, []), ({"pipeline": "d"}, [models[0].id]), ({"pipeline": "*"}, [models[0].id])):
            resolver = ResolverOperator(strategy="LatestBlessedModel", **more)
            assert found_by(pipeline, resolver, dag_id="other") == expected


def test_by_property(pipeline: Pipeline, tmp_path: Path) -> None:
    made: dict[str, int | None] = {}
    for number, country in enumerate(("de", "fr", "de")):
        (tmp_path / str(number)).mkdir()
        importer = ImporterOperator(
            source_uri=str(tmp_path / str(number)),
            artifact_type=Examples,
            properties={"span": number},
            custom_properties={"country": country, "key": "api_key of ada"},
        )
        pipeline.run(pipeline.dag(importer), f"imports {number}")
        (found,) = pipeline.store.latest_artifacts("Examples")
        made[f"{country} {number}"] = found.id

    def by(properties: dict[str, Any], **given: Any) -> list[int | None]:
        arguments = {"strategy": "ByProperty", "artifact_type": Examples, "properties": properties}
        return found_by(pipeline, ResolverOperator(**arguments, **given))

    assert by({"country": "de"}) == [made["de 2"]]
    assert by({"country": "de", "span": 0}) == by({"span": "0"} | {"span": 0}) == [made["de 0"]]
    assert by({"country": "fr"}, producer_component_id="Importer") == [made["fr 1"]]
    assert by({"country": "it"}) == by({"span": "0"}) == by({"city": "de"}) == []
    shutil.rmtree(tmp_path / "2")
    assert by({"country": "de"}) == [made["de 0"]]


class TestLatestPushed:
    @pytest.fixture
    def serving(self, tmp_path: Path) -> Path:
        return tmp_path / "serving"

    def push(self, pipeline: Pipeline, folder: Path, text: str, serving: Path, dag_id: str = "pushes") -> int | None:
        """Imports a model and pushes it; returns the model's id."""
        (folder / text / "Format-Serving").mkdir(parents=True, exist_ok=True)
        (folder / text / "Format-Serving" / "saved_model.pb").write_text(text)
        importer = ImporterOperator(source_uri=str(folder / text), artifact_type=Model)
        destination = {"filesystem": {"base_directory": str(serving)}}
        pusher = PusherOperator(model=importer.outputs["result"], push_destination=destination)
        run_id = f"pushes {next(_runs)}"
        pipeline.run(pipeline.dag(importer, pusher, dag_id=dag_id), run_id)
        (model,) = pipeline.store.run_outputs(named_run(dag_id, run_id), component_id="Importer", key="result")
        return model.id

    def test_the_model_that_was_pushed_last(self, pipeline: Pipeline, tmp_path: Path, serving: Path) -> None:
        def served(folder: object = serving) -> list[int | None]:
            return found_by(pipeline, ResolverOperator(strategy="LatestPushed", destination=str(folder)))

        assert served() == []
        first = self.push(pipeline, tmp_path, "a", serving)
        assert served() == served(f"{serving}/") == [first]
        second = self.push(pipeline, tmp_path, "b", serving, dag_id="others")
        self.push(pipeline, tmp_path, "c", tmp_path / "elsewhere")
        assert served() == [second]
        assert served(tmp_path) == []
        assert self.push(pipeline, tmp_path, "a", serving) == first  # again: it is not a hit, since b is served
        assert served() == [first]

    def test_an_older_model_is_not_taken_for_one_that_is_lost(
        self, pipeline: Pipeline, tmp_path: Path, serving: Path
    ) -> None:
        self.push(pipeline, tmp_path, "a", serving)
        self.push(pipeline, tmp_path, "b", serving)
        shutil.rmtree(tmp_path / "b")
        assert found_by(pipeline, ResolverOperator(strategy="LatestPushed", destination=str(serving))) == []


class TestBefore:
    @pytest.fixture
    def trained(self, pipeline: Pipeline, data: Path) -> dict[str, int | None]:
        """Blessed models by the spans of their examples, which one of them read transformed."""
        made = {}
        for numbers in ((1, 2), (3,), (2, 4)):
            name = "-".join(map(str, numbers))
            source = read(data, *numbers)
            copy = JoinOperator(task_id="Transform", examples=source.outputs["examples"])
            examples = source.outputs["examples"] if numbers == (3,) else copy.outputs["copies"]
            trainer = JoinOperator(task_id="Trainer", examples=examples)
            pipeline.run(pipeline.dag(source, copy, trainer), name)
            (model,) = pipeline.store.run_outputs(named_run("d", name), component_id="Trainer", key="model")
            blessing = ModelBlessing(uri=f"/blessing/{name}", properties={"blessed": 1})
            pipeline.store.publish_node(start(f"blesses {name}", {"model": [model.id or 0]}), {"blessing": [blessing]})
            made[name] = model.id
        return made

    def resolved(self, pipeline: Pipeline, source: ReadOperator, **given: Any) -> list[int | None]:
        """What a run with these examples finds, and the plan of a run after it."""
        resolver = ResolverOperator(strategy="LatestBlessedModel", before=source.outputs["examples"], **given)
        run_id = f"resolves {next(_runs)}"
        pipeline.run(pipeline.dag(source, resolver), run_id)
        found = pipeline.store.run_outputs(named_run("d", run_id), component_id="Resolver", key="model")
        return [model.id for model in found]

    def test_a_run_for_an_old_date_gets_the_model_of_that_time(
        self, pipeline: Pipeline, data: Path, trained: dict[str, int | None]
    ) -> None:
        assert self.resolved(pipeline, read(data, 4)) == [trained["3"]]
        assert self.resolved(pipeline, read(data, 3)) == [trained["1-2"]]
        assert self.resolved(pipeline, read(data, 1, 3)) == [trained["1-2"]]
        assert self.resolved(pipeline, read(data, 1, 2)) == self.resolved(pipeline, read(data, 1)) == []
        (data / "5-v0").write_text("text 5")
        assert self.resolved(pipeline, read(data, 5)) == [trained["2-4"]]

    def test_a_plan_knows_it_as_soon_as_the_examples_are_known(
        self, pipeline: Pipeline, data: Path, trained: dict[str, int | None]
    ) -> None:
        source = read(data, 3)
        resolver = ResolverOperator(strategy="LatestBlessedModel", before=source.outputs["examples"])
        assert pipeline.plan(pipeline.dag(source, resolver))["Resolver"].reason == f"found {trained['1-2']}"
        (data / "3-v1").write_text("corrected")
        source = read(data, 3)
        resolver = ResolverOperator(strategy="LatestBlessedModel", before=source.outputs["examples"])
        assert pipeline.plan(pipeline.dag(source, resolver))["Resolver"].reason == "waits for Read"

    def test_the_dag_of_the_docs_finds_both(
        self, pipeline: Pipeline, trained: dict[str, int | None], spans: dict[int, Artifact]
    ) -> None:
        blocks = re.findall(r"```python\n(from .*?)```", text_of("docs/components.md"), re.DOTALL)
        (code,) = (block for block in blocks if "SpanRange" in block)
        for theirs, ours in (("taxi", "d"), ("CsvExampleGen", "Read"), ("/dags/model.py", __file__)):
            code = code.replace(f'"{theirs}"', f'"{ours}"')
        names: dict[str, Any] = {}
        exec(code.replace("min_spans=7", "min_spans=4"), names)
        nodes = pipeline.plan(pipeline.own(names["dag"]))
        assert nodes["Window"].reason == f"found {', '.join(map(str, ids_of(spans, 1, 2, 3, 4)))}"
        assert nodes["Earlier"].reason == f"found {trained['3']}"
        assert nodes["StatisticsGen"].reason.startswith("hit 0 of 4, runs: span 1, span 2, span 3, span 4")

    def test_models_without_a_span_are_seen(
        self, pipeline: Pipeline, data: Path, models: list[Artifact], trained: dict[str, int | None]
    ) -> None:
        assert self.resolved(pipeline, read(data, 1)) == [models[0].id]

    def test_examples_without_a_span_are_an_error(self, pipeline: Pipeline, data: Path) -> None:
        source = ReadOperator(input_base=str(data))
        with pytest.raises(
            InvalidInputError, match=r"Resolver.before: Examples \d+ has no span, so no model is before"
        ):
            self.resolved(pipeline, source)
