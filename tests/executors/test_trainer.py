"""Trainer runs TFX-style modules unchanged, and says what is missing when one saves no model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fresh import run_executor
from transforms import DENSE_X, write_schema, write_shifted

from airflow_provider_mlpipe.artifacts import Examples, HyperParameters, Model, ModelRun, Schema, TransformGraph
from airflow_provider_mlpipe.exceptions import InvalidInputError, UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning:keras"),
]

Train = Callable[..., tuple[Model, ModelRun]]


def user_module(folder: Path, body: str) -> str:
    path = folder / f"{folder.name}_module.py"
    path.write_text(body)
    return str(path)


def test_a_tfx_style_module_trains_a_model_that_serves_raw_examples(
    penguin_model: Model, penguin_examples: Examples, penguin_rows: list[dict[str, str]]
) -> None:
    import numpy as np
    import tensorflow as tf

    from airflow_provider_mlpipe.records.inputs import split_files
    from airflow_provider_mlpipe.records.tfrecord import read_records

    loaded = tf.saved_model.load(str(Path(penguin_model.uri, "Format-Serving")))
    (path,) = split_files(penguin_examples, "eval")
    raw = tf.constant(list(read_records(path)))
    probabilities = loaded.signatures["serving_default"](examples=raw)["outputs"].numpy()
    species = np.array(["Adelie", "Gentoo", "Chinstrap"])[probabilities.argmax(axis=1)]
    accuracy = np.mean(species == [row["species"] for row in penguin_rows[::3]])
    assert accuracy > 0.9
    labels = loaded.signatures["transform_features"](examples=raw)["species_xf"]
    assert labels.shape == (115, 1)


def test_training_again_on_equal_input_gives_equal_weights(penguin_model: Model, train: Train) -> None:
    import numpy as np
    import tensorflow as tf

    def weights(model: Model) -> dict[str, Any]:
        reader = tf.train.load_checkpoint(str(Path(model.uri, "Format-Serving", "variables", "variables")))
        names = [name for name in reader.get_variable_to_shape_map() if "/.ATTRIBUTES/VARIABLE_VALUE" in name]
        return {name: reader.get_tensor(name) for name in names}

    first, second = weights(penguin_model), weights(train()[0])
    assert first.keys() == second.keys()
    assert sum(value.size for value in first.values()) > 80
    assert all(np.array_equal(first[name], second[name]) for name in first)


_REPORT = """
import json, pathlib
from tfx_bsl.public import tfxio
import tensorflow as tf
import tensorflow_transform as tft

class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, examples):
        return {"one": tf.ones_like(examples, tf.float32)}

def run_fn(fn_args):
    seen = {name: str(getattr(fn_args, name)) for name in (
        "working_dir", "schema_path", "schema_file", "transform_graph_path", "transform_output", "eval_model_dir",
        "base_model", "hyperparameters", "custom_config", "train_steps", "eval_steps")}
    schema = tft.TFTransformOutput(fn_args.transform_output).transformed_metadata.schema
    options = tfxio.RecordBatchesOptions(batch_size=50, num_epochs=1)
    batches = fn_args.data_accessor.record_batch_factory(fn_args.train_files, options, schema)
    seen["rows"] = sum(batch.num_rows for batch in batches)
    options = tfxio.TensorFlowDatasetOptions(batch_size=50, num_epochs=1)
    dataset = fn_args.data_accessor.tf_dataset_factory(fn_args.eval_files, options, schema)
    seen["eval_rows"] = sum(int(tf.shape(features["island_xf"])[0]) for features in dataset)
    pathlib.Path(fn_args.model_run_dir, "seen.json").write_text(json.dumps(seen))
    tf.saved_model.save(Model(), fn_args.serving_model_dir)
