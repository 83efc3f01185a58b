"""docs/training.md: its examples run, and what it says of them is so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pages import files_of, text_of

from airflow_provider_mlpipe import (
    CsvExampleGenOperator,
    ImportSchemaGenOperator,
    TransformOperator,
    create_dag,
)
from airflow_provider_mlpipe.artifacts import Model, ModelRun
from airflow_provider_mlpipe.execution.contract import ExecutorContext

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning:keras"),
]

PAGE = "docs/training.md"
WIRING = "\n".join(re.findall(r"```python\n(from .*?)```", text_of(PAGE), re.DOTALL))
Train = Callable[..., tuple[Model, ModelRun]]

_SAVED = """
import json
from pathlib import Path
import keras
import tensorflow as tf
from continued import build_model, load

class Served(tf.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def __call__(self, features):
        return self.model(features)

def run_fn(fn_args):
    path = fn_args.base_model
    model = build_model()
    if path:
        LOAD
    rows = load(fn_args, fn_args.train_files)
    before = model.evaluate(rows, steps=fn_args.eval_steps, verbose=0)
    model.fit(rows, steps_per_epoch=fn_args.train_steps, verbose=0)
    after = model.evaluate(rows, steps=fn_args.eval_steps, verbose=0)
    Path(fn_args.model_run_dir, "losses.json").write_text(json.dumps({"before": before, "after": after}))
    served = Served(model)
    tf.saved_model.save(SAVED, fn_args.serving_model_dir)
"""
_READ = 'read(f"{path}/variables/variables").assert_existing_objects_matched()'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files; one place for all tests, since a module that was imported stays."""
    folder = tmp_path_factory.mktemp("page")
    for name, text in files_of(PAGE).items():
        (folder / name).write_text(text)
    return folder


def test_the_components_are_wired_as_the_page_says() -> None:
    page: dict[str, Any] = {}
    exec(WIRING, page)
    example_gen = CsvExampleGenOperator(input_base="/data")
    examples = example_gen.outputs["examples"]
    schema_gen = ImportSchemaGenOperator(schema_file="/data/schema.pbtxt")
    transform = TransformOperator(examples=examples, schema=schema_gen.outputs["schema"], module_file="/dags/t.py")
    last, trainer = page["warm_trainer"](
        transform.outputs["transformed_examples"], transform.outputs["transform_graph"]
    )
    assert page["checked"](examples, schema_gen.outputs["schema"]).check_examples == "schema"
    dag = create_dag("warm", [example_gen, schema_gen, transform, last, trainer])
    assert dag.get_task("Trainer").upstream_task_ids >= {"LastModel", "Transform"}
    assert page["backbone"].outputs["result"]


def losses(model_run: ModelRun) -> dict[str, float]:
    read: dict[str, float] = json.loads(Path(model_run.uri, "losses.json").read_text())
    return read


def test_a_training_starts_where_its_base_model_ended(train: Train, folder: Path) -> None:
    module = str(folder / "continued.py")
    model, first = train(module_file=module)
    _, second = train(module_file=module, base_model=model)
    assert losses(second)["before"] == pytest.approx(losses(first)["after"], rel=1e-6)
    assert losses(second)["before"] < 0.8 * losses(first)["before"]
    assert losses(second)["after"] < losses(second)["before"]


def test_a_training_saves_its_checkpoints(
    train: Train, folder: Path, context: Callable[[], ExecutorContext], tmp_path: Path
) -> None:
    run = replace(context(), checkpoint_dir=str(tmp_path))
    first, _ = train(module_file=str(folder / "resumed.py"), context=run)
    (saved,) = tmp_path.iterdir()
    assert saved.name == "step-240-end"
    assert Path(first.uri, "Format-Serving", "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("saved", "load"),
    [("model", f"tf.train.Checkpoint(model).{_READ}"), ("served", f"tf.train.Checkpoint(model=model).{_READ}")],
    ids=["model", "served"],
)
def test_each_way_to_save_has_a_way_to_load(train: Train, folder: Path, saved: str, load: str) -> None:
    assert load.removesuffix(f".{_READ}") in text_of(PAGE)
    assert _READ in text_of(PAGE)
    module = folder / f"saves_{saved}.py"
    module.write_text(_SAVED.replace("LOAD", load).replace("SAVED", saved))
    model, first = train(module_file=str(module))
    _, second = train(module_file=str(module), base_model=model)
    assert losses(second)["before"] == pytest.approx(losses(first)["after"], rel=1e-6)


def test_a_keras_file_of_others_is_a_base_model(train: Train, folder: Path) -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    backbone = keras.Sequential([keras.Input([4]), keras.layers.Dense(8, "relu")])
    (folder / "backbone").mkdir()
    backbone.save(folder / "backbone" / "base.keras")
    model, _ = train(module_file=str(folder / "transferred.py"), base_model=Model(uri=str(folder / "backbone")))
    trained = tf.saved_model.load(str(Path(model.uri, "Format-Serving")))
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(trained.variables, backbone.weights, strict=False))


def test_a_saved_model_of_others_is_a_base_model(train: Train, folder: Path) -> None:
    import keras

    backbone = keras.Sequential([keras.Input([4]), keras.layers.Dense(8, "relu")])
    backbone.export(str(folder / "exported"))
    layer = 'keras.layers.TFSMLayer(fn_args.base_model, call_endpoint="serving_default")'
    assert layer.replace("fn_args.base_model", "path") in text_of(PAGE)
    module = folder / "frozen.py"
    module.write_text(
        (folder / "transferred.py")
        .read_text()
        .replace("keras.models.load_model(fn_args.base_model)", layer)
        .replace("backbone, keras", 'keras.layers.Lambda(lambda x: backbone(x)["output_0"]), keras')
    )
    model, _ = train(module_file=str(module), base_model=Model(uri=str(folder / "exported")))
    assert Path(model.uri, "Format-Serving", "saved_model.pb").is_file()
