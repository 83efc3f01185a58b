"""A training that is killed goes on in the next try, and ends as if nobody had killed it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from held import Held
from run_part import component_run

from airflow_provider_mlpipe import (
    CsvExampleGenOperator,
    ImportSchemaGenOperator,
    TrainerOperator,
    TransformOperator,
    training_checkpoint,
)
from airflow_provider_mlpipe.artifacts import Artifact, Examples, TransformGraph
from airflow_provider_mlpipe.exceptions import ExecutorDiedError, InvalidInputError, InvalidValueError
from airflow_provider_mlpipe.metadata.store import MetadataStore

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

EPOCHS, STEPS = 4, 25
_MODULE = """
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public.tfxio import TensorFlowDatasetOptions

from airflow_provider_mlpipe import training_checkpoint
from airflow_provider_mlpipe.barriers import barrier

EPOCHS, STEPS = 4, 25
FEATURES = [f"{name}_xf" for name in ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")]


class Told(keras.callbacks.Callback):
    \"\"\"Notes each step that is trained, and what each epoch came to.\"\"\"

    def __init__(self, folder):
        super().__init__()
        self.folder, self.epochs, self.before = Path(folder), [], None

    def on_train_batch_begin(self, batch, logs=None):
        self.before = int(self.model.optimizer.iterations)

    def on_train_batch_end(self, batch, logs=None):
        step = int(self.model.optimizer.iterations)
        if step > self.before:
            with (self.folder / "steps").open("a") as file:
                print(step, file=file)
            barrier(f"step.{step}")

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append([epoch, {name: float(value) for name, value in logs.items()}])
        (self.folder / "epochs.json").write_text(json.dumps(self.epochs))


def build_model():
    model = keras.Sequential([
        keras.Input([4]), keras.layers.BatchNormalization(), keras.layers.Dense(16, "relu"),
        keras.layers.Dropout(0.2), keras.layers.Dense(3, "softmax"),
    ])
    rate = keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * STEPS)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data(style, fn_args):
    if style == "factory":
        schema = tft.TFTransformOutput(fn_args.transform_output).transformed_metadata.schema
        options = TensorFlowDatasetOptions(batch_size=16, label_key="species_xf")
        rows = fn_args.data_accessor.tf_dataset_factory(fn_args.train_files, options, schema)
        return rows.map(lambda row, label: (tf.concat([row[name] for name in FEATURES], axis=1), label)), STEPS
    random = np.random.default_rng(7)
    rows = random.normal(size=(STEPS * 16, 4)).astype("float32")
    labels = rows[:, :3].argmax(axis=1)
    whole = tf.data.Dataset.from_tensor_slices((rows, labels))
    if style == "endless":
        return whole.shuffle(100, seed=3).repeat().batch(16), STEPS
    return whole.shuffle(100, seed=3, reshuffle_each_iteration=False).batch(16), None


def run_fn(fn_args):
    config = fn_args.custom_config
    keras.utils.set_random_seed(1)
    train, steps = data(config["style"], fn_args)
    model = build_model()
    saves = training_checkpoint(fn_args.checkpoint_dir, every_steps=config["every"])
    model.fit(
        train, epochs=EPOCHS, steps_per_epoch=steps, validation_data=data("once", fn_args)[0], shuffle=False, verbose=0,
        callbacks=[Told(config["folder"]), saves],
    )
    barrier("trained")
    model.export(fn_args.serving_model_dir)
