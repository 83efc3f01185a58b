"""The penguins through a real Airflow: pushed, cached, refused, stopped, killed and retried."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from held import Held
from processes import task_of

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState
from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState, MetadataStore
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, examples_digest
from airflow_provider_mlpipe.storage.digests import tree_digest

pytestmark = [pytest.mark.airflow, pytest.mark.heavy]

DAGS = Path(__file__).parents[2] / "dags"
CACHEABLE = {
    "CsvExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Evaluator",
    "Pusher",
}
MINUTES = 60.0
MORE_DAGS = """
import datetime

from airflow_provider_mlpipe import (
    CsvExampleGenOperator, EvaluatorOperator, ExampleValidatorOperator, ImportSchemaGenOperator, PusherOperator,
    RuntimeParameter, SchemaGenOperator, StatisticsGenOperator, TrainerOperator, TransformOperator, create_dag)

EVAL_CONFIG = {{
    "model_specs": [{{"signature_name": "serving_default", "label_key": "species"}}],
    "metrics_specs": [{{
        "metrics": [{{
            "class_name": "SparseCategoricalAccuracy", "threshold": {{"value_threshold": {{"lower_bound": 0.1}}}}}}],
    }}],
}}

# Every executor is killed once: its task's second try must succeed.
default = dict(cache=False, retries=1, retry_delay=datetime.timedelta(seconds=0))
examples = CsvExampleGenOperator(input_base="{root}/data/penguins", **default).outputs["examples"]
statistics = StatisticsGenOperator(examples=examples, **default).outputs["statistics"]
schema = SchemaGenOperator(statistics=statistics, **default).outputs["schema"]
module_file = "{root}/dags/penguins_code/model.py"
transform = TransformOperator(examples=examples, schema=schema, module_file=module_file, **default)
trainer = TrainerOperator(
    examples=transform.outputs["transformed_examples"], transform_graph=transform.outputs["transform_graph"],
    schema=schema, module_file=module_file, train_args={{"num_steps": 100}}, **default)
evaluator = EvaluatorOperator(
    examples=examples, model=trainer.outputs["model"], schema=schema, eval_config=EVAL_CONFIG, **default)
killed = create_dag(
    "penguins_killed",
    [
        examples.producer,
        statistics.producer,
        schema.producer,
        ExampleValidatorOperator(statistics=statistics, schema=schema, fail_on="ERROR", **default),
        transform,
        trainer,
        evaluator,
        PusherOperator(
            model=trainer.outputs["model"], model_blessing=evaluator.outputs["blessing"],
            push_destination={{"filesystem": {{"base_directory": "{root}/serving/killed"}}}}, **default),
    ],
    pipeline_root="{root}/pipelines/killed",
)

