"""What a plan says of a DAG, and why: real store, real executors, no Airflow around them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import parts
import pytest
from airflow.sdk import DAG, task
from named_runs import named_run
from planned import Pipeline
from rights import closed

from airflow_provider_mlpipe.artifacts import ArtifactState, Examples, Model, PropertyType
from airflow_provider_mlpipe.caching import libraries
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.resolver.operator import ResolverOperator
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.metadata.connection import Connection, make_dsn
from airflow_provider_mlpipe.metadata.store import ExecutionState
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.planning.planner import PlannedNode, Verdict
from airflow_provider_mlpipe.planning.preview import preview_context


class GatelessOperator(parts.MakeOperator):
    """A Make whose outputs nobody judges."""

    check_gate = NodeOperator.check_gate


NEXT = named_run("d", "next")


class ProbeOperator(parts.MakeOperator):
    """A Make whose executor imports a library."""

    EXECUTOR = "probe_executor:make"


def make_and_use(**arguments: Any) -> list[NodeOperator]:
    make = parts.MakeOperator(**arguments)
    return [make, parts.UseOperator(examples=make.outputs["examples"])]


def verdicts(nodes: Mapping[str, PlannedNode]) -> dict[str, str]:
    return {name: node.verdict.value for name, node in nodes.items()}


def test_a_first_run_runs_and_what_is_below_is_unknown(pipeline: Pipeline) -> None:
    nodes = pipeline.plan(pipeline.dag(*make_and_use()))
    assert verdicts(nodes) == {"Make": "run", "Use": "unknown"}
    assert nodes["Make"].reason == "first run"
    assert nodes["Use"].reason == "waits for Make"
    assert not any(node.is_skipped for node in nodes.values())
    assert not pipeline.store.executions().items


def test_the_same_again_is_all_hits_and_skipped(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    nodes = pipeline.plan(pipeline.dag(*make_and_use(text=RuntimeParameter("text", str, "hello"))))
    assert verdicts(nodes) == {"Make": "hit", "Use": "hit"}
    assert nodes["Make"].reason == "equal to execution 1"
    assert all(node.is_skipped for node in nodes.values())


Change = Callable[[Path], dict[str, Any]]


def _module(folder: Path, helper: str = "1", own: str = "2") -> dict[str, Any]:
    (folder / "planner_helper.py").write_text(f"x = {helper}")
    (folder / "planner_user.py").write_text(f"import planner_helper\ndef make_text(): return {own!r}")
    return {"module_file": str(folder / "planner_user.py")}


def _cache_file(folder: Path, content: str) -> dict[str, Any]:
    (folder / "vocabulary.txt").write_text(content)
    return {"cache_files": [str(folder / "vocabulary.txt")]}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (lambda _: {"text": "a"}, lambda _: {"text": "b"}, 'parameter text "a" → "b"'),
        (lambda _: {"words": ["a", "b"]}, lambda _: {"words": ["a", "c"]}, 'parameter words[1] "b" → "c"'),
        (_module, lambda folder: _module(folder, own="3"), "user code changed: planner_user.py"),
        (_module, lambda folder: _module(folder, helper="3"), "user code changed: planner_helper.py"),
        (lambda f: _cache_file(f, "a"), lambda f: _cache_file(f, "b"), "file 0 vocabulary.txt changed"),
        (lambda _: {}, lambda _: {"cache": "refresh"}, "cache refreshed"),
        (lambda _: {}, lambda _: {"cache": False}, "caching is off"),
        (lambda _: {"cache": False}, lambda _: {}, "the earlier result is not reusable: caching is off"),
        (
            lambda _: {},
            lambda _: {"cache_ttl": timedelta(microseconds=1)},
            "the equal execution 1 is older than cache_ttl=0:00:00.000001",
        ),
    ],
)
def test_a_change_is_told(pipeline: Pipeline, tmp_path: Path, before: Change, after: Change, reason: str) -> None:
    pipeline.run(pipeline.dag(*make_and_use(**before(tmp_path))))
    nodes = pipeline.plan(pipeline.dag(*make_and_use(**after(tmp_path))))
    assert verdicts(nodes) == {"Make": "run", "Use": "unknown"}
    assert nodes["Make"].reason == reason


def test_an_invalidation_is_told(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    pipeline.store.invalidate(component="Make", reason="invalidated by ada")
    nodes = pipeline.plan(pipeline.dag(*make_and_use()))
    assert nodes["Make"].reason.startswith("the earlier result is not reusable: invalidated by ada at ")


def test_the_nearest_earlier_execution_is_compared_with(pipeline: Pipeline) -> None:
    for run_id, text in (("a", "a"), ("b", "b")):
        pipeline.run(pipeline.dag(*make_and_use(text=text)), run_id)
    nodes = pipeline.plan(pipeline.dag(*make_and_use(text="a", files=4)))
    assert nodes["Make"].reason == "parameter files 3 → 4"


def test_another_version_of_a_library_is_told(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "probe_executor.py").write_text("from parts_executors import *\ndef f(): import planner_probe")
    installed = tmp_path / "planner_probe.dist-info"
    installed.mkdir()
    (installed / "top_level.txt").write_text("planner_probe")
    reasons = []
    for version in ("1.0", "1.1"):
        (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: planner-probe\nVersion: {version}\n")
        libraries._providers.cache_clear()
        reasons.append(pipeline.plan(pipeline.dag(ProbeOperator()))["Probe"].reason)
        pipeline.run(pipeline.dag(ProbeOperator()), f"with {version}")
    assert reasons == ["first run", "library planner-probe 1.0 → 1.1"]


def test_lost_and_changed_files_are_told_by_a_look_and_marked_by_a_run(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    made = pipeline.root / "Make" / "examples" / "1"
    content = (made / "0.txt").read_text()
    (made / "0.txt").write_text(content.upper())
    strict = pipeline.dag(*make_and_use(), verify="digest")
    told = f"outputs missing: the files in {made} have changed since they were published"
    for dag in (strict, pipeline.dag(*make_and_use())):
        assert pipeline.plan(dag)["Make"].reason == told
    pipeline.run(pipeline.dag(*make_and_use(), verify="digest"), "again")
    again = pipeline.root / "Make" / "examples" / "3"
    (again / "0.txt").unlink()
    lost = pipeline.plan(pipeline.dag(*make_and_use()))["Make"].reason
    found, published = "2 files with 10 bytes", "3 files and 15 bytes"
    assert lost == f"outputs missing: {again} has {found}, but was published with {published}"
    pipeline.store.mark_missing([3])
    assert pipeline.plan(pipeline.dag(*make_and_use()))["Make"].reason.endswith("its outputs are missing")


def test_an_older_equal_result_is_a_hit_where_the_newest_is_lost(pipeline: Pipeline) -> None:
    for run_id in ("older", "newer"):
        pipeline.run(pipeline.dag(*make_and_use(), cache="refresh"), run_id)
    shutil.rmtree(pipeline.root / "Make" / "examples" / "3")
    assert pipeline.plan(pipeline.dag(*make_and_use()))["Make"].reason == "equal to execution 1"
    pipeline.run(pipeline.dag(*make_and_use()), "third")
    assert pipeline.store.executions(component_id="Make").items[0].cached_from == 1
    assert [artifact.id for artifact in pipeline.store.artifacts(state=ArtifactState.MISSING).items] == [3]


def _all_rows(dsn: str) -> dict[str, Any]:
    connection = Connection(dsn)
    names = connection.run("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'mlpipe'")
    rows = {
        row["name"]: connection.run(f"SELECT to_jsonb(t) AS row FROM mlpipe.{row['name']} t ORDER BY 1")
        for row in names
    }
    connection.close()
    return rows


def test_a_preview_writes_nothing(pipeline: Pipeline, database: str) -> None:
    """Whatever has become of the files, and on a connection that may only read."""

    def with_resolver(text: str) -> list[NodeOperator]:
        return [*make_and_use(text=text), ResolverOperator(strategy="LatestArtifact", artifact_type=Model)]

    for text in ("lost", "changed", "closed"):
        pipeline.run(pipeline.dag(*with_resolver(text)), text)
    lost, changed, out_of_reach = (pipeline.root / "Make" / "examples" / number for number in ("1", "4", "7"))
    shutil.rmtree(lost)
    (changed / "0.txt").unlink()
    shutil.rmtree(pipeline.root / "Use" / "model" / "9")
    before = _all_rows(database)
    reader = Pipeline(make_dsn(dsn=database, options="-c default_transaction_read_only=on"), pipeline.root)
    reasons = {}
    with closed(out_of_reach):
        for text in ("lost", "changed", "closed", "new"):
            dag = reader.dag(*with_resolver(text))
            reasons[text] = reader.plan(dag)["Make"].reason.split(str(pipeline.root))[0]
        with pytest.raises(InvalidInputError, match="in run changed, "):
            reader.plan(reader.dag(*make_and_use()), from_components=["Use"], base_run_id="changed")
    with pytest.raises(TransientError, match="read-only transaction"):
        reader.store.mark_missing([1])
    reader.store.close()
    assert reasons == {
        "lost": "outputs missing: ",
        "changed": "outputs missing: ",
        "closed": "an equal result cannot be used: ",
        "new": 'parameter text "closed" → "new"',
    }
    assert _all_rows(database) == before


def test_another_pipelines_result_counts_unless_the_scope_is_this_one(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use(), dag_id="other"))
    assert pipeline.plan(pipeline.dag(*make_and_use()))["Make"].verdict is Verdict.HIT
    own = pipeline.plan(pipeline.dag(*make_and_use(), cache_scope="pipeline"))
    assert own["Make"].reason == "first run"


def test_a_new_span_is_told(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for span, content in ((4, "a"), (5, "b")):
        (tmp_path / "data" / "file").write_text(content)
        importer = ImporterOperator(
            source_uri=str(tmp_path / "data"), artifact_type=Examples, properties={"span": span}, task_id="examples"
        )
        dag = pipeline.dag(importer, parts.UseOperator(examples=importer.outputs["result"]))
        nodes = pipeline.plan(dag)
        assert nodes["examples"].verdict is Verdict.RESOLVED
        assert nodes["examples"].is_skipped
        assert nodes["Use"].reason == ("first run" if span == 4 else "input examples: span 5 is new")
        pipeline.run(dag, f"span {span}")


def test_a_double_that_is_given_as_an_int_is_the_same(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    class Scored(Examples):
        PROPERTIES = Examples.PROPERTIES | {"score": PropertyType.DOUBLE}

    def dag(score: float) -> DAG:
        importer = ImporterOperator(
            source_uri=str(tmp_path / "data"), artifact_type=Scored, properties={"score": score}, task_id="examples"
        )
        return pipeline.dag(importer, parts.UseOperator(examples=importer.outputs["result"]))

    pipeline.run(dag(1))
    assert pipeline.plan(dag(1))["Use"].verdict is Verdict.HIT
    assert pipeline.plan(dag(1.0))["Use"].verdict is Verdict.HIT


def test_a_file_is_imported_only_as_a_type_that_is_one_file(pipeline: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "my.pbtxt"
    file.touch()

    def dag(artifact_type: str) -> DAG:
        return pipeline.dag(ImporterOperator(source_uri=str(file), artifact_type=artifact_type))

    pipeline.run(dag("Schema"))
    (found,) = pipeline.plan(dag("Schema"))["Importer"].outputs["result"]
    assert (found.uri, found.TYPE_NAME) == (str(file), "Schema")
    with pytest.raises(InvalidInputError, match=r"^Importer.source_uri: .* is a file, but Model is a folder: put"):
        pipeline.run(dag("Model"))
    file.unlink()
    with pytest.raises(InvalidInputError, match=r"^source_uri: .*my\.pbtxt does not exist; give a path"):
        pipeline.run(dag("Schema"))


def test_what_is_below_another_kind_of_task_is_unknown(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    dag = pipeline.dag(*make_and_use())
    with dag:

        @task
        def fetch() -> None: ...

        fetch() >> dag.get_task("Make")
    nodes = pipeline.plan(dag)
    assert verdicts(nodes) == {"Make": "unknown", "Use": "unknown"}
    assert [node.reason for node in nodes.values()] == ["waits for fetch", "waits for Make"]
    above = pipeline.dag(*make_and_use())
    with above:
        fetch() >> above.get_task("plan")
    assert verdicts(pipeline.plan(above)) == {"Make": "hit", "Use": "hit"}


def test_a_hit_that_another_kind_of_task_follows_is_not_skipped(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    dag = pipeline.dag(*make_and_use())
    with dag:

        @task
        def notify() -> None: ...

        dag.get_task("Make") >> notify()
    nodes = pipeline.plan(dag)
    assert {name: (node.verdict.value, node.is_skipped) for name, node in nodes.items()} == {
        "Make": ("hit", False),
        "Use": ("hit", True),
    }


def test_a_follower_that_a_skip_would_take_along_keeps_a_hit_from_being_skipped(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    make = parts.MakeOperator()
    use = parts.UseOperator(examples=make.outputs["examples"], trigger_rule="all_success")
    assert not pipeline.plan(pipeline.dag(make, use))["Make"].is_skipped


def test_a_shut_gate_is_left_to_its_task(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    nodes = pipeline.plan(pipeline.dag(*make_and_use(shut=True)))
    assert verdicts(nodes) == {"Make": "fails", "Use": "unknown"}
    assert "its gate fails" in nodes["Make"].reason
    assert not nodes["Make"].is_skipped


def test_what_only_the_task_knows_is_unknown(pipeline: Pipeline) -> None:
    nodes = pipeline.plan(pipeline.dag(*make_and_use(text="{{ ti.xcom_pull('other') }}")))
    assert nodes["Make"].reason == "its text is known only in its task: {{ ti.xcom_pull('other') }}"
    day = pipeline.plan(pipeline.dag(*make_and_use(text="{{ ds }}")))
    assert day["Make"].verdict is Verdict.RUN
    assert pipeline.plan(pipeline.dag(*make_and_use(params={"a": 1})))["Make"].reason == "it has Params of its own"


def _fail() -> None:
    raise RuntimeError("a macro of the user's")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"module_file": "/no/such.py"}, "UserCodeError: "),
        ({"cache_files": ["loop"]}, "InvalidInputError: cache_files: loop cannot be read"),
        ({"text": "{{ no_such_thing.x }}"}, "InvalidInputError: Make: the template in text cannot be rendered: 'no_"),
        ({"text": "{{ ds "}, "InvalidInputError: Make: the template in text cannot be rendered: unexpected end"),
        ({"text": "{{ fail() }}"}, "RuntimeError: a macro of the user's"),
    ],
)
def test_a_problem_of_a_component_is_told_and_left_to_its_task(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Mapping[str, Any], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    other = parts.MakeOperator(task_id="Other")
    nodes = pipeline.plan(pipeline.dag(*make_and_use(**arguments), other, user_defined_macros={"fail": _fail}))
    assert verdicts(nodes) == {"Make": "fails", "Other": "run", "Use": "unknown"}
    assert nodes["Make"].reason.startswith(reason)


def test_a_partial_run_renders_what_it_runs(pipeline: Pipeline) -> None:
    def dag(text: str) -> DAG:
        make = GatelessOperator(text=text)
        return pipeline.dag(
            make, parts.UseOperator(examples=make.outputs["examples"]), user_defined_macros={"fail": _fail}
        )

    pipeline.run(dag("hello"))
    assert verdicts(pipeline.plan(dag("{{ fail() }}"), from_components=["Use"])) == {"Gateless": "taken", "Use": "hit"}


def test_a_resolver_is_pinned(pipeline: Pipeline) -> None:
    def dag() -> DAG:
        make = parts.MakeOperator()
        resolver = ResolverOperator(strategy="LatestArtifact", artifact_type=Examples)
        made = pipeline.dag(make, resolver, parts.UseOperator(examples=resolver.outputs["result"]))
        made.get_task("Make") >> made.get_task("Resolver")
        return made

    pipeline.run(dag())
    nodes = pipeline.plan(dag())
    assert verdicts(nodes) == {"Make": "hit", "Resolver": "resolved", "Use": "hit"}
    assert nodes["Resolver"].reason == "found 1"


# Committing


def commit(pipeline: Pipeline, dag: DAG, run_id: str = "next", clear: int = 0, **params: Any) -> bool:
    return pipeline.draft(dag, run_id, **params).commit(clear=clear)


def test_an_input_that_cannot_change_the_output_is_read_and_makes_no_miss(pipeline: Pipeline) -> None:
    """Here it is what the component has published last, as Transform's analyzer cache is."""

    def dag(text: str = "hello") -> DAG:
        make = parts.MakeOperator(text=text)
        latest = ResolverOperator(strategy="LatestArtifact", artifact_type=Model)
        return pipeline.dag(
            make, latest, parts.MaybeOperator(examples=make.outputs["examples"], hint=latest.outputs["result"])
        )

    assert verdicts(pipeline.plan(dag())) == {"Make": "run", "Resolver": "resolved", "Maybe": "unknown"}
    pipeline.run(dag(), run_id="first")
    nodes = pipeline.plan(dag())
    assert verdicts(nodes) == {"Make": "hit", "Resolver": "resolved", "Maybe": "hit"}
    assert nodes["Resolver"].outputs != {"result": []}

    pipeline.run(dag("another"), run_id="second")
    first, second = (
        pipeline.store.executions(pipeline="d", run_id=run_id, component_id="Maybe").items[0]
        for run_id in ("first", "second")
    )
    assert (first.state, second.state) == (ExecutionState.COMPLETE, ExecutionState.COMPLETE)
    (model,) = pipeline.store.execution_artifacts(first.id, "OUTPUT")["model"]
    assert "hint" not in pipeline.store.execution_artifacts(first.id, "INPUT")
    assert pipeline.store.execution_artifacts(second.id, "INPUT")["hint"] == [model]
    assert not [part for part in second.fingerprint_parts if "hint" in part]


