"""docs/your_own_data.md: its files run from nothing, and what it says of them is so."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from code_files import printed
from csv_data import statistics_of
from google.protobuf import text_format
from little_airflow import LittleAirflow
from pages import files_of, text_of
from planned import parsed
from tensorflow_metadata.proto.v0 import schema_pb2
from validations import DEFAULTS

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, Schema
from airflow_provider_mlpipe.components.example_validator import executor as example_validator
from airflow_provider_mlpipe.execution import warm
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.store import Execution, MetadataStore
from airflow_provider_mlpipe.records.inputs import write_schema
from airflow_provider_mlpipe.settings import airflow_home

pytestmark = pytest.mark.heavy

PAGE = "docs/your_own_data.md"
COMPONENTS = [
    "CsvExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Evaluator",
    "Pusher",
]
(SAMPLE,) = re.findall(r"```text\n(customer,.*?)```", text_of(PAGE), re.DOTALL)
(FROZEN,) = re.findall(r"```python\n(schema_gen = .*?\n)```", text_of(PAGE))
PREDICTIONS = """
import json
import predict

def churned(**row):
    examples = predict.tf.constant([predict.serialized(row)])
    return predict.predict(examples=examples)["churned"].numpy().item()

def refused(**row):
    try:
        return churned(**row)
    except predict.tf.errors.InvalidArgumentError as error:
        return str(error)

