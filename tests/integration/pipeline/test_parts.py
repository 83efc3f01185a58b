"""A component with several artifacts for one input: a part for each, of which only what is new runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from named_runs import named_run
from parts import CompareOperator, DescribeOperator, JoinOperator, ReadOperator
from planned import Pipeline

from airflow_provider_mlpipe import RunSpan, create_dag
from airflow_provider_mlpipe.exceptions import (
    AnomaliesFoundError,
    ExecutorDiedError,
    ExecutorFailedError,
    InvalidInputError,
    PipelineError,
)
from airflow_provider_mlpipe.execution.dag_runs import current_run
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.planning.preview import preview_context
from airflow_provider_mlpipe.storage.layout import folder_of

COMPLETE, CACHED = ExecutionState.COMPLETE, ExecutionState.CACHED


@pytest.fixture
def pipeline(database: str, tmp_path: Path) -> Pipeline:
    return Pipeline(database, tmp_path / "root")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for span in (1, 2, 3):
        write(folder, span, f"text {span}")
    return folder


def write(data: Path, span: int, text: str) -> None:
    (data / f"span-{span}").mkdir(parents=True, exist_ok=True)
    (data / f"span-{span}" / "a.txt").write_text(text)


def read(data: Path, count: int = 3, **given: Any) -> ReadOperator:
    return ReadOperator(
        input_base=str(data),
        input_config={"splits": [{"name": "single_split", "pattern": "span-{SPAN}/*"}]},
        range_config={"rolling_range": {"num_spans": count}},
        **given,
    )


def whole(pipeline: Pipeline, data: Path, count: int = 3, **given: Any) -> DAG:
    """Reads a window of spans, describes each, and joins them all."""
    source = read(data, count, **given)
    description = DescribeOperator(examples=source.outputs["examples"])
    comparison = CompareOperator(statistics=description.outputs["statistics"], examples=source.outputs["examples"])
    return pipeline.dag(source, description, comparison, JoinOperator(examples=source.outputs["examples"]))


def executions(pipeline: Pipeline, component_id: str, run_id: str) -> list[Execution]:
    found = pipeline.store.executions(component_id=component_id, run_id=run_id).items
    return sorted(found, key=lambda execution: execution.id)


def states(pipeline: Pipeline, component_id: str, run_id: str) -> list[tuple[int, str]]:
    """The number and state of each part, in the order of their executions."""
    return [(execution.part, execution.state.value) for execution in executions(pipeline, component_id, run_id)]


def outputs(pipeline: Pipeline, component_id: str, key: str, run_id: str) -> list[Any]:
    return pipeline.store.run_outputs(named_run("d", run_id), component_id=component_id, key=key)


def run_one(pipeline: Pipeline, dag: DAG, task_id: str, run_id: str) -> NodeOperator:
    """Runs one task of the run, as Airflow would; returns the copy that ran."""
    context = preview_context(dag, {}, run=named_run(dag.dag_id, run_id))
    node: Any = dag.get_task(task_id)
    given = {
        name: channel.selected(
            pipeline.store.run_outputs(current_run(context), component_id=channel.producer.task_id, key=channel.key)
        )
        for name, channel in node.input_channels().items()
    }
    copy: NodeOperator = node.rendered(context, given)
    copy.run_node(copy.component_run(context))
    return copy


def test_each_span_is_an_execution_and_an_artifact_of_its_own(pipeline: Pipeline, data: Path) -> None:
    pipeline.run(whole(pipeline, data), "first")
    assert states(pipeline, "Read", "first") == [(0, "COMPLETE"), (1, "COMPLETE"), (2, "COMPLETE")]
    assert states(pipeline, "Describe", "first") == [(0, "COMPLETE"), (1, "COMPLETE"), (2, "COMPLETE")]
    assert states(pipeline, "Join", "first") == [(0, "COMPLETE")]
    for component_id, key in (("Read", "examples"), ("Describe", "statistics"), ("Join", "copies")):
        found = outputs(pipeline, component_id, key, "first")
        assert [artifact.properties["span"] for artifact in found] == [1, 2, 3]
        assert [(folder_of(artifact) / "a.txt").read_text() for artifact in found] == ["text 1", "text 2", "text 3"]
    for artifact in outputs(pipeline, "Compare", "anomalies", "first"):
        assert (folder_of(artifact) / "spans").read_text() == str([artifact.properties["span"]] * 2)
    (model,) = outputs(pipeline, "Join", "model", "first")
    assert (folder_of(model) / "saved").read_text() == "text 1 text 2 text 3"
    assert model.properties == {"span": 3}  # the newest that it is of


def test_only_the_new_span_of_a_window_runs(pipeline: Pipeline, data: Path) -> None:
    pipeline.run(whole(pipeline, data), "first")
    write(data, 4, "text 4")
    plan = pipeline.plan(whole(pipeline, data))
    assert plan["Read"].reason == "hit 2 of 3, runs: span 4; span 4 is new"
    assert (plan["Read"].verdict.value, plan["Describe"].verdict.value) == ("run", "unknown")

    pipeline.run(whole(pipeline, data), "second")
    for component_id in ("Read", "Describe", "Compare"):
        assert states(pipeline, component_id, "second") == [(0, "CACHED"), (1, "CACHED"), (2, "COMPLETE")]
    (model,) = outputs(pipeline, "Join", "model", "second")
    assert (folder_of(model) / "saved").read_text() == "text 2 text 3 text 4"
    (joined,) = executions(pipeline, "Join", "second")
    assert [one.properties["span"] for one in pipeline.store.execution_artifacts(joined.id, "INPUT")["examples"]] == [
        2,
        3,
        4,
    ]


def test_a_span_that_changed_runs_again_and_one_that_was_touched_does_not(pipeline: Pipeline, data: Path) -> None:
    pipeline.run(whole(pipeline, data), "first")
    write(data, 2, "corrected")
    write(data, 3, "text 3")
    assert pipeline.plan(whole(pipeline, data))["Read"].reason == (
        "hit 2 of 3, runs: span 2; content of split single_split changed"
    )


def test_a_task_remembers_the_digests_of_its_files_and_a_preview_does_not(
    pipeline: Pipeline, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_mlpipe.storage.known_digests._SETTLED_NS", 0)
    connection = Connection(pipeline.dsn)
    pipeline.plan(whole(pipeline, data))
    assert connection.run("SELECT count(*) AS files FROM mlpipe.file_digest") == [{"files": 0}]
    run_one(pipeline, whole(pipeline, data), "Read", "r")
    assert connection.run("SELECT count(*) AS files FROM mlpipe.file_digest") == [{"files": 3}]
    connection.run("UPDATE mlpipe.file_digest SET digest = 'another'")
    assert pipeline.plan(whole(pipeline, data))["Read"].reason.startswith("hit 0 of 3")  # it read none of the files
    connection.close()


def test_a_plan_that_is_recorded_remembers_the_digests_too(
    pipeline: Pipeline, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that it skips does not."""
    monkeypatch.setattr("airflow_provider_mlpipe.storage.known_digests._SETTLED_NS", 0)
    connection = Connection(pipeline.dsn)
    pipeline.run(whole(pipeline, data), "first")
    connection.run("DELETE FROM mlpipe.file_digest")
    draft = pipeline.draft(whole(pipeline, data))
    assert draft.nodes[0].is_skipped
    assert connection.run("SELECT count(*) AS files FROM mlpipe.file_digest") == [{"files": 0}]
    assert draft.commit(clear=0)
    assert connection.run("SELECT count(*) AS files FROM mlpipe.file_digest") == [{"files": 3}]
    connection.close()