"""


def test_fn_args_hold_what_tfx_modules_read(
    train: Train, penguin_schema: Schema, penguins_transformed: tuple[TransformGraph, Examples], tmp_path: Path
) -> None:
    (tmp_path / "hp").mkdir()
    (tmp_path / "base" / "Format-Serving").mkdir(parents=True)
    (tmp_path / "hp" / "best_hyperparameters.txt").write_text('{"values": {"units": 8}}')
    model, model_run = train(
        module_file=user_module(tmp_path, _REPORT),
        schema=penguin_schema,
        base_model=Model(uri=str(tmp_path / "base")),
        hyperparameters=HyperParameters(uri=str(tmp_path / "hp")),
        custom_config={"epochs": 3},
        train_args={"splits": ["train", "eval"]},
        eval_args=None,
    )
    seen = json.loads(Path(model_run.uri, "seen.json").read_text())
    assert seen.pop("working_dir")
    graph = penguins_transformed[0].uri
    assert seen == {
        "schema_path": f"{penguin_schema.uri}/schema.pbtxt",
        "schema_file": f"{penguin_schema.uri}/schema.pbtxt",
        "transform_graph_path": graph,
        "transform_output": graph,
        "eval_model_dir": f"{model.uri}/Format-TFMA",
        "base_model": f"{tmp_path}/base/Format-Serving",
        "hyperparameters": "{'values': {'units': 8}}",
        "custom_config": "{'epochs': 3}",
        "train_steps": "None",
        "eval_steps": "None",
        "rows": 344,
        "eval_rows": 115,
    }


@pytest.mark.parametrize("left_out", ["nothing", "Arrow-*"])
def test_a_folder_may_have_glob_characters(
    left_out: str, train: Train, penguins_transformed: tuple[TransformGraph, Examples], tmp_path: Path
) -> None:
    transformed = penguins_transformed[1]
    folder = shutil.copytree(transformed.uri, tmp_path / "[x] *? b\\c", ignore=shutil.ignore_patterns(left_out))
    module = user_module(tmp_path, _REPORT)
    _, model_run = train(module_file=module, examples=Examples(uri=str(folder), properties=transformed.properties))
    seen = json.loads(Path(model_run.uri, "seen.json").read_text())
    assert (seen["rows"], seen["eval_rows"]) == (229, 115)


_EXPORT = """
import keras
import tensorflow as tf

def run_fn(fn_args):
    fn_args.custom_config["moved"] = [bytearray(1 + number % 700) for number in range(fn_args.custom_config["objects"])]
    inputs = {name: keras.Input([1], name=name) for name in ("a", "b")}
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    for units in (3, 5, 7):
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(units)(hidden))
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    if fn_args.custom_config["export"]:
        return model.export(fn_args.serving_model_dir)
    serve = tf.function(lambda a, b: model({"a": a, "b": b}), input_signature=[tf.TensorSpec([None, 1])] * 2)
    tf.saved_model.save(model, fn_args.serving_model_dir, signatures=serve)
"""


@pytest.mark.parametrize("export", [True, False])
def test_equal_models_have_equal_bytes(
    export: bool,
    empty: Callable[..., Any],
    context: Callable[[], ExecutorContext],
    penguins_transformed: tuple[TransformGraph, Examples],
    tmp_path: Path,
) -> None:
    def files(objects: int) -> dict[str, bytes]:
        given = {
            "examples": penguins_transformed[1],
            "module_file": user_module(tmp_path, _EXPORT),
            "custom_config": {"objects": objects, "export": export},
            "model": empty(Model),
            "model_run": empty(ModelRun),
            "context": context(),
        }
        others = ("transform_graph", "schema", "base_model", "hyperparameters", "run_fn", "train_args", "eval_args")
        others += ("check_examples",)
        run_executor("airflow_provider_mlpipe.components.trainer.executor:run", **dict.fromkeys(others), **given)
        folder = Path(given["model"].uri)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first, second = files(1), files(77_777)
    assert "Format-Serving/saved_model.pb" in first
    assert [name for name in first if first[name] != second[name]] == []


def test_the_order_of_variables_is_where_tensorflow_keeps_it() -> None:
    import inspect

    from tensorflow.python.framework import func_graph

    assert isinstance(func_graph.FuncGraph.variables, property)
    assert isinstance(func_graph.FuncGraph.external_captures, property)
    assert "func_graph.variables = func_graph._watched_variables" in inspect.getsource(func_graph)


def test_logs_go_to_the_model_run(train: Train) -> None:
    _, model_run = train(train_args={"num_steps": 1}, eval_args={"num_steps": 1})
    assert list(Path(model_run.uri).rglob("events.out.tfevents.*"))


def test_keras_is_keras_3_after_transform_was_imported() -> None:
    code = """
