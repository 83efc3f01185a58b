"""Real artifacts made once from the Palmer penguins: examples, schema, transform graph, models."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fresh import run_executor
from taken import call_with_one
from transforms import DEFAULTS

from airflow_provider_mlpipe.artifacts import (
    Artifact,
    Examples,
    Model,
    ModelRun,
    Schema,
    TransformCache,
    TransformGraph,
)
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced

PENGUIN_MODULE = Path(__file__).with_name("penguin_module.py")
FLOATS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
STRINGS = ("species", "island")

_SCHEMA = "".join(
    f'feature {{ name: "{name}" type: FLOAT value_count {{ min: 0 max: 1 }} }}\n' for name in FLOATS
) + "".join(
    f'feature {{ name: "{name}" type: BYTES presence {{ min_fraction: 1 }} shape {{ dim {{ size: 1 }} }} }}\n'
    for name in STRINGS
)

ArtifactFactory = Callable[..., Any]


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], ExecutorContext]:
    """Makes an ExecutorContext with an empty folder of its own."""

    def make() -> ExecutorContext:
        folder = tmp_path_factory.mktemp("tmp")
        return ExecutorContext(component_id="penguins", execution_id=1, tmp_dir=str(folder))

    return make


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> ArtifactFactory:
    """Makes an artifact of a type in an empty folder."""
    return lambda artifact_type, **fields: artifact_type(uri=str(tmp_path_factory.mktemp("out")), **fields)


def published(artifact: Artifact, produced: Produced, digest: str = "d" * 64) -> Any:
    """The artifact as later components see it: with what its executor said of it."""
    return type(artifact)(uri=artifact.uri, id=1, digest=produced.digest or digest, properties=produced.properties)


def _number(text: str) -> float | None:
    return None if text in ("", "NA") else float(text)


def _write(artifact: Examples, splits: dict[str, Sequence[dict[str, str]]]) -> Examples:
    """Write rows of the penguin table as splits of an Examples artifact."""
    import pyarrow as pa

    from airflow_provider_mlpipe.records.examples import encode_examples
    from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter

    for split, rows in splits.items():
        columns = {name: pa.array([_number(row[name]) for row in rows], pa.float32()) for name in FLOATS}
        columns |= {name: pa.array([row[name] for row in rows], pa.string()) for name in STRINGS}
        folder = Path(artifact.uri, f"Split-{split}")
        folder.mkdir()
        with TFRecordWriter(folder / FILE_NAME) as writer:
            writer.write(encode_examples(pa.RecordBatch.from_pydict(columns)).to_pylist())
    counts = {split: len(rows) for split, rows in splits.items()}
    return Examples(uri=artifact.uri, properties={"splits": list(splits), "record_counts": counts})


@pytest.fixture(scope="session")
def penguin_rows() -> list[dict[str, str]]:
    """The 344 rows of the Palmer penguins, in the order of their file."""
    table = importlib.resources.files("palmerpenguins") / "data" / "penguins.csv"
    return list(csv.DictReader(table.read_text().splitlines()))


@pytest.fixture(scope="session")
def write_penguins(empty: ArtifactFactory) -> Callable[[dict[str, Sequence[dict[str, str]]]], Examples]:
    """Write rows of the penguin table as {split: rows} of a new Examples artifact."""
    return lambda splits: _write(empty(Examples), splits)


@pytest.fixture(scope="session")
def penguin_examples(penguin_rows: list[dict[str, str]], write_penguins: Callable[..., Examples]) -> Examples:
    """Every third penguin is in `eval`, the others in `train`."""
    splits = {
        "train": [row for number, row in enumerate(penguin_rows) if number % 3],
        "eval": penguin_rows[::3],
    }
    return write_penguins(splits)


@pytest.fixture(scope="session")
def penguin_schema(empty: ArtifactFactory) -> Schema:
    """What SchemaGen would infer: measures may be missing, species and island never are."""
    schema: Schema = empty(Schema)
    Path(schema.uri, "schema.pbtxt").write_text(_SCHEMA)
    return schema


@pytest.fixture(scope="session")
def transform(
    penguin_examples: Examples, penguin_schema: Schema, empty: ArtifactFactory, context: Callable[[], ExecutorContext]
) -> Callable[..., tuple[TransformGraph, Examples]]:
    """Runs Transform on the penguins; keywords replace its parameters."""

    def run(**changed: Any) -> tuple[TransformGraph, Examples]:
        outputs = {
            "transform_graph": empty(TransformGraph),
            "transformed_examples": empty(Examples),
            "updated_analyzer_cache": empty(TransformCache),
        }
        defaults: dict[str, Any] = {
            "examples": penguin_examples,
            "schema": penguin_schema,
            "module_file": str(PENGUIN_MODULE),
            "context": context(),
        }
        produced = run_executor(
            "airflow_provider_mlpipe.components.transform.executor:run",
            **{**DEFAULTS, **defaults, **outputs, **changed},
        ).produced
        graph = published(outputs["transform_graph"], produced.get("transform_graph", Produced()))
        return graph, published(outputs["transformed_examples"], produced["transformed_examples"])

    return run


@pytest.fixture(scope="session")
def penguins_transformed(transform: Callable[..., Any]) -> tuple[TransformGraph, Examples]:
    """The transform graph and the transformed examples of the penguin module."""
    result: tuple[TransformGraph, Examples] = transform()
    return result


@pytest.fixture(scope="session")
def train(
    penguins_transformed: tuple[TransformGraph, Examples],
    empty: ArtifactFactory,
    context: Callable[[], ExecutorContext],
) -> Callable[..., tuple[Model, ModelRun]]:
    """Runs Trainer on the transformed penguins; keywords replace its parameters."""

    def run(digest: str = "d" * 64, **changed: Any) -> tuple[Model, ModelRun]:
        from airflow_provider_mlpipe.components.trainer import executor

        graph, examples = penguins_transformed
        outputs = {"model": empty(Model), "model_run": empty(ModelRun)}
        defaults: dict[str, Any] = {
            "examples": examples,
            "transform_graph": graph,
            "schema": None,
            "base_model": None,
            "hyperparameters": None,
            "module_file": str(PENGUIN_MODULE),
            "run_fn": None,
            "train_args": {"num_steps": 60},
            "eval_args": {"num_steps": 4},
            "custom_config": None,
            "check_examples": None,
            "context": context(),
        }
        produced = call_with_one(executor.run, **{**defaults, **outputs, **changed})
        model = published(outputs["model"], produced.get("model", Produced()), digest)
        return model, published(outputs["model_run"], produced.get("model_run", Produced()))

    return run


@pytest.fixture(scope="session")
def penguin_model(train: Callable[..., tuple[Model, ModelRun]]) -> Model:
    """A model of the penguin module, trained for 60 steps."""
    return train()[0]


@pytest.fixture(scope="session")
def shuffled_labels_model(train: Callable[..., tuple[Model, ModelRun]]) -> Model:
    """The same, trained on labels that were shuffled."""
    return train(digest="5" * 64, custom_config={"shuffle_labels": True})[0]