def test_a_plan_records_the_hits_of_all_parts_and_skips_the_task(pipeline: Pipeline, data: Path) -> None:
    pipeline.run(whole(pipeline, data), "first")
    draft = pipeline.draft(whole(pipeline, data))
    assert {node.component_id: (node.verdict.value, node.is_skipped) for node in draft.nodes} == dict.fromkeys(
        ("Read", "Describe", "Compare", "Join"), ("hit", True)
    )
    assert draft.nodes[0].reason == "hit 3 of 3"
    assert draft.commit(clear=0)
    for component_id, key in (("Read", "examples"), ("Describe", "statistics"), ("Join", "copies")):
        earlier = outputs(pipeline, component_id, key, "first")
        assert outputs(pipeline, component_id, key, "next") == earlier
    assert states(pipeline, "Describe", "next") == [(0, "CACHED"), (1, "CACHED"), (2, "CACHED")]
    for before, after in zip(
        executions(pipeline, "Describe", "first"), executions(pipeline, "Describe", "next"), strict=True
    ):
        used = pipeline.store.execution_artifacts
        assert used(after.id, "INPUT") == used(before.id, "INPUT")


def test_a_partial_run_takes_all_parts_of_an_earlier_run(pipeline: Pipeline, data: Path) -> None:
    pipeline.run(whole(pipeline, data), "first")
    write(data, 4, "text 4")
    draft = pipeline.draft(whole(pipeline, data), from_components=["Describe", "Join"])
    assert {node.component_id: node.verdict.value for node in draft.nodes} == {
        "Read": "taken",
        "Describe": "hit",
        "Compare": "hit",
        "Join": "hit",
    }
    assert draft.commit(clear=0)
    assert [one.properties["span"] for one in outputs(pipeline, "Read", "examples", "next")] == [1, 2, 3]