"""


@dataclass
class Trainings(Held):
    """Tries of one Trainer, each with an executor of its own that can be killed."""

    dsn: str
    root: Path
    barriers: Path
    module: Path
    inputs: dict[str, Artifact]

    def run(self, style: str, try_number: int = 1, *, folder: str = "told", every: int = 7) -> Path:
        """Returns the SavedModel."""
        told = self.root.parent / folder
        told.mkdir(exist_ok=True)
        examples = CsvExampleGenOperator(input_base="/data").outputs["examples"]
        schema = ImportSchemaGenOperator(schema_file="/data/schema.pbtxt").outputs["schema"]
        transform = TransformOperator(examples=examples, schema=schema, module_file="/dags/transform.py")
        operator = TrainerOperator(
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            module_file=str(self.module),
            custom_config={"folder": str(told), "style": style, "every": every},
            pipeline_root=str(self.root),
        )
        operator.__dict__["store"] = MetadataStore(self.dsn)
        run = component_run(operator, run_id=folder, try_number=try_number, inputs=self.inputs)
        return Path(operator.run_node(run)["model"][0].uri, "Format-Serving")

    def kill(self, style: str, barrier: str, try_number: int = 1, **how: Any) -> None:
        """Kills a try's executor there."""
        self.hold(barrier)
        with ThreadPoolExecutor(1) as pool:
            tried = pool.submit(self.run, style, try_number, **how)
            os.kill(self.wait_at(barrier), signal.SIGKILL)
            with pytest.raises(ExecutorDiedError, match="SIGKILL"):
                tried.result()
        self.release(barrier)

    def steps(self, folder: str = "told") -> list[int]:
        """The steps that all tries trained."""
        return [int(line) for line in (self.root.parent / folder / "steps").read_text().split()]

    def epochs(self, folder: str = "told") -> list[Any]:
        """What the newest try's epochs came to."""
        read: list[Any] = json.loads((self.root.parent / folder / "epochs.json").read_text())
        return read

    def checkpoints(self) -> list[Path]:
        return sorted(self.root.glob("Trainer/.checkpoints/*/step-*"))


@pytest.fixture
def trainings(
    database: str,
    tmp_path: Path,
    penguins_transformed: tuple[TransformGraph, Examples],
    monkeypatch: pytest.MonkeyPatch,
) -> Trainings:
    (tmp_path / "barriers").mkdir()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(tmp_path / "barriers"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    module = tmp_path / "trained.py"
    module.write_text(_MODULE)
    graph, examples = penguins_transformed
    inputs: dict[str, Artifact] = {
        "examples": Examples(uri=examples.uri, digest="d" * 64, properties=examples.properties),
        "transform_graph": TransformGraph(uri=graph.uri, digest="e" * 64),
    }
    return Trainings(database, tmp_path / "root", tmp_path / "barriers", module, inputs)


def weights(saved_model: Path) -> list[Any]:
    import tensorflow as tf

    return [variable.numpy() for variable in tf.saved_model.load(str(saved_model)).variables]


@pytest.mark.parametrize("style", ["endless", "once", "factory"])
def test_a_killed_training_ends_as_one_that_was_not_killed(style: str, trainings: Trainings) -> None:
    import numpy as np

    trainings.kill(style, "step.60")
    resumed = trainings.run(style, 2)
    whole = trainings.run(style, folder="whole")

    assert trainings.steps("whole") == list(range(1, EPOCHS * STEPS + 1))
    assert trainings.steps() == [*range(1, 61), *range(57, EPOCHS * STEPS + 1)]
    for mine, theirs in zip(weights(resumed), weights(whole), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)
    assert [epoch for epoch, _ in trainings.epochs()] == [2, 3]
    for (_, mine), (_, theirs) in zip(trainings.epochs(), trainings.epochs("whole")[2:], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
    assert trainings.checkpoints() == []


def test_each_kill_costs_only_the_steps_since_the_last_checkpoint(trainings: Trainings) -> None:
    trainings.kill("endless", "step.25", every=25)
    trainings.kill("endless", "step.51", 2, every=25)
    trainings.kill("endless", "trained", 3, every=25)
    trainings.run("endless", 4, every=25)
    assert trainings.steps() == [*range(1, 26), *range(1, 52), *range(51, EPOCHS * STEPS + 1)]


def test_a_checkpoint_that_is_being_written_is_not_used(trainings: Trainings) -> None:
    trainings.hold("checkpoint.written")
    with ThreadPoolExecutor(1) as pool:
        tried = pool.submit(trainings.run, "endless")
        pid = trainings.wait_at("checkpoint.written")
        trainings.hold("checkpoint.saved")
        trainings.release("checkpoint.written")
        trainings.wait_at("checkpoint.saved")
        trainings.hold("checkpoint.written")
        trainings.release("checkpoint.saved")
        trainings.wait_at("checkpoint.written")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ExecutorDiedError):
            tried.result()
    trainings.release("checkpoint.written")
    trainings.run("endless", 2)
    assert trainings.steps() == [*range(1, 15), *range(8, EPOCHS * STEPS + 1)]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("position.json", "gone"),
        ("state.index", "cut off"),
        ("state.data-00000-of-00001", "cut off"),
        ("state.data-00000-of-00001", "changed"),
        ("*", "gone"),
    ],
)
def test_for_a_damaged_checkpoint_the_one_before_it_is_used(file: str, damage: str, trainings: Trainings) -> None:
    trainings.kill("endless", "step.30")
    *_, newest = sorted(trainings.checkpoints(), key=lambda path: int(path.name.removeprefix("step-")))
    assert newest.name == "step-28"
    for path in list(newest.glob(file)):
        if damage == "gone":
            path.unlink()
        elif damage == "cut off":
            os.truncate(path, 10)
        else:
            content = path.read_bytes()
            path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    trainings.run("endless", 2)
    assert trainings.steps() == [*range(1, 31), *range(22, EPOCHS * STEPS + 1)]