examples = CsvExampleGenOperator(input_base="{root}/anomalous").outputs["examples"]
statistics = StatisticsGenOperator(examples=examples).outputs["statistics"]
schema = ImportSchemaGenOperator(schema_file=RuntimeParameter("schema_file", str, "")).outputs["schema"]
gated = create_dag(
    "penguins_gated",
    [
        examples.producer,
        statistics.producer,
        schema.producer,
        ExampleValidatorOperator(statistics=statistics, schema=schema, fail_on="ERROR"),
        TransformOperator(examples=examples, schema=schema, module_file="{root}/dags/penguins_code/model.py"),
    ],
    pipeline_root="{root}/pipelines/gated",
)
"""


class Place(Held):
    """One Airflow with the project's DAGs, its store, and the folders that the runs use."""

    def __init__(self, root: Path, airflow: LocalAirflow) -> None:
        self.root = root
        self.airflow = airflow
        self.barriers = root / "barriers"

    @property
    def store(self) -> MetadataStore:
        return MetadataStore(self.airflow.mlpipe_dsn)

    def run(self, dag_id: str = "penguins", **conf: Any) -> tuple[str, str]:
        """Triggers a run with these parameters and waits; returns its id and state."""
        run_id = self.airflow.trigger(dag_id, conf)
        return run_id, self.airflow.wait(dag_id, run_id, timeout=10 * MINUTES)

    @property
    def serving(self) -> Path:
        return self.root / "serving" / "penguins"

    @property
    def versions(self) -> list[str]:
        """What TensorFlow Serving would see: folders with a number for a name."""
        return sorted(path.name for path in self.serving.iterdir() if path.name.isdigit())

    def executions(self, run_id: str, dag_id: str = "penguins") -> dict[str, Execution]:
        """The last execution of each component in a run."""
        found = self.store.executions(pipeline=dag_id, run_id=run_id).items
        return {execution.component_id: execution for execution in reversed(found)}

    def output(self, run_id: str, component_id: str, key: str, dag_id: str = "penguins") -> Artifact:
        execution = self.executions(run_id, dag_id)[component_id]
        (artifact,) = self.store.execution_artifacts(execution.id, "OUTPUT")[key]
        return artifact

    def failure(self, run_id: str, dag_id: str = "penguins") -> str:
        """The logs of what failed, to be shown by an assertion."""
        failed = [t for t in self.airflow.task_instances(dag_id, run_id) if t.state == "failed"]
        return "\n".join(self.airflow.task_log(dag_id, run_id, t.task_id, t.try_number)[-3000:] for t in failed)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="mlpipe-penguins-"))
    root.chmod(0o755)  # Postgres' user must get through
    (root / "barriers").mkdir()
    dags = root / "dags"
    shutil.copytree(DAGS, dags)
    (dags / "more_penguins.py").write_text(MORE_DAGS.format(root=root))
    environment = {"MLPIPE_HOME": str(root), "MLPIPE_BARRIERS": str(root / "barriers")}
    with LocalAirflow(root / "state", dags, port=0, durable=False, environment=environment) as airflow:
        yield Place(root, airflow)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def first(place: Place) -> str:
    run_id, state = place.run()
    assert state == "success", place.failure(run_id)
    return run_id


def test_a_first_run_trains_and_pushes(place: Place, first: str) -> None:
    executions = place.executions(first)
    assert {name for name, e in executions.items() if e.state is ExecutionState.COMPLETE} == CACHEABLE | {"Resolver"}
    examples = place.output(first, "CsvExampleGen", "examples")
    assert sum(examples.properties["record_counts"].values()) == 344
    assert place.output(first, "Evaluator", "blessing").properties["blessed"] == 1
    pushed = place.output(first, "Pusher", "pushed_model")
    assert pushed.properties["pushed"] == 1
    assert Path(pushed.properties["destination"], "saved_model.pb").is_file()
    assert Path(pushed.properties["destination"]).parent == place.serving


def test_what_is_published_hashes_to_its_digest(place: Place, first: str) -> None:
    assert len(place.store.artifacts(state=ArtifactState.LIVE).items) >= 10
    assert_sound(place.store)


def test_a_second_run_is_cached(place: Place, first: str) -> None:
    run_id, state = place.run()
    assert state == "success", place.failure(run_id)
    cached = {name for name, e in place.executions(run_id).items() if e.state is ExecutionState.CACHED}
    assert cached == CACHEABLE
    states = {task.task_id: task.state for task in place.airflow.task_instances("penguins", run_id)}
    assert {name for name, state in states.items() if state == "skipped"} == CACHEABLE | {"Resolver"}
    assert "equal to execution" in place.airflow.task_log("penguins", run_id, "plan", 1)
    assert len(place.versions) == 1


def test_other_parameter_values_change_what_runs(place: Place, first: str) -> None:
    run_id, state = place.run(train_steps=150)
    assert state == "success", place.failure(run_id)
    executions = place.executions(run_id)
    ran = {name for name, e in executions.items() if e.state is ExecutionState.COMPLETE} - {"Resolver"}
    assert ran == {"Trainer", "Evaluator", "Pusher"}
    assert executions["Trainer"].properties["train_args"] == {"num_steps": 150}
    assert executions["Trainer"].triggered_by == "admin"
    log = place.airflow.task_log("penguins", run_id, "Trainer", 1)
    assert "parameter train_args" in log
    assert place.output(first, "Trainer", "model").id in [
        artifact.id
        for found in place.store.execution_artifacts(executions["Evaluator"].id, "INPUT").values()
        for artifact in found
    ], "the Resolver gives the first blessed model as the baseline"


