"""Mistakes of a new user that show when Airflow parses the DAG file, and exactly what Airflow then says."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.importers.python_importer import PythonDagImporter

FILE = """\
from airflow.sdk import DAG
from airflow_provider_mlpipe import *
from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.proto.mlpipe_pb2 import EvalArgs

example_gen = CsvExampleGenOperator(input_base="/data")
examples = example_gen.outputs["examples"]
statistics_gen = StatisticsGenOperator(examples=examples)
importer = ImporterOperator(source_uri="/model", artifact_type="Model")
model = importer.outputs["result"]
train = {"examples": examples, "run_fn": "model.run_fn"}


class MineOperator(ComponentOperator):
    OUTPUTS = {"model": Model}

    def __init__(self, *, words: Value[list[str]], **kwargs):
        super().__init__(**kwargs)


"""
LINE = len(FILE.splitlines()) + 1

MISTAKES = {
    "a wrong key": (
        'TrainerOperator(**train, train_args={"steps": 300})',
        "Trainer: train_args has no 'steps'; it has splits, num_steps",
    ),
    "a forgotten input": (
        'TrainerOperator(run_fn="model.run_fn")',
        "Trainer: examples is missing; pass a channel of Examples, such as examples=producer.outputs[...]",
    ),
    "a forgotten parameter": ("CsvExampleGenOperator()", "CsvExampleGen: input_base is missing; it takes a str"),
    "a delimiter of two characters": (
        'CsvExampleGenOperator(input_base="/data", delimiter="::")',
        "CsvExampleGen: delimiter must be one ASCII character and no line break, but it is '::'; a tab is '\\t'",
    ),
    "a misspelled argument": (
        'TrainerOperator(examples=examples, modul_file="/dags/model.py")',
        "Trainer: there is no argument 'modul_file'; did you mean module_file?",
    ),
    "an argument of another component": (
        "StatisticsGenOperator(examples=examples, push_destination={})",
        "StatisticsGen: there is no argument 'push_destination'; there are examples, schema, exclude_splits, "
        "sample_rate_by_split, stats_options",
    ),
    "an argument without its name": (
        "StatisticsGenOperator(examples)",
        "StatisticsGenOperator: give arguments by name, not only CsvExampleGen.outputs['examples'] (Examples)",
    ),
    "a wrong output": ("example_gen.outputs['example']", "CsvExampleGen has no output 'example'; it has: examples"),
    "an operator in place of its output": (
        "StatisticsGenOperator(examples=example_gen)",
        "StatisticsGen.examples (Examples) needs a channel, but got <Task(CsvExampleGenOperator): CsvExampleGen>; pass "
        "e.g. examples=producer.outputs[...]",
    ),
    "an output of another type": (
        "SchemaGenOperator(statistics=examples)",
        "SchemaGen.statistics (ExampleStatistics) cannot take CsvExampleGen.outputs['examples'] (Examples); pass a "
        "channel of ExampleStatistics",
    ),
    "no user code": ("TrainerOperator(examples=examples)", "Trainer: give either module_file or run_fn"),
    "no schema to check with": (
        'TrainerOperator(**train, check_examples="schema")',
        "Trainer: check_examples='schema' needs the input schema",
    ),
    "a function in place of its name": (
        "TrainerOperator(examples=examples, run_fn=print)",
        "Trainer: run_fn takes a str or None, but got <built-in function print>; give its dotted name, "
        "'module.function'",
    ),
    "text in place of a list": (
        'EvaluatorOperator(examples=examples, model=model, eval_config={}, example_splits="eval")',
        "Evaluator: example_splits takes a list of str, but got 'eval'; write ['eval']",
    ),
    "text in place of a bool": (
        'EvaluatorOperator(examples=examples, model=model, eval_config={}, rubber_stamp="no")',
        "Evaluator: rubber_stamp takes True or False, but got 'no'",
    ),
    "an infinity": (
        'TrainerOperator(**train, custom_config={"limits": [float("inf")]})',
        "Trainer: custom_config.limits[0] is inf, but must be finite; leave it out, or give None or text",
    ),
    "a number that is too large": (
        'TrainerOperator(**train, train_args={"num_steps": 10**10})',
        "Trainer: train_args.num_steps is 10000000000, but must be from -2147483648 to 2147483647",
    ),
    "a set": (
        'TransformOperator(examples=examples, schema=None, preprocessing_fn="a.b", custom_config={"names": {"x"}})',
        "Transform: custom_config.names cannot hold {'x'} (type set); give a sorted list",
    ),
    "a word that is none of the known": (
        'ResolverOperator(strategy="Latest")',
        "Resolver: strategy takes 'LatestArtifact', 'LatestBlessedModel', 'LatestPushed', 'SpanRange' or "
        "'ByProperty', but got 'Latest'",
    ),
    "a message of another type": (
        "TrainerOperator(**train, train_args=EvalArgs())",
        "Trainer: train_args takes a TrainArgs, its dict or None, but got an EvalArgs",
    ),
    "a push to nowhere": (
        'PusherOperator(model=model, push_destination={"filesystem": {}})',
        "Pusher: push_destination needs filesystem.base_directory, the folder that the server watches",
    ),
    "a default of another type": (
        'RuntimeParameter("steps", int, "many")',
        "RuntimeParameter 'steps': default takes an int or None, but got 'many'",
    ),
    "a component that is not in the list": (
        'create_dag("first", [statistics_gen])',
        "StatisticsGen.examples reads CsvExampleGen.outputs['examples'] (Examples), but CsvExampleGen is not among the "
        "components given to create_dag; add it to the list",
    ),
    "one id for two components": (
        'create_dag("first", [example_gen, CsvExampleGenOperator(input_base="/other")])',
        "first: two components have the id 'CsvExampleGen' (CsvExampleGenOperator and CsvExampleGenOperator); give one "
        "another task_id",
    ),
    "one component in place of a list": (
        'create_dag("first", example_gen)',
        "first: components must be a list of operators, but got <Task(CsvExampleGenOperator): CsvExampleGen>",
    ),
    "no list of components": (
        'create_dag("first")',
        "create_dag: missing a required argument: 'components'",
    ),
    "None for components": (
        'create_dag("first", None)',
        "first: components must be a list of operators, but got None",
    ),
    "a type that does not exist": (
        'ResolverOperator(strategy="LatestArtifact", artifact_type="Modl")',
        "Resolver: unknown artifact_type 'Modl'; did you mean Model?",
    ),
    "a cache setting that is none": (
        'create_dag("first", [example_gen], cache="always")',
        "first: cache takes True, False or 'refresh', but got 'always'",
    ),
    "a misspelled argument of the DAG": (
        'create_dag("first", [example_gen], schedul="@daily")',
        "first: there is no argument 'schedul'; did you mean schedule?",
    ),
    "an argument that is not kept": (
        'MineOperator(words=["a"])',
        "Mine: its __init__ does not keep words; add `self.words = words`",
    ),
    "a name that Airflow refuses": (
        'CsvExampleGenOperator(task_id="my examples", input_base="/data")',
        "my examples: The key 'my examples' has to be made of alphanumeric characters, dashes, dots, and underscores "
        "exclusively",
    ),
    "a component twice in one DAG": (
        'with DAG("first"): [CsvExampleGenOperator(input_base="/data") for _ in "ab"]',
        "CsvExampleGen: the DAG has another task of this id; give one of them another task_id",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_airflow_shows_one_line_that_names_component_place_and_remedy(mistake: str, tmp_path: Path) -> None:
    code, says = MISTAKES[mistake]
    file = tmp_path / "first.py"
    file.write_text(f"{FILE}{code}\n")
    (error,) = PythonDagImporter().import_file(file, bundle_path=tmp_path, safe_mode=False).errors
    assert error.message == f"first.py, line {LINE}: {says}"
    assert error.stacktrace is not None
    assert error.stacktrace.startswith(f'Traceback (most recent call last):\n  File "{file}", line {LINE}, in ')
    assert error.stacktrace.count("  File ") == 2  # Airflow shows no more
    assert error.stacktrace.endswith(f"PipelineError: {error.message}\n")
