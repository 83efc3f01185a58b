"""A plan names a feature of an eval_config that the schema lacks, before a model is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planned import Pipeline

from airflow_provider_mlpipe import (
    Channel,
    CsvExampleGenOperator,
    EvaluatorOperator,
    ImporterOperator,
    ImportSchemaGenOperator,
    RuntimeParameter,
    SchemaGenOperator,
    StatisticsGenOperator,
    TrainerOperator,
)
from airflow_provider_mlpipe.pipeline.node import NodeOperator

SCHEMA = """
# what a comment says does not count: feature { name: "isle" }
feature {
  name: "label"
  type: INT
  int_domain { is_categorical: true }
  presence { min_fraction: 1.0 }
  shape { dim { size: 1 } }
}
feature { name: "island" type: BYTES domain: "island" }
string_domain { name: "island" value: "isle" value: "Biscoe" }
default_environment: "TRAINING"
"""
LACKS_ISLE = (
    "InvalidInputError: eval_config.model_specs[0].label_key: the schema has no feature 'isle'; it has island, label. "
    "For a feature that the model makes, name its signature in model_specs.preprocessing_function_names"
)

WAITS = ("unknown", "waits for Trainer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("label,island\n1,Biscoe\n")
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(SCHEMA)
    return tmp_path


Schema = Callable[[Channel[Any]], Channel[Any]]
"""Makes a schema, perhaps of examples."""


class Planned:
    """What a plan says of an Evaluator whose model has yet to be trained."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self.pipeline = pipeline
        self.folder = folder

    def verdict(self, schema_of: Schema, label_key: Any, **params: Any) -> tuple[str, str]:
        examples = CsvExampleGenOperator(input_base=str(self.folder / "data")).outputs["examples"]
        schema = schema_of(examples)
        model = TrainerOperator(examples=examples, schema=schema, run_fn="nobody.calls_it").outputs["model"]
        config = {"model_specs": [{"label_key": label_key}], "slicing_specs": [{"feature_keys": ["island"]}]}
        wanted = EvaluatorOperator(examples=examples, model=model, schema=schema, eval_config=config)
        found: list[NodeOperator] = [wanted]
        for node in found:
            above = [channel.producer for channel in node.input_channels().values()]
            found += [each for each in above if isinstance(each, NodeOperator) and each not in found]
        planned = self.pipeline.plan(self.pipeline.dag(*found, params=params))["Evaluator"]
        return planned.verdict.value, planned.reason

    def imported(self, examples: Channel[Any]) -> Channel[Any]:
        return ImporterOperator(source_uri=str(self.folder / "schema"), artifact_type="Schema").outputs["result"]

    def curated(self, examples: Channel[Any]) -> Channel[Any]:
        return ImportSchemaGenOperator(schema_file=str(self.folder / "schema" / "schema.pbtxt")).outputs["schema"]


def by_template(examples: Channel[Any]) -> Channel[Any]:
    return ImportSchemaGenOperator(schema_file="{{ params.folder }}/schema.pbtxt").outputs["schema"]


def inferred(examples: Channel[Any]) -> Channel[Any]:
    statistics = StatisticsGenOperator(examples=examples).outputs["statistics"]
    return SchemaGenOperator(statistics=statistics).outputs["schema"]


@pytest.fixture
def planned(pipeline: Pipeline, folder: Path) -> Planned:
    return Planned(pipeline, folder)


def test_by_a_schema_that_is_imported(planned: Planned) -> None:
    assert planned.verdict(planned.imported, "isle") == ("fails", LACKS_ISLE)
    assert planned.verdict(planned.imported, "label") == WAITS


def test_by_a_file_that_an_import_schema_gen_has_yet_to_read(planned: Planned) -> None:
    assert planned.verdict(planned.curated, "isle") == ("fails", LACKS_ISLE)
    assert planned.verdict(planned.curated, "label") == WAITS
    assert planned.verdict(by_template, "isle", folder=str(planned.folder / "schema")) == ("fails", LACKS_ISLE)


def test_by_a_schema_that_is_cached(planned: Planned, pipeline: Pipeline) -> None:
    schema_gen = ImportSchemaGenOperator(schema_file=str(planned.folder / "schema" / "schema.pbtxt"))
    pipeline.run(pipeline.dag(schema_gen))
    assert planned.verdict(planned.curated, "isle") == ("fails", LACKS_ISLE)


def test_by_what_a_run_gives_as_the_key(planned: Planned) -> None:
    assert planned.verdict(planned.imported, RuntimeParameter("key", str, "isle")) == ("fails", LACKS_ISLE)
    assert planned.verdict(planned.imported, "{{ params.key }}", key="isle") == ("fails", LACKS_ISLE)
    assert planned.verdict(planned.imported, "{{ params.key }}", key="label") == WAITS


def test_what_is_not_known_yet_is_left_to_the_task(planned: Planned) -> None:
    assert planned.verdict(inferred, "isle") == WAITS
    assert planned.verdict(planned.imported, "{{ ti.xcom_pull('other') }}") == WAITS
    assert planned.verdict(planned.imported, "{{ a_macro.that_does.not_exist }}") == WAITS
    (planned.folder / "schema" / "schema.pbtxt").write_text("no schema")
    assert planned.verdict(planned.curated, "isle") == WAITS