def test_a_model_of_shuffled_labels_is_not_pushed_and_neither_when_cached(place: Place, first: str) -> None:
    served = place.versions
    for expected in (ExecutionState.COMPLETE, ExecutionState.CACHED):
        run_id, state = place.run(shuffle_labels=True)
        assert state == "success", place.failure(run_id)
        executions = place.executions(run_id)
        assert {executions[name].state for name in ("Trainer", "Evaluator", "Pusher")} == {expected}
        blessing = place.output(run_id, "Evaluator", "blessing")
        assert blessing.properties["blessed"] == 0
        assert "sparse_categorical_accuracy" in blessing.properties["reason"]
        assert Path(blessing.uri, "NOT_BLESSED").is_file()
        assert place.output(run_id, "Pusher", "pushed_model").properties["pushed"] == 0
    assert place.versions == served


def test_an_anomaly_stops_the_run_before_transform_and_again_when_cached(place: Place, first: str) -> None:
    shutil.copytree(place.root / "data" / "penguins", place.root / "anomalous")
    header, penguin, *_ = (place.root / "data" / "penguins" / "penguins.csv").read_text().splitlines()
    strange = penguin.replace("Torgersen", "Atlantis")
    (place.root / "anomalous" / "more.csv").write_text(f"{header}\n{strange}\n")
    schema_file = str(Path(place.output(first, "SchemaGen", "schema").uri, "schema.pbtxt"))
    for expected in (ExecutionState.COMPLETE, ExecutionState.CACHED):
        run_id, state = place.run("penguins_gated", schema_file=schema_file)
        assert state == "failed"
        executions = place.executions(run_id, "penguins_gated")
        assert executions["ExampleValidator"].state is expected, place.failure(run_id, "penguins_gated")
        assert "Transform" not in executions
        assert place.output(run_id, "ExampleValidator", "anomalies", "penguins_gated").state is ArtifactState.LIVE
        states = {t.task_id: t.state for t in place.airflow.task_instances("penguins_gated", run_id)}
        assert states["Transform"] == "upstream_failed"
        log = place.airflow.task_log("penguins_gated", run_id, "ExampleValidator", 1)
        assert "AnomaliesFoundError" in log
        assert "Atlantis" in log


def test_every_component_is_killed_once_and_its_retry_succeeds(place: Place, first: str) -> None:
    """The first executor dies with its task's process, the others alone, each when its outputs are written."""
    components = ["CsvExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform", "Trainer"]
    components += ["Evaluator", "Pusher"]
    for component in components:
        place.hold(f"{component}.executor.after")
    run_id = place.airflow.trigger("penguins_killed")
    killed = []
    for component in components:
        barrier = f"{component}.executor.after"
        executor = place.wait_at(barrier, 2 * MINUTES)
        os.kill(task_of(executor) or 0 if component == "CsvExampleGen" else executor, signal.SIGKILL)
        place.release(barrier)
        killed.append(executor)
    assert place.airflow.wait("penguins_killed", run_id, timeout=5 * MINUTES) == "success"
    executions = place.store.executions(pipeline="penguins_killed", run_id=run_id).items
    assert {(e.component_id, e.try_number, e.state) for e in executions} == {
        (component, *how)
        for component in components
        for how in ((1, ExecutionState.FAILED), (2, ExecutionState.COMPLETE))
    }
    failed = [execution.id for execution in executions if execution.state is ExecutionState.FAILED]
    assert not any(place.store.execution_artifacts(id_, "OUTPUT") for id_ in failed)
    assert not [pid for pid in killed if task_of(pid)]  # not that none has that pid: it may have been given again
    assert_sound(place.store)


def assert_sound(store: MetadataStore) -> None:
    """Every LIVE artifact hashes to its digest."""
    live = store.artifacts(state=ArtifactState.LIVE, limit=1000).items
    assert all(content_digest(artifact) == artifact.digest for artifact in live)


def content_digest(artifact: Artifact) -> str:
    """Of Examples the records count, of anything else the files."""
    if artifact.TYPE_NAME != "Examples":
        return tree_digest(Path(artifact.uri))
    files = {path.parent.name.removeprefix("Split-"): path for path in Path(artifact.uri).rglob(FILE_NAME)}
    return examples_digest({split: sha256(gzip.decompress(path.read_bytes())) for split, path in files.items()})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