def test_a_plan_is_committed_once_with_what_it_found(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    def dag() -> DAG:
        importer = ImporterOperator(source_uri=str(tmp_path / "data"), artifact_type=Examples)
        return pipeline.dag(importer, parts.UseOperator(examples=importer.outputs["result"]))

    pipeline.run(dag())
    assert commit(pipeline, dag())
    assert not commit(pipeline, dag())
    recorded = pipeline.store.executions(run_id="next").items
    assert [(each.component_id, each.state, each.try_number) for each in reversed(recorded)] == [
        ("Importer", ExecutionState.COMPLETE, 0),
        ("Use", ExecutionState.CACHED, 0),
    ]
    tasks = pipeline.store.plan(NEXT, clear=0)
    assert tasks is not None
    assert [task.part_set for task in tasks] == [each.part_set for each in reversed(recorded)]
    (model,) = pipeline.store.run_outputs(NEXT, component_id="Use", key="model")
    assert isinstance(model, Model)
    used = pipeline.store.execution_artifacts(recorded[0].id, "INPUT")["examples"]
    assert used == pipeline.store.run_outputs(NEXT, component_id="Importer", key="result")
    assert commit(pipeline, dag(), clear=1)


def test_a_resolver_finds_what_the_nodes_above_it_publish_in_the_same_run(pipeline: Pipeline, tmp_path: Path) -> None:
    """As it does when their tasks run one after the other."""
    folder = tmp_path / "data"
    folder.mkdir()

    def dag(dag_id: str) -> DAG:
        make = parts.MakeOperator()
        newest = ResolverOperator(task_id="Newest", strategy="LatestArtifact", artifact_type=Examples)
        importer = ImporterOperator(source_uri=str(folder), artifact_type=Model)
        latest = ResolverOperator(task_id="Latest", strategy="LatestArtifact", artifact_type=Model)
        maybe = parts.MaybeOperator(examples=newest.outputs["result"], hint=latest.outputs["result"])
        made = pipeline.dag(make, newest, importer, latest, maybe, dag_id=dag_id)
        made.set_dependency("Make", "Newest")
        made.set_dependency("Importer", "Latest")
        return made

    pipeline.run(pipeline.dag(parts.MakeOperator(), dag_id="elsewhere"))
    pipeline.run(dag("d"))
    (folder / "added").touch()
    before = pipeline.store.artifacts().items
    assert {name: node.verdict.value for name, node in pipeline.plan(dag("other")).items()} == {
        "Make": "hit", "Newest": "resolved", "Importer": "resolved", "Latest": "resolved", "Maybe": "hit",
    }  # fmt: skip
    assert pipeline.store.artifacts().items == before
    assert not pipeline.store.contexts(name="other").items

    for dag_id in ("d", "other"):
        assert pipeline.draft(dag(dag_id)).commit(clear=0)
        newest, latest, imported = (
            pipeline.store.run_outputs(named_run(dag_id, "next"), component_id=name, key="result")
            for name in ("Newest", "Latest", "Importer")
        )
        assert [artifact.uri for artifact in newest] == [str(pipeline.root / "Make/examples/1")]
        assert latest == imported
        assert latest[0].id > max(artifact.id or 0 for artifact in before)


def test_a_plan_whose_hits_are_gone_when_it_commits_records_nothing(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*make_and_use()))
    draft = pipeline.draft(pipeline.dag(*make_and_use()))
    pipeline.store.mark_missing([2])
    with pytest.raises(TransientError, match="not all LIVE any more"):
        draft.commit(clear=0)
    assert pipeline.store.plan(NEXT, clear=0) is None
    assert not pipeline.store.executions(run_id="next").items


