"""Examples of the flights and models of them, made as the flight DAG makes them, each step in a fresh process."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csv_parameters import CSV_PARAMETERS
from flights import data
from fresh import run_executor
from transforms import DEFAULTS

from airflow_provider_mlpipe.artifacts import Examples, Model, ModelRun, Schema, TransformCache, TransformGraph
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced

FLIGHTS = Path(__file__).parents[2] / "dags" / "flights"


@dataclass(frozen=True, kw_only=True)
class FlightModels:
    """What was made: raw examples, their schema, the transformed examples with their graph, and models by name."""

    examples: Examples
    schema: Schema
    graph: TransformGraph
    transformed: Examples
    models: dict[str, Model]


def make(folder: Path, csv_folder: str, buckets: Mapping[str, int], steps: Mapping[str, int]) -> FlightModels:
    """Make them in `folder` of CSV files: splits of {name: hash buckets}, a model for {name: steps}."""

    def run(name: str, **given: Any) -> dict[str, Produced]:
        context = ExecutorContext(component_id=name, execution_id=1, tmp_dir=made(folder / "tmp"))
        executor = f"airflow_provider_mlpipe.components.{name}.executor:run"
        return run_executor(executor, context=context, **given).produced

    examples = Examples(uri=made(folder / "examples"))
    splits = [{"name": name, "hash_buckets": count} for name, count in buckets.items()]
    produced = run(
        "csv_example_gen",
        input_base=csv_folder,
        input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
        output_config={"split_config": {"splits": splits}},
        **CSV_PARAMETERS,
        examples=examples,
    )["examples"]
    examples = Examples(uri=examples.uri, properties=produced.properties)

    schema = Schema(uri=made(folder / "schema"))
    shutil.copy(FLIGHTS / "schema.pbtxt", schema.uri)
    graph, transformed = TransformGraph(uri=made(folder / "graph")), Examples(uri=made(folder / "transformed"))
    produced = run(
        "transform",
        examples=examples,
        schema=schema,
        module_file=str(FLIGHTS / "model.py"),
        **DEFAULTS,
        transform_graph=graph,
        transformed_examples=transformed,
        updated_analyzer_cache=TransformCache(uri=made(folder / "cache")),
    )["transformed_examples"]
    transformed = Examples(uri=transformed.uri, properties=produced.properties)

    models = {name: Model(uri=made(folder / name)) for name in steps}
    for name, model in models.items():
        run(
            "trainer",
            examples=transformed,
            transform_graph=graph,
            schema=schema,
            base_model=None,
            hyperparameters=None,
            module_file=str(FLIGHTS / "model.py"),
            run_fn=None,
            train_args={"num_steps": steps[name]},
            eval_args=None,
            custom_config={"learning_rate": 0.002},
            check_examples=None,
            model=model,
            model_run=ModelRun(uri=made(folder / f"{name}-run")),
        )
    return FlightModels(examples=examples, schema=schema, graph=graph, transformed=transformed, models=models)


def write(folder: Path, rows: Iterable[data.Row]) -> str:
    """Write a CSV file of some of `data.joined_flights()` to a new folder, and return its path."""
    folder.mkdir()
    with (folder / "flights.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, data.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return str(folder)


def made(folder: Path) -> str:
    """Make a folder, if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