@pytest.mark.parametrize("cache", [True, False, "refresh"])
@pytest.mark.parametrize("act", ["raise", "crash"])
def test_a_part_that_fails_costs_that_part_alone(act: str, cache: Any, pipeline: Pipeline, data: Path) -> None:
    write(data, 2, act)
    with pytest.raises((ExecutorFailedError, ExecutorDiedError)):
        run_one(pipeline, whole(pipeline, data, cache=cache), "Read", "r")
    assert states(pipeline, "Read", "r") == [(0, "COMPLETE"), (1, "FAILED")]
    assert outputs(pipeline, "Read", "examples", "r") == []
    write(data, 2, "mended")
    run_one(pipeline, whole(pipeline, data, cache=cache), "Read", "r")
    assert states(pipeline, "Read", "r")[2:] == [(0, "CACHED"), (1, "COMPLETE"), (2, "COMPLETE")]
    found = outputs(pipeline, "Read", "examples", "r")
    assert [(folder_of(artifact) / "a.txt").read_text() for artifact in found] == ["text 1", "mended", "text 3"]


def test_without_a_cache_a_cleared_task_runs_all_parts_again(pipeline: Pipeline, data: Path) -> None:
    for _ in range(2):
        run_one(pipeline, whole(pipeline, data, cache=False), "Read", "r")
    assert states(pipeline, "Read", "r") == [(0, "COMPLETE"), (1, "COMPLETE"), (2, "COMPLETE")] * 2


def test_a_clear_with_fewer_spans_leaves_none_of_the_earlier_ones(pipeline: Pipeline, data: Path) -> None:
    run_one(pipeline, whole(pipeline, data), "Read", "r")
    run_one(pipeline, whole(pipeline, data, count=1), "Read", "r")
    assert [one.properties["span"] for one in outputs(pipeline, "Read", "examples", "r")] == [3]


def test_a_set_that_is_not_complete_hides_no_earlier_one(pipeline: Pipeline, data: Path) -> None:
    run_one(pipeline, whole(pipeline, data), "Read", "r")
    write(data, 3, "raise")
    with pytest.raises(ExecutorFailedError):
        run_one(pipeline, whole(pipeline, data), "Read", "r")
    assert [one.properties["span"] for one in outputs(pipeline, "Read", "examples", "r")] == [1, 2, 3]


def test_the_part_that_another_run_is_making_is_awaited_last(pipeline: Pipeline, data: Path) -> None:
    dag = whole(pipeline, data)
    node: Any = dag.get_task("Read")
    copy = node.rendered(preview_context(dag, {}, run=named_run("d", "other")), {})
    parts = copy.parts_of(copy.component_run(preview_context(dag, {}, run=named_run("d", "other"))))
    claim = pipeline.store.start_execution(copy.decide(pipeline.store, parts[0]).start)
    with pytest.raises(TaskDeferred):
        run_one(pipeline, whole(pipeline, data), "Read", "r")
    assert states(pipeline, "Read", "r") == [(1, "COMPLETE"), (2, "COMPLETE")]
    pipeline.store.fail(claim, "it was killed")
    run_one(pipeline, whole(pipeline, data), "Read", "r")
    assert states(pipeline, "Read", "r")[2:] == [(1, "CACHED"), (2, "CACHED"), (0, "COMPLETE")]