def test_without_a_checkpoint_that_can_be_used_it_begins_anew(trainings: Trainings) -> None:
    trainings.kill("endless", "step.30")
    for place in trainings.checkpoints():
        os.truncate(place / "state.data-00000-of-00001", 10)
    trainings.run("endless", 2)
    assert trainings.steps() == [*range(1, 31), *range(1, EPOCHS * STEPS + 1)]


class TestInOneProcess:
    """What needs no kill."""

    def fit(self, folder: Path, *, units: int = 3, rows: int = 32, stop: Any = None, **how: Any) -> Any:
        import keras
        import numpy as np

        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input([2]), keras.layers.Dense(units)])
        model.compile("sgd", "mse")
        x = np.ones((rows, 2), "float32")
        saves = training_checkpoint(str(folder), every_steps=3)
        callbacks = [saves] if stop is None else [saves, stop]
        return model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=callbacks, **how), model

    def test_two_fits_need_two_folders(self, tmp_path: Path) -> None:
        self.fit(tmp_path / "first")
        with pytest.raises(InvalidValueError, match="an earlier call of fit; give each call a folder of its own"):
            self.fit(tmp_path / "first")
        self.fit(tmp_path / "second")

    def test_a_training_that_had_ended_is_not_repeated(self, tmp_path: Path) -> None:
        history, model = self.fit(tmp_path / "one", epochs=2)
        assert len(history.epoch) == 2
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        again, same = self.fit(tmp_path / "two", epochs=2)
        assert again.epoch == []
        assert all((mine == theirs).all() for mine, theirs in zip(model.get_weights(), same.get_weights(), strict=True))
        assert same.fit(same.get_weights()[0].T, same.get_weights()[1], verbose=0).epoch == [0]

    def test_another_model_begins_anew(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.fit(tmp_path / "one")
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        history, _ = self.fit(tmp_path / "two", units=4)
        assert history.epoch == [0]
        assert "has the shape (2, 3) in it, not (2, 4)" in caplog.text

    def test_a_dataset_that_has_become_shorter_is_named(self, tmp_path: Path) -> None:
        class Killed(Exception):
            pass

        def kill(batch: int, logs: Any) -> None:
            if batch == 6:
                raise Killed

        import keras

        with pytest.raises(Killed):
            self.fit(tmp_path / "one", stop=keras.callbacks.LambdaCallback(on_train_batch_end=kill))
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        with pytest.raises(InvalidInputError, match="has given 4 batches, but 6 before training was interrupted"):
            self.fit(tmp_path / "two", rows=16)

    def test_few_checkpoints_stay(self, tmp_path: Path) -> None:
        self.fit(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["step-6", "step-8-end"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"checkpoint_dir": None}, "needs a folder"),
        ({"checkpoint_dir": "/x", "every_steps": 0}, "every_steps must be positive, but is 0"),
        ({"checkpoint_dir": "/x", "every_seconds": -1.0}, r"every_seconds must be positive, but is -1\.0"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        training_checkpoint(**given)
