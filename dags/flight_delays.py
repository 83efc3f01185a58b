"""Will this flight arrive more than 15 minutes late?

All 336,776 flights of 2013 from New York's airports, with the weather at departure: from CSV files to a model in a
serving folder, if it is good enough.

The model uses only what is known before departure. Flights that never arrived are counted, but have the weight 0: see
`flights/data.py`. The features and the network are in `flights/model.py`, the schema of the data in
`flights/schema.pbtxt`, and the thresholds that a model must reach to be pushed in `flights/evaluation.py`.

The data is split by single flights, so the same day and its weather are in both splits. When it is split by day (give
CsvExampleGen an `output_config` with `partition_feature_name: date`), the same network's AUC falls from 0.77 to 0.72.
Expect this AUC for a day that the model has not seen.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import task
from flights import data
from flights.evaluation import EVAL_CONFIG

from airflow_provider_mlpipe import (
    CsvExampleGenOperator,
    EvaluatorOperator,
    ExampleValidatorOperator,
    ImportSchemaGenOperator,
    PusherOperator,
    ResolverOperator,
    RuntimeParameter,
    StatisticsGenOperator,
    TrainerOperator,
    TransformOperator,
    create_dag,
    default_pipeline_root,
)

CODE = Path(__file__).parent / "flights"
MODEL = str(CODE / "model.py")
HOME = Path(os.environ.get("MLPIPE_HOME") or default_pipeline_root())

# The trigger form asks for these.
data_dir = RuntimeParameter(
    "data_dir", str, str(HOME / "data" / "flights"), description="Folder of the monthly CSV files; created if missing."
)
push_dir = RuntimeParameter(
    "push_dir", str, str(HOME / "serving" / "flight_delays"), description="Folder that the model server watches."
)
train_steps = RuntimeParameter(
    "train_steps", int, 1200, minimum=1, description="Training steps of 1,024 flights; 220 are one pass over the data."
)
learning_rate = RuntimeParameter(
    "learning_rate", float, 0.002, exclusiveMinimum=0, description="Adam's initial learning rate; decays to 0 (cosine)."
)


@task
def prepare_data(folder: str) -> None:
    """Writes the monthly CSV files to the folder, unless they are there already."""
    made = data.prepare(folder)
    print(f"{'Wrote' if made else 'Found'} {data.FLIGHTS:,} flights in {folder}")


example_gen = CsvExampleGenOperator(input_base=data_dir)
examples = example_gen.outputs["examples"]

statistics_gen = StatisticsGenOperator(examples=examples)
schema_gen = ImportSchemaGenOperator(schema_file=str(CODE / "schema.pbtxt"))
schema = schema_gen.outputs["schema"]

example_validator = ExampleValidatorOperator(
    statistics=statistics_gen.outputs["statistics"],
    schema=schema,
    environment="TRAINING",
    fail_on="ERROR",
)

transform = TransformOperator(
    examples=examples,
    schema=schema,
    module_file=MODEL,
    disable_statistics=True,  # StatisticsGen has those of the raw data
)

trainer = TrainerOperator(
    examples=transform.outputs["transformed_examples"],
    transform_graph=transform.outputs["transform_graph"],
    schema=schema,
    module_file=MODEL,
    train_args={"num_steps": train_steps},
    custom_config={"learning_rate": learning_rate},
)
model = trainer.outputs["model"]

resolver = ResolverOperator(strategy="LatestBlessedModel", other_than=model)

evaluator = EvaluatorOperator(
    examples=examples,
    model=model,
    baseline_model=resolver.outputs["model"],
    schema=schema,
    eval_config=EVAL_CONFIG,
)

pusher = PusherOperator(
    model=model,
    model_blessing=evaluator.outputs["blessing"],
    push_destination={"filesystem": {"base_directory": push_dir}},
)

dag = create_dag(
    "flight_delays",
    [
        example_gen,
        statistics_gen,
        schema_gen,
        example_validator,
        transform,
        trainer,
        resolver,
        evaluator,
        pusher,
    ],
    pipeline_root=str(HOME / "pipelines" / "flight_delays"),
    description="Will this flight arrive more than 15 minutes late?",
    doc_md=__doc__,
    tags=["mlpipe", "example"],
)

with dag:
    prepare_data(data_dir) >> dag.get_task("plan")