def test_the_plan_ends_what_dead_workers_left_running(pipeline: Pipeline, database: str) -> None:
    dag = pipeline.run(pipeline.dag(*make_and_use()))
    (made,) = pipeline.store.executions(component_id="Make").items
    Connection(database).run(
        "UPDATE mlpipe.execution SET state = 'RUNNING', claim_token = gen_random_uuid(), ended_at = NULL,"
        " heartbeat_at = heartbeat_at - interval '61 seconds' WHERE component_id = 'Make'"
    )
    tasks = dag.get_task("plan")._committed(pipeline.store, preview_context(dag, {}, run=NEXT))
    assert [task.verdict for task in tasks] == ["run", "unknown"]
    ended = pipeline.store.execution(made.id)
    assert ended is not None
    assert ended.state is ExecutionState.ABANDONED


# Partial runs


def chain(**arguments: Any) -> list[NodeOperator]:
    first = parts.MakeOperator(task_id="first", **arguments)
    second = parts.UseOperator(task_id="second", examples=first.outputs["examples"])
    side = parts.UseOperator(task_id="side", examples=first.outputs["examples"])
    return [first, second, side]


def test_a_partial_run_takes_what_it_needs_from_the_latest_run(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(*chain()), "older")
    pipeline.run(pipeline.dag(*chain(text="b")), "newer")
    dag = pipeline.dag(*chain(text="c"))
    nodes = pipeline.plan(dag, from_components=["second"])
    assert verdicts(nodes) == {"first": "taken", "second": "hit", "side": "left out"}
    assert nodes["first"].reason == "from run newer"
    assert nodes["first"].is_skipped
    assert nodes["side"].is_skipped
    older = pipeline.plan(dag, from_components=["second"], base_run_id="older")
    assert older["first"].reason == "from run older"
    assert commit(pipeline, dag, from_components=["second"])
    recorded = {each.component_id: each for each in pipeline.store.executions(run_id="next").items}
    assert recorded.keys() == {"first", "second"}
    assert recorded["first"].environment == {"taken_from_run": "newer"}
    assert recorded["first"].state is ExecutionState.CACHED
    assert recorded["first"].properties["text"] == "b"