from airflow_provider_mlpipe.components.transform import executor
import tensorflow as tf
assert tf.keras.__version__.startswith("3."), tf.keras
"""
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_fn_that_does_not_take_fn_args_is_told_so(train: Train, tmp_path: Path) -> None:
    module = user_module(tmp_path, "def run_fn():\n    pass\n")
    with pytest.raises(UserCodeError, match=rf"{module}, line 1: run_fn\(\) is called .*`def run_fn\(fn_args\)`"):
        train(module_file=str(module))


def test_a_run_fn_that_saves_nothing_is_told_what_to_call(train: Train, tmp_path: Path) -> None:
    module = user_module(tmp_path, "def run_fn(fn_args):\n    pass\n")
    with pytest.raises(UserCodeError, match=r"saved no SavedModel to fn_args\.serving_model_dir") as raised:
        train(module_file=module)
    assert f"run_fn of {module}" in str(raised.value)
    assert "model.export(fn_args.serving_model_dir)" in str(raised.value)


@pytest.mark.parametrize("parameter", ["train_args", "eval_args"])
def test_an_unknown_split_is_an_error_that_lists_the_known(parameter: str, train: Train) -> None:
    with pytest.raises(InvalidInputError, match=rf"{parameter}\.splits: .* 'test'; known splits: train, eval"):
        train(**{parameter: {"splits": ["test"]}})


_MISSING_LABEL = """
from tfx_bsl.public import tfxio
import tensorflow_transform as tft

def run_fn(fn_args):
    schema = tft.TFTransformOutput(fn_args.transform_output).transformed_metadata.schema
    options = tfxio.TensorFlowDatasetOptions(batch_size=8, label_key="kind")
    fn_args.data_accessor.tf_dataset_factory(fn_args.train_files, options, schema)
"""


def test_a_label_that_the_schema_lacks_is_an_error_that_lists_the_features(train: Train, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no feature 'kind'; its features: .*island_xf, species_xf"):
        train(module_file=user_module(tmp_path, _MISSING_LABEL))


_READ_X = """
from tfx_bsl.public import tfxio
import tensorflow_transform as tft

def run_fn(fn_args):
    options = tfxio.TensorFlowDatasetOptions(batch_size=100, num_epochs=1)
    schema = tft.tf_metadata.schema_utils.schema_from_feature_spec({})
    with open(fn_args.schema_path) as file:
        from google.protobuf import text_format
        text_format.Parse(file.read(), schema)
    for batch in fn_args.data_accessor.tf_dataset_factory(fn_args.train_files, options, schema):
        pass
