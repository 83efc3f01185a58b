"""The example DAGs: what they consist of, that they parse lightly, and that code and data fit each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DAGS = Path(__file__).parents[3] / "dags"
CHAIN = [
    "prepare_data",
    "plan",
    "CsvExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Evaluator",
]


@pytest.mark.parametrize(("name", "schema_gen"), [("flight_delays", "ImportSchemaGen"), ("penguins", "SchemaGen")])
def test_the_chain(load: Callable[[str], ModuleType], name: str, schema_gen: str) -> None:
    dag = load(name).dag
    assert dag.dag_id == name
    assert set(dag.task_ids) == {*CHAIN, schema_gen, "Resolver", "Pusher"}
    for upstream, task_id in zip(CHAIN, [*CHAIN[1:], "Pusher"], strict=True):
        assert upstream in dag.get_task(task_id).get_flat_relative_ids(upstream=True)
    assert dag.get_task("plan").upstream_task_ids == {"prepare_data"}
    assert dag.get_task("Resolver").upstream_task_ids == {"Trainer"}


@pytest.mark.parametrize("name", ["flight_delays", "penguins"])
def test_every_parameter_is_described_and_paths_are_below_home(load: Callable[[str], ModuleType], name: str) -> None:
    module = load(name)
    params = {key: module.dag.params.get_param(key) for key in module.dag.params}
    assert {"data_dir", "push_dir", "train_steps", "learning_rate"} <= params.keys()
    assert all(param.description for param in params.values())
    assert Path(params["data_dir"].value).is_relative_to(os.environ["MLPIPE_HOME"])
    assert Path(module.dag.get_task("Trainer").pipeline_root).is_relative_to(os.environ["MLPIPE_HOME"])


@pytest.mark.parametrize("name", ["flight_delays", "penguins"])
def test_a_dag_file_parses_without_heavy_libraries(name: str, tmp_path: Path) -> None:
    check = (
        f"import sys, {name}\n"
        "heavy = {'tensorflow', 'apache_beam', 'keras', 'numpy', 'pandas', 'pyarrow'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(DAGS)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", check], check=True, env=environment)


def test_the_curated_schema_has_exactly_the_columns_of_the_data(flight_data: ModuleType) -> None:
    named = re.findall(r'^  name: "(\w+)"', (DAGS / "flights" / "schema.pbtxt").read_text(), re.MULTILINE)
    assert sorted(name for name in set(named)) == sorted(flight_data.COLUMNS)


def test_a_request_holds_neither_label_nor_weight() -> None:
    features = (DAGS / "flights" / "schema.pbtxt").read_text().split("feature {")
    outcome = [feature for feature in features if 'not_in_environment: "SERVING"' in feature]
    assert [re.search(r'name: "(\w+)"', feature)[1] for feature in outcome] == ["late", "weight"]


def test_penguins_are_complete_and_prepared_once(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    data = load("penguins_code.data")
    assert data.prepare(tmp_path / "data" / "penguins")
    assert not data.prepare(tmp_path / "data" / "penguins")
    lines = (tmp_path / "data" / "penguins" / "penguins.csv").read_text().splitlines()
    assert len(lines) == 345
    assert lines[1] == "0,Torgersen,39.1,18.7,181,3750,male,2007"
    assert lines[4] == "0,Torgersen,,,,,,2007"
    assert [sum(line[0] == species for line in lines[1:]) for species in "012"] == [152, 68, 124]