print(json.dumps({
    "page": predict.predicted["churned"].numpy().ravel().tolist(),
    "whole row": churned(plan="basic", calls=5, customer="C1", churned="no"),
    "unknown text": churned(plan="student", calls=5, city="Atlantis"),
    "no dense column": refused(plan="basic"),
    "other type": refused(plan="basic", calls=5, minutes=120),
}))
"""


def rows(number: int) -> str:
    """Customers as on the page; those who call often, or have the plan `basic`, leave."""
    drawn = random.Random(number)
    text = io.StringIO()
    writer = csv.DictWriter(text, SAMPLE.splitlines()[0].split(","), lineterminator="\n")
    writer.writeheader()
    for customer in range(number):
        plan, calls = drawn.choice(["basic", "plus", "family"]), drawn.randrange(6)
        writer.writerow(
            {
                "customer": f"C{customer:05}",
                "age": drawn.choice(["", str(drawn.randrange(18, 80))]),
                "plan": plan,
                "city": drawn.choice(["Bern", "Zürich", "Genève", ""]),
                "minutes": drawn.choice(["NA", f"{drawn.uniform(0, 400):.1f}"]),
                "calls": calls,
                "churned": "yes" if calls + 2 * (plan == "basic") + drawn.random() > 4 else "no",
            }
        )
    return text.getvalue()


class World:
    """A folder for what the page has in `/data`, `/srv` and `dags/`, and an Airflow with a store of its own."""

    def __init__(self, folder: Path, store: MetadataStore) -> None:
        self.data, self.serving, self.dags = folder / "customers", folder / "models", folder / "dags"
        self.data.mkdir()
        self.dags.mkdir()
        self.store = store
        self.airflow = LittleAirflow(store)
        (self.data / "page.csv").write_text(SAMPLE)
        (self.data / "more.csv").write_text(rows(400))
        places = {"/data/customers": self.data, "/srv/models/customers": self.serving, "/data/pipelines": folder}
        for name, text in files_of(PAGE).items():
            for place, here in places.items():
                text = text.replace(place, str(here))
            (self.dags / name).write_text(text)

    def run(self, run_id: str, file: str = "customers.py") -> dict[str, str]:
        """The states of the tasks of a run."""
        self.airflow.trigger(parsed(self.dags / file), run_id)
        return {task_id: str(state) for task_id, state in self.airflow.runs[run_id].states.items()}

    def executions(self, run_id: str) -> Sequence[Execution]:
        return self.store.executions(run_id=run_id).items

    def schema_file(self) -> Path:
        (schema,) = self.store.latest_artifacts("Schema", pipeline="customers", limit=1)
        return Path(schema.uri, "schema.pbtxt")


@pytest.fixture(scope="module")
def world(
    postgres_server: EmbeddedPostgres, _migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    store = MetadataStore(postgres_server.create_database("your_own_data", template=_migrated))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AIRFLOW__MLPIPE__PIPELINE_ROOT", str(folder / "root"))
        yield World(folder, store)
    warm.stop(airflow_home())
    store.close()
    postgres_server.drop_database("your_own_data")


@pytest.fixture(scope="module")
def first(world: World) -> dict[str, str]:
    states = world.run("first")
    assert states == dict.fromkeys(["plan", *COMPONENTS], "success"), [one.error for one in world.executions("first")]
    return states


@pytest.fixture(scope="module")
def frozen(world: World, first: dict[str, str]) -> dict[str, str]:
    """A run with the schema that the first one inferred."""
    shutil.copy(world.schema_file(), world.dags / "customers.pbtxt")
    dag_file = world.dags / "customers.py"
    imported = dag_file.read_text().replace("    SchemaGenOperator,", "    ImportSchemaGenOperator,")
    dag_file.write_text(imported.replace("schema_gen = SchemaGenOperator(statistics=statistics)\n", FROZEN))
    return world.run("frozen")


def test_the_pages_files_are_those_that_run_here() -> None:
    names = ["customers", "customers_features", "customers_model", "predict", "customers_plain"]
    assert list(files_of(PAGE)) == [f"{name}.py" for name in names]


def test_it_pushes_a_model_that_predicts(world: World, first: dict[str, str]) -> None:
    said = json.loads(printed(PREDICTIONS, world.dags).splitlines()[-1])
    will_leave, will_stay = said["page"]
    assert will_leave > 0.9 > 0.1 > will_stay
    assert said["whole row"] > 0.9
    assert 0 < said["unknown text"] < 1
    assert "calls" in said["no dense column"]
    assert "minutes" in said["other type"]


def test_with_a_schema_that_is_kept_everything_else_is_cached(world: World, frozen: dict[str, str]) -> None:
    found = {execution.component_id: execution.state.value for execution in world.executions("frozen")}
    others = dict.fromkeys(COMPONENTS, "CACHED") | {"ImportSchemaGen": "COMPLETE"}
    assert found == {name: state for name, state in others.items() if name != "SchemaGen"}


def test_new_data_that_the_kept_schema_does_not_allow_stops_the_run(world: World, frozen: dict[str, str]) -> None:
    new = world.data / "new.csv"
    new.write_text(SAMPLE.replace("basic", "student"))
    states = world.run("new")
    new.unlink()
    assert (states["ExampleValidator"], states["Transform"]) == ("failed", "upstream_failed")
    assert {execution.component_id for execution in world.executions("new")} == {
        "CsvExampleGen",
        "StatisticsGen",
        "ImportSchemaGen",
        "ExampleValidator",
    }


def test_in_a_plain_dag_every_task_looks_for_its_hit(world: World, first: dict[str, str]) -> None:
    assert world.run("plain", "customers_plain.py") == {"CsvExampleGen": "success", "StatisticsGen": "success"}
    assert {execution.state.value for execution in world.executions("plain")} == {"CACHED"}


def feature(schema: schema_pb2.Schema, name: str) -> schema_pb2.Feature:
    return next(one for one in schema.feature if one.name == name)


def student_is_a_plan(schema: schema_pb2.Schema) -> None:
    next(domain for domain in schema.string_domain if domain.name == "plan").value.append("student")


NEW_DATA = [
    ("Unexpected string values", {"plan": "student"}, student_is_a_plan),
    ("Unexpected string values", {"plan": "student"}, lambda schema: feature(schema, "plan").ClearField("domain")),
    ("Feature shape dropped", {"calls": ""}, lambda schema: feature(schema, "calls").ClearField("shape")),
    ("Unexpected data type", {"age": "3.5"}, lambda schema: setattr(feature(schema, "age"), "type", schema_pb2.FLOAT)),
    ("New column", {"since": "2024"}, lambda schema: schema.feature.add(name="since", type=schema_pb2.INT)),
    ("Column dropped", {"city": None}, lambda schema: schema.feature.remove(feature(schema, "city"))),
]
"""The anomaly, what is new in a row, and the change of the schema; a column that is None is gone."""


def test_the_page_lists_what_is_tried_here() -> None:
    listed = re.findall(r"^\| [^|]* \| `([A-Z][a-z ]*)` \|", text_of(PAGE), re.MULTILINE)
    assert listed == list(dict.fromkeys(anomaly for anomaly, _, _ in NEW_DATA))


@pytest.mark.parametrize(("anomaly", "new", "change"), NEW_DATA)
def test_a_change_of_the_schema_allows_new_data(
    anomaly: str,
    new: dict[str, str | None],
    change: Callable[[schema_pb2.Schema], Any],
    world: World,
    frozen: dict[str, str],
    tmp_path: Path,
    empty: Callable[..., Any],
    context: Callable[[], ExecutorContext],
) -> None:
    splits = {"train": with_new(rows(400).replace("NA", ""), new)}
    statistics = statistics_of(tmp_path, splits)
    schema = text_format.Parse((world.dags / "customers.pbtxt").read_text(), schema_pb2.Schema())

    def anomalies() -> set[tuple[str, str]]:
        kept = empty(Schema)
        write_schema(kept, schema)
        found = example_validator.run(
            statistics=statistics,
            schema=kept,
            **DEFAULTS,
            anomalies=empty(ExampleAnomalies),
            context=context(),
        )["anomalies"].custom_properties["anomalies"]["train"]
        return {(name, one["short"]) for name, described in found.items() for one in described}

    (column,) = new
    assert anomalies() == {(column, anomaly)}
    change(schema)
    assert anomalies() == set()


def with_new(text: str, new: dict[str, str | None]) -> str:
    """The table with the new cells in its first row."""
    first, *others = csv.DictReader(io.StringIO(text))
    columns = [name for name in {**first, **new} if new.get(name, "") is not None]
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([{**first, **new}, *others])
    return written.getvalue()