"""


@pytest.mark.parametrize("sidecar", [True, False])
def test_a_row_that_does_not_fit_the_schema_is_named(sidecar: bool, train: Train, tmp_path: Path) -> None:
    examples = write_shifted(tmp_path / "examples", sidecar=sidecar)
    schema = write_schema(tmp_path / "schema", DENSE_X)
    with pytest.raises(InvalidInputError, match="row 1,201 of the split 'train': feature 'x' has 2 values, but the"):
        train(module_file=user_module(tmp_path, _READ_X), examples=examples, schema=schema)


_NOT_CALLED = "def run_fn(fn_args):\n    raise SystemExit('run_fn was called')\n"


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize(("span", "where"), [({}, "train"), ({"span": 31}, "train of span 31")])
def test_check_examples_names_the_first_row_that_does_not_fit(
    sidecar: bool, span: dict[str, int], where: str, train: Train, tmp_path: Path
) -> None:
    examples = write_shifted(tmp_path / "examples", sidecar=sidecar)
    examples = Examples(uri=examples.uri, properties={**examples.properties, **span})
    schema = write_schema(tmp_path / "schema", DENSE_X)
    with pytest.raises(
        InvalidInputError,
        match=f"^check_examples: {where}: .*, row 1,201 of the split 'train': feature 'x' has 2 values, but the schema",
    ):
        train(module_file=user_module(tmp_path, _NOT_CALLED), examples=examples, schema=schema, check_examples="schema")


def test_check_examples_names_the_span_among_several(train: Train, tmp_path: Path) -> None:
    good, bad = (write_shifted(tmp_path / name, sidecar=True) for name in ("good", "bad"))
    schema = write_schema(tmp_path / "schema", 'feature { name: "x" type: FLOAT }')
    integers = write_schema(tmp_path / "integers", 'feature { name: "x" type: INT }')
    window = [
        Examples(uri=one.uri, properties={**one.properties, "span": span}) for span, one in ((30, good), (31, bad))
    ]
    module = user_module(tmp_path, _NOT_CALLED)
    with pytest.raises(InvalidInputError, match=r"^check_examples: train of span 30: .* 'x' is FLOAT, but .* is INT"):
        train(module_file=module, examples=window, schema=integers, check_examples="schema")
    with pytest.raises(SystemExit, match="run_fn was called"):
        train(module_file=module, examples=window, schema=schema, check_examples="schema")


def test_transformed_examples_fit_the_schema_of_their_graph(
    train: Train, penguin_schema: Schema, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    module = user_module(tmp_path, _NOT_CALLED)
    with pytest.raises(SystemExit, match="run_fn was called"):
        train(module_file=module, check_examples="transform_graph")
    assert "all 344 rows fit the schema of transform_graph" in caplog.text
    with pytest.raises(InvalidInputError, match="feature 'island' has no values, but the schema says 1"):
        train(module_file=module, schema=penguin_schema, check_examples="schema")
    with pytest.raises(InvalidInputError, match="check_examples='schema' needs the input schema"):
        train(module_file=module, check_examples="schema")


@pytest.mark.parametrize("file", ["best_hyperparameters.txt", "hyperparameters.txt", "mine.json"])
@pytest.mark.parametrize("is_imported_alone", [True, False])
def test_hyperparameters_are_read_whatever_their_file_is_called(
    file: str, is_imported_alone: bool, train: Train, penguin_schema: Schema, tmp_path: Path
) -> None:
    (tmp_path / "hp").mkdir()
    (tmp_path / "hp" / file).write_text('{"values": {"units": 8}}')
    uri = tmp_path / "hp" / file if is_imported_alone else tmp_path / "hp"
    module = user_module(tmp_path, "def run_fn(fn_args):\n    raise RuntimeError(str(fn_args.hyperparameters))\n")
    with pytest.raises(RuntimeError, match="'units': 8"):
        train(module_file=module, hyperparameters=HyperParameters(uri=str(uri)))


def test_hyperparameters_that_are_no_json_are_an_error(train: Train, tmp_path: Path) -> None:
    (tmp_path / "hp").mkdir()
    (tmp_path / "hp" / "best_hyperparameters.txt").write_text("units: 8")
    with pytest.raises(InvalidInputError, match=r"best_hyperparameters\.txt cannot be read as JSON"):
        train(hyperparameters=HyperParameters(uri=str(tmp_path / "hp")))


@pytest.mark.parametrize(
    "error", [MemoryError("too big"), ValueError("the server said nothing"), ConnectionError("refused")]
)
def test_what_another_run_might_not_meet_comes_through(error: Exception, train: Train, tmp_path: Path) -> None:
    module = user_module(tmp_path, f"def run_fn(fn_args):\n    raise {error!r}\n")
    with pytest.raises(type(error), match=str(error)):
        train(module_file=module)
