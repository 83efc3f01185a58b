"""Transform's statistics before and after the transformation are those that TFX computes with TFT and TFDV on Beam."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import apache_beam as beam
import tensorflow_data_validation as tfdv
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from fresh import run_executor
from google.protobuf import text_format
from pages import text_of
from statistics_equality import assert_equal
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList
from tfx_bsl.public.tfxio import TFExampleRecord
from transforms import DEFAULTS, EVERY_ANALYZER_SCHEMA, write_schema, write_splits

from airflow_provider_mlpipe.artifacts import Examples, Schema
from airflow_provider_mlpipe.components.csv_example_gen.operator import CsvExampleGenOperator
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.transform.operator import TransformOperator
from airflow_provider_mlpipe.components.transform.stats_type import StatsType
from airflow_provider_mlpipe.exceptions import PipelineError, UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.beam import pipeline

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

READ = ["x", "key", "vector", "sparse", "words"]
MODULE = """
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    return {
        "scaled": tft.scale_to_z_score(inputs["x"]),
        "place": tft.compute_and_apply_vocabulary(inputs["key"], vocab_filename="keys"),
        "vector": inputs["vector"],
        "sparse": inputs["sparse"],
        "words": inputs["words"],
    }
"""
UPDATER = """

def stats_options_updater_fn(stats_type, stats_options):
    import tensorflow_data_validation as tfdv
    from airflow_provider_mlpipe import StatsType

    stats_options.num_top_values = 1 if stats_type is StatsType.PRE_TRANSFORM else 2
    if stats_type is StatsType.POST_TRANSFORM:
        assert stats_options.vocab_paths["keys"].endswith("/transform_fn/assets/keys"), stats_options.vocab_paths
        tfdv.get_feature(stats_options.schema, "scaled").float_domain.max = 1.0
    return stats_options
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Examples, Schema]:
    """Rows with gaps and several values, in three splits."""
    folder = tmp_path_factory.mktemp("given")
    splits: dict[str, list[dict[str, list[Any]]]] = {"train": [], "more": [], "eval": []}
    for number in range(300):
        row: dict[str, list[Any]] = {
            "id": [number],
            "x": [number / 10],
            "number": [number % 7],
            "key": [f"key {number % 5}"],
            "vector": [1.0, 2.0, float(number)],
        }
        row |= {"sparse": [float(number)]} if number % 7 else {}
        row |= {"words": ["a", "b", "a"][: number % 4]} if number % 4 else {}
        splits[list(splits)[number % 3]].append(row)
    return write_splits(folder / "examples", splits), write_schema(folder / "schema", EVERY_ANALYZER_SCHEMA)


@dataclass(frozen=True)
class Made:
    folder: Path

    def statistics(self, kind: str) -> DatasetFeatureStatisticsList:
        path = self.folder / f"{kind}_transform_stats" / "FeatureStats.pb"
        return DatasetFeatureStatisticsList.FromString(path.read_bytes())

    def top_values(self, kind: str) -> dict[str, int]:
        """How many frequent values there are, by feature."""
        features = self.statistics(kind).datasets[0].features
        return {one.path.step[0]: len(one.string_stats.top_values) for one in features if one.HasField("string_stats")}

    def schema(self, kind: str) -> schema_pb2.Schema:
        text = (self.folder / f"{kind}_transform_schema" / "schema.pbtxt").read_text()
        return text_format.Parse(text, schema_pb2.Schema())

    @property
    def anomalies(self) -> anomalies_pb2.Anomalies:
        path = self.folder / "post_transform_anomalies" / "SchemaDiff.pb"
        return anomalies_pb2.Anomalies.FromString(path.read_bytes())


@pytest.fixture
def transform(given: tuple[Examples, Schema], tmp_path: Path) -> Callable[..., Made]:
    """Runs Transform with statistics; it analyzes the splits `train` and `more`."""

    def made(module: str, *beam_arguments: str, **changed: Any) -> Made:
        (tmp_path / "module.py").write_text(module)
        folder = tmp_path / "made"
        for name in (*TransformOperator.OUTPUTS, "tmp"):
            (folder / name).mkdir(parents=True)
        arguments = {
            **DEFAULTS,
            "examples": given[0],
            "schema": given[1],
            "module_file": str(tmp_path / "module.py"),
            "disable_statistics": False,
            "splits_config": {"analyze": ["train", "more"]},
            **{key: kind(uri=str(folder / key)) for key, kind in TransformOperator.OUTPUTS.items()},
            **changed,
        }
        context = ExecutorContext(
            component_id="Transform", execution_id=1, tmp_dir=str(folder / "tmp"), beam_pipeline_args=beam_arguments
        )
        run_executor("airflow_provider_mlpipe.components.transform.executor:run", **arguments, context=context)
        return Made(folder)

    return made