def test_a_hit_may_do_without_an_optional_input_that_is_left_out(pipeline: Pipeline) -> None:
    pipeline.run(pipeline.dag(parts.MaybeOperator()))
    resolver = ResolverOperator(strategy="LatestArtifact", artifact_type=Examples)
    dag = pipeline.dag(resolver, parts.MaybeOperator(examples=resolver.outputs["result"]))
    assert verdicts(pipeline.plan(dag, skip_components=["Resolver"])) == {"Resolver": "left out", "Maybe": "hit"}
    assert commit(pipeline, dag, skip_components=["Resolver"])
    assert [each.component_id for each in pipeline.store.executions(run_id="next").items] == ["Maybe"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"to_components": ["second"]}, {"first": "hit", "second": "hit", "side": "left out"}),
        ({"skip_components": ["side"]}, {"first": "hit", "second": "hit", "side": "left out"}),
        ({"skip_components": ["first"]}, {"first": "taken", "second": "hit", "side": "hit"}),
        ({"from_components": ["second", "side"]}, {"first": "taken", "second": "hit", "side": "hit"}),
        ({"from_components": [], "to_components": []}, {"first": "hit", "second": "hit", "side": "hit"}),
    ],
)
def test_what_is_chosen(pipeline: Pipeline, params: Mapping[str, Any], expected: Mapping[str, str]) -> None:
    pipeline.run(pipeline.dag(*chain()))
    assert verdicts(pipeline.plan(pipeline.dag(*chain()), **params)) == expected


