"""How long a DAG file of ten components takes to parse, above `import airflow.sdk`, and that it loads no heavy library.

Each figure is the median of fresh processes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tables import table

DAG_FILE = """
from airflow_provider_mlpipe import (
    CsvExampleGenOperator, StatisticsGenOperator, ImportSchemaGenOperator, SchemaGenOperator, ExampleValidatorOperator,
    TransformOperator, TrainerOperator, ResolverOperator, EvaluatorOperator, PusherOperator, create_dag)

examples = CsvExampleGenOperator(input_base="/data")
statistics = StatisticsGenOperator(examples=examples.outputs["examples"])
inferred = SchemaGenOperator(statistics=statistics.outputs["statistics"])
schema = ImportSchemaGenOperator(schema_file="/data/schema.pbtxt")
validator = ExampleValidatorOperator(
    statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"], fail_on="ERROR")
transform = TransformOperator(
    examples=examples.outputs["examples"], schema=schema.outputs["schema"], module_file="/code/model.py")
trainer = TrainerOperator(
    examples=transform.outputs["transformed_examples"], transform_graph=transform.outputs["transform_graph"],
    schema=schema.outputs["schema"], module_file="/code/model.py", train_args={"num_steps": 100})
resolver = ResolverOperator(strategy="LatestBlessedModel", other_than=trainer.outputs["model"])
evaluator = EvaluatorOperator(
    examples=examples.outputs["examples"], model=trainer.outputs["model"],
    baseline_model=resolver.outputs["model"], eval_config={"slicing_specs": [{}]})
pusher = PusherOperator(
    model=trainer.outputs["model"], model_blessing=evaluator.outputs["blessing"],
    push_destination={"filesystem": {"base_directory": "/serving"}})
dag = create_dag("ten", [examples, statistics, inferred, schema, validator, transform, trainer, resolver, evaluator,
                         pusher], pipeline_root="/root")
assert len(dag.tasks) == 10
"""
CHILD = """
import sys, time
import airflow.sdk
before = time.perf_counter()
exec(sys.argv[1])
print(time.perf_counter() - before, *sorted({"tensorflow", "apache_beam"} & sys.modules.keys()))
"""
RUNS = 7


def figures() -> list[tuple[str, str]]:
    """The seconds above `import airflow.sdk`, and which heavy libraries were loaded."""
    seconds, heavy, total = [], set(), []
    for _ in range(RUNS):
        began = time.perf_counter()
        printed = subprocess.run([sys.executable, "-c", CHILD, DAG_FILE], capture_output=True, text=True, check=True)
        total.append(time.perf_counter() - began)
        first, *loaded = printed.stdout.split()
        seconds.append(float(first))
        heavy.update(loaded)
    return [
        ("ten-component DAG, above `import airflow.sdk`", f"{statistics.median(seconds):.3f} s"),
        ("the whole process, for comparison", f"{statistics.median(total):.2f} s"),
        ("tensorflow or apache_beam in sys.modules", ", ".join(sorted(heavy)) or "no"),
    ]


if __name__ == "__main__":
    print(table(("DAG parse", f"median of {RUNS}"), figures()))
