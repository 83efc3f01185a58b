"""Which species is this penguin?

344 penguins, three species, one minute: the smallest whole pipeline. The data is made by `penguins_code/data.py`, the
network is in `penguins_code/model.py`. Trigger it with `shuffle_labels` to see a model that learnt nothing: it is
evaluated, not blessed, and not pushed.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import task
from penguins_code import data

from airflow_provider_mlpipe import (
    CsvExampleGenOperator,
    EvaluatorOperator,
    ExampleValidatorOperator,
    PusherOperator,
    ResolverOperator,
    RuntimeParameter,
    SchemaGenOperator,
    StatisticsGenOperator,
    TrainerOperator,
    TransformOperator,
    create_dag,
    default_pipeline_root,
)

MODEL = str(Path(__file__).parent / "penguins_code" / "model.py")
HOME = Path(os.environ.get("MLPIPE_HOME") or default_pipeline_root())

# The trigger form asks for these.
data_dir = RuntimeParameter(
    "data_dir", str, str(HOME / "data" / "penguins"), description="Folder of penguins.csv; created if missing."
)
push_dir = RuntimeParameter(
    "push_dir", str, str(HOME / "serving" / "penguins"), description="Folder that the model server watches."
)
train_steps = RuntimeParameter("train_steps", int, 200, minimum=1, description="Training steps of 32 penguins.")
learning_rate = RuntimeParameter("learning_rate", float, 0.01, exclusiveMinimum=0, description="Adam's learning rate.")
shuffle_labels = RuntimeParameter(
    "shuffle_labels", bool, False, description="Train on labels in random order, to see the model fail its evaluation."
)

# One penguin changes the accuracy by about 0.01. So the model may be worse than the baseline by up to 0.03.
EVAL_CONFIG = {
    "model_specs": [{"signature_name": "serving_default", "label_key": "species"}],
    "slicing_specs": [{}, {"feature_keys": ["island"]}],
    "metrics_specs": [
        {
            "metrics": [
                {"class_name": "ExampleCount"},
                {
                    "class_name": "SparseCategoricalAccuracy",
                    "per_slice_thresholds": [
                        {
                            "slicing_specs": [{}],
                            "threshold": {
                                "value_threshold": {"lower_bound": 0.9},
                                "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": -0.03},
                            },
                        }
                    ],
                },
            ]
        }
    ],
}


@task
def prepare_data(folder: str) -> None:
    """Writes penguins.csv to the folder, unless it is there already."""
    made = data.prepare(folder)
    print(f"{'Wrote' if made else 'Found'} {data.PENGUINS} penguins in {folder}")


example_gen = CsvExampleGenOperator(input_base=data_dir)
examples = example_gen.outputs["examples"]

statistics_gen = StatisticsGenOperator(examples=examples)
statistics = statistics_gen.outputs["statistics"]

schema_gen = SchemaGenOperator(statistics=statistics)
schema = schema_gen.outputs["schema"]

example_validator = ExampleValidatorOperator(statistics=statistics, schema=schema, fail_on="ERROR")

transform = TransformOperator(examples=examples, schema=schema, module_file=MODEL)

trainer = TrainerOperator(
    examples=transform.outputs["transformed_examples"],
    transform_graph=transform.outputs["transform_graph"],
    schema=schema,
    module_file=MODEL,
    train_args={"num_steps": train_steps},
    custom_config={"learning_rate": learning_rate, "shuffle_labels": shuffle_labels},
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
    "penguins",
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
    pipeline_root=str(HOME / "pipelines" / "penguins"),
    description="Which species is this penguin?",
    doc_md=__doc__,
    tags=["mlpipe", "example"],
)

with dag:
    prepare_data(data_dir) >> dag.get_task("plan")