def test_a_partial_run_that_cannot_be(pipeline: Pipeline) -> None:
    dag = pipeline.dag(*chain())
    with pytest.raises(
        InvalidInputError, match="first cannot be taken from an earlier run: no run has all that is needed"
    ):
        pipeline.plan(dag, from_components=["second"])
    with pytest.raises(InvalidInputError, match="no component is left to run from second to first"):
        pipeline.plan(dag, from_components=["second"], to_components=["first"])
    with pytest.raises(InvalidInputError, match="there is no earlier run lost"):
        pipeline.plan(dag, from_components=["second"], base_run_id="lost")
    pipeline.run(dag)
    (pipeline.root / "first" / "examples" / "1" / "0.txt").unlink()
    with pytest.raises(
        InvalidInputError, match=r"first cannot be taken from an earlier run: in run earlier, .*has 2 files"
    ):
        pipeline.plan(dag, from_components=["second"])


def test_params_that_do_not_fit(pipeline: Pipeline) -> None:
    dag = pipeline.dag(*chain())
    with pytest.raises(InvalidInputError, match=r"has no Param colour; it has: base_run_id, from_components"):
        preview_context(dag, {"colour": "red"})
    with pytest.raises(InvalidInputError, match="the Params are not valid"):
        preview_context(dag, {"from_components": ["no such"]})


def test_components_are_asked_for_what_they_would_do() -> None:
    with pytest.raises(NotImplementedError):
        NodeOperator.decide(ComponentOperator.__new__(ComponentOperator), None, None)  # type: ignore[arg-type]