def by_tfx(
    given: tuple[Examples, Schema], graph: Path, folder: Path
) -> tuple[DatasetFeatureStatisticsList, DatasetFeatureStatisticsList]:
    """What TFX does: analyzed rows with the columns that are read, and transformed rows, each as one dataset."""
    schema = text_format.Parse(Path(given[1].uri, "schema.pbtxt").read_text(), schema_pb2.Schema())
    before, after = folder / "before.pb", folder / "after.pb"

    def source(*splits: str) -> TFExampleRecord:
        files = [f"{given[0].uri}/Split-{split}/*.gz" for split in splits]
        return TFExampleRecord(files, schema=schema, telemetry_descriptors=["stock"])

    with pipeline() as run:
        rows = run | source("train", "more").Project(READ).BeamSource()
        statistics = rows | tfdv.GenerateStatistics(tfdv.StatsOptions(schema=schema))
        _ = statistics | tfdv.WriteStatisticsToBinaryFile(str(before))
    transformed = tft.TFTransformOutput(str(graph)).transformed_metadata.schema
    with pipeline() as run, tft_beam.Context(temp_dir=str(folder / "tmp")):
        read = source("train", "more", "eval").Project(READ)
        rows = run | read.BeamSource()
        loaded = run | tft_beam.ReadTransformFn(str(graph))
        batches, _ = ((rows, read.TensorAdapterConfig()), loaded) | tft_beam.TransformDataset(
            output_record_batches=True
        )
        statistics = batches | beam.Keys() | tfdv.GenerateStatistics(tfdv.StatsOptions(schema=transformed))
        _ = statistics | tfdv.WriteStatisticsToBinaryFile(str(after))
    return (
        DatasetFeatureStatisticsList.FromString(before.read_bytes()),
        DatasetFeatureStatisticsList.FromString(after.read_bytes()),
    )


@pytest.mark.parametrize("beam_arguments", [(), ("--runner=DirectRunner",)])
def test_statistics_are_those_of_tfx(
    beam_arguments: tuple[str, ...], given: tuple[Examples, Schema], transform: Callable[..., Made], tmp_path: Path
) -> None:
    made = transform(MODULE, *beam_arguments)
    before, after = by_tfx(given, made.folder / "transform_graph", tmp_path)
    assert_equal(made.statistics("pre"), before)
    assert_equal(made.statistics("post"), after)
    assert {feature.path.step[0] for feature in before.datasets[0].features} == set(READ)
    assert (before.datasets[0].num_examples, after.datasets[0].num_examples) == (200, 300)
    graph = tft.TFTransformOutput(str(made.folder / "transform_graph"))
    assert made.schema("pre") == text_format.Parse(EVERY_ANALYZER_SCHEMA, schema_pb2.Schema())
    assert made.schema("post") == graph.transformed_metadata.schema
    assert not made.anomalies.anomaly_info


def test_an_updater_changes_the_options(transform: Callable[..., Made]) -> None:
    made = transform(MODULE + UPDATER)
    assert made.top_values("pre") == {"key": 1, "words": 1}
    assert made.top_values("post")["words"] == 2
    assert tfdv.get_feature(made.schema("post"), "scaled").float_domain.max == 1.0
    assert list(made.anomalies.anomaly_info) == ["scaled"]


def test_an_updater_may_take_custom_config(transform: Callable[..., Made]) -> None:
    updater = (
        "\n\ndef stats_options_updater_fn(stats_type, stats_options, custom_config):\n"
        "    stats_options.num_top_values = custom_config['top']\n    return stats_options\n"
    )
    made = transform(MODULE + updater, custom_config={"top": 3})
    assert made.top_values("pre")["key"] == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", r"stats_options_updater_fn returned None for StatsType.PRE_TRANSFORM; it must return a tfdv"),
        ("return {}['x']", r"stats_options_updater_fn raised KeyError at .*module.py, line 17: 'x'"),
    ],
)
def test_an_updater_that_fails(body: str, said: str, transform: Callable[..., Made]) -> None:
    with pytest.raises(UserCodeError, match=said):
        transform(f"{MODULE}\n\ndef stats_options_updater_fn(stats_type, stats_options):\n    {body}\n")


def test_the_updater_of_the_docs() -> None:
    page = text_of("docs/components.md")
    (code,) = re.findall(r"```python\n([^`]*def stats_options_updater_fn.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    options = {kind: names["stats_options_updater_fn"](kind, tfdv.StatsOptions()) for kind in list(StatsType)[1:]}
    assert options[StatsType.POST_TRANSFORM].num_top_values == 50
    assert options[StatsType.PRE_TRANSFORM].num_top_values == tfdv.StatsOptions().num_top_values


def operator(**arguments: Any) -> TransformOperator:
    example_gen = CsvExampleGenOperator(input_base="/data")
    schema = ImporterOperator(source_uri="/schema", artifact_type=Schema)
    return TransformOperator(examples=example_gen.outputs["examples"], schema=schema.outputs["result"], **arguments)


def test_disabled_statistics_are_no_outputs() -> None:
    assert set(operator(module_file="m.py").outputs) == set(TransformOperator.OUTPUTS)
    without = operator(module_file="m.py", disable_statistics=True)
    assert list(without.outputs) == ["transform_graph", "transformed_examples", "updated_analyzer_cache"]


def test_an_updater_is_named_only_beside_a_named_function() -> None:
    named = operator(preprocessing_fn="m.preprocessing_fn", stats_options_updater_fn="m.updated")
    assert named.stats_options_updater_fn == "m.updated"
    with pytest.raises(PipelineError, match="with module_file, define the function in the module"):
        operator(module_file="m.py", stats_options_updater_fn="m.updated")