def test_the_newest_artifacts_of_a_channel(pipeline: Pipeline, data: Path) -> None:
    source = read(data)
    channel = source.outputs["examples"]
    newest = pipeline.dag(
        source,
        JoinOperator(examples=channel.newest(2)),
        DescribeOperator(examples=channel.newest()),
        JoinOperator(task_id="All", examples=channel.newest(9)),
    )
    for task_id in ("Read", "Join", "Describe", "All"):
        run_one(pipeline, newest, task_id, "r")
    assert [one.properties["span"] for one in outputs(pipeline, "Join", "copies", "r")] == [2, 3]
    assert [one.properties["span"] for one in outputs(pipeline, "Describe", "statistics", "r")] == [3]
    assert [one.properties["span"] for one in outputs(pipeline, "All", "copies", "r")] == [1, 2, 3]
    assert pipeline.plan(newest, "next")["Describe"].verdict.value == "hit"
    assert channel.newest(2).serialize() == {**channel.serialize(), "newest": 2}
    assert repr(channel.newest(2)) == "Read.outputs['examples'].newest(2) (Examples)"
    for count in (0, -1, True, "2"):
        with pytest.raises(PipelineError, match="give a whole number, 1 or more"):
            channel.newest(count)  # type: ignore[arg-type]


def test_inputs_with_other_spans_are_refused(pipeline: Pipeline, data: Path) -> None:
    source = read(data)
    description = DescribeOperator(examples=source.outputs["examples"])
    dag = pipeline.dag(
        source,
        description,
        CompareOperator(statistics=description.outputs["statistics"].newest(2), examples=source.outputs["examples"]),
    )
    for task_id in ("Read", "Describe"):
        run_one(pipeline, dag, task_id, "r")
    with pytest.raises(
        InvalidInputError, match=re.escape("of the spans 1, 2, 3, but statistics has 2, of the spans 2, 3")
    ):
        run_one(pipeline, dag, "Compare", "r")


def test_a_gate_fails_with_the_part_that_it_judged(pipeline: Pipeline, data: Path) -> None:
    def gated() -> DAG:
        source = read(data)
        description = DescribeOperator(examples=source.outputs["examples"])
        comparison = CompareOperator(
            statistics=description.outputs["statistics"], examples=source.outputs["examples"], fails="2 3"
        )
        return pipeline.dag(source, description, comparison)

    dag = gated()
    for task_id in ("Read", "Describe"):
        run_one(pipeline, dag, task_id, "r")
    copy = run_one(pipeline, dag, "Compare", "r")
    context = preview_context(dag, {}, run=named_run("d", "r"))
    with pytest.raises(AnomaliesFoundError, match="span 2 has anomalies\nspan 3 has anomalies"):
        copy._check_gate(context, {"anomalies": outputs(pipeline, "Compare", "anomalies", "r")})
    assert [execution.error for execution in executions(pipeline, "Compare", "r")] == [
        None,
        "AnomaliesFoundError: span 2 has anomalies",
        "AnomaliesFoundError: span 3 has anomalies",
    ]
    again = pipeline.plan(gated())["Compare"]
    assert again.verdict.value == "fails"
    assert "span 2 has anomalies" in again.reason


def compared(pipeline: Pipeline, data: Path, count: int = 3, pattern: str = "span-{SPAN}/*") -> DAG:
    """Compares each span with the one before it."""
    spans = {"range_config": {"rolling_range": {"num_spans": count}}} if "SPAN" in pattern else {}
    config = {"splits": [{"name": "single_split", "pattern": pattern}]}
    source = ReadOperator(input_base=str(data), input_config=config, **spans)
    statistics = DescribeOperator(examples=source.outputs["examples"]).outputs["statistics"]
    operators = [source, statistics.producer]
    comparison = CompareOperator(
        statistics=statistics, before=statistics.previous(), examples=source.outputs["examples"]
    )
    return pipeline.dag(*operators, comparison)


def befores(pipeline: Pipeline, run_id: str) -> list[str]:
    found = outputs(pipeline, "Compare", "anomalies", run_id)
    return [(folder_of(artifact) / "before").read_text() for artifact in found]


def test_each_span_is_compared_with_the_one_before_it(pipeline: Pipeline, data: Path) -> None:
    pipeline.run(compared(pipeline, data), "first")
    assert befores(pipeline, "first") == ["nothing", "text 1", "text 2"]
    assert [one.properties["span"] for one in outputs(pipeline, "Compare", "anomalies", "first")] == [1, 2, 3]
    write(data, 4, "text 4")
    write(data, 5, "text 5")
    pipeline.run(compared(pipeline, data, count=2), "second")
    assert befores(pipeline, "second") == ["text 3", "text 4"]  # the first of the window has one outside of it
    again = pipeline.draft(compared(pipeline, data, count=2))
    assert {node.component_id: node.verdict.value for node in again.nodes} == dict.fromkeys(
        ("Read", "Describe", "Compare"), "hit"
    )
    write(data, 4, "corrected")
    pipeline.run(compared(pipeline, data, count=2), "third")
    assert befores(pipeline, "third") == ["text 3", "corrected"]
    assert [state for _, state in states(pipeline, "Compare", "third")] == ["COMPLETE", "COMPLETE"]


def test_what_was_published_before_is_passed_over_without_its_files(pipeline: Pipeline, data: Path) -> None:
    pipeline.run(compared(pipeline, data), "first")
    shutil.rmtree(folder_of(outputs(pipeline, "Describe", "statistics", "first")[1]))
    write(data, 4, "text 4")
    pipeline.run(compared(pipeline, data, count=1), "second")
    assert befores(pipeline, "second") == ["text 3"]
    shutil.rmtree(folder_of(outputs(pipeline, "Describe", "statistics", "first")[2]))
    write(data, 5, "text 5")
    shutil.rmtree(folder_of(outputs(pipeline, "Describe", "statistics", "second")[0]))
    pipeline.run(compared(pipeline, data, count=1), "third")
    assert befores(pipeline, "third") == ["text 1"]


def test_without_spans_it_is_what_was_published_before(pipeline: Pipeline, data: Path) -> None:
    def run(text: str, run_id: str) -> list[str]:
        write(data, 1, text)
        pipeline.run(compared(pipeline, data, pattern="span-1/*"), run_id)
        return befores(pipeline, run_id)

    assert run("a", "1") == ["nothing"]
    assert run("b", "2") == ["a"]
    assert run("b", "3") == ["a"]
    assert run("a", "4") == ["nothing"]


def test_only_an_optional_input_takes_what_was_published_before(data: Path) -> None:
    channel = read(data).outputs["examples"].previous()
    assert channel.serialize()["previous"] == 1
    assert repr(channel) == "Read.outputs['examples'].previous() (Examples)"
    with pytest.raises(PipelineError, match="only an optional input for one artifact takes it"):
        create_dag("d", [channel.producer, DescribeOperator(examples=channel)])  # type: ignore[list-item]


def test_a_window_ends_with_the_span_of_the_run(pipeline: Pipeline, data: Path) -> None:
    def spans(**given: Any) -> list[int]:
        pattern = {"splits": [{"name": "s", "pattern": "span-{SPAN}/*"}]}
        dag = pipeline.dag(ReadOperator(input_base=str(data), input_config=pattern, **given))
        context: Any = preview_context(dag, {}, run=named_run("d", "r"))
        context["dag_run"] = context["dag_run"].model_copy(update={"partition_key": "2"})
        node: Any = dag.get_task("Read")
        copy = node.rendered(context, {})
        return [part.span.number for part in copy.parts_of(copy.component_run(context))]

    assert spans(span=RunSpan()) == [2]
    assert spans(span=RunSpan(offset=1)) == [3]
    assert spans(span=RunSpan(), range_config={"rolling_range": {"num_spans": 2}}) == [1, 2]
    assert spans(span=1) == [1]
    with pytest.raises(InvalidInputError, match="has no file of span 4; it has spans 1-3"):
        spans(span=RunSpan(offset=2))
    with pytest.raises(InvalidInputError, match="span 2 is before"):
        spans(span=RunSpan(), range_config={"rolling_range": {"num_spans": 2, "start_span_number": 3}})


@pytest.mark.parametrize(
    ("pattern", "range_config", "error"),
    [
        ("{SPAN}/{SPAN}", None, "Read: the pattern '{SPAN}/{SPAN}' has {SPAN} twice"),
        ("*", {"rolling_range": {"num_spans": 2}}, "Read: range_config needs a span in input_config"),
        ("{SPAN}", {"rolling_range": {}}, "Read: range_config.rolling_range needs num_spans"),
        ("{SPAN}", {"rolling_range": {"spans": 3}}, "range_config.rolling_range has no 'spans'"),
    ],
)
def test_spans_that_are_asked_for_wrongly(pattern: str, range_config: Any, error: str) -> None:
    with pytest.raises(PipelineError, match=re.escape(error)):
        ReadOperator(
            input_base="/x", input_config={"splits": [{"name": "s", "pattern": pattern}]}, range_config=range_config
        )
    with pytest.raises(PipelineError, match="split b has no span, but a has one"):
        ReadOperator(
            input_base="/x",
            input_config={"splits": [{"name": "a", "pattern": "{SPAN}"}, {"name": "b", "pattern": "*"}]},
        )
