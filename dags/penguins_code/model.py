"""Which species is this penguin? `preprocessing_fn` is called by Transform, `run_fn` by Trainer."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_transform.tf_metadata.schema_utils import schema_as_feature_spec
from tfx_bsl.public.tfxio import TensorFlowDatasetOptions

SEED = 7
BATCH_SIZE = 32

LABEL = "species"
CLASSES = 3
NUMERIC = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
CATEGORICAL = {"island": 3, "sex": 2}

Columns = dict[str, tf.Tensor]


# ---- Transform


def preprocessing_fn(inputs: dict) -> dict:
    """Scales the measurements; a missing one becomes the mean, which is 0 after scaling."""
    outputs = {}
    for name in NUMERIC:
        outputs[name] = _dense(tft.scale_to_z_score(tf.cast(inputs[name], tf.float32)), 0.0)
    for name, size in CATEGORICAL.items():  # an unknown or missing category becomes all zeros
        number = tft.compute_and_apply_vocabulary(_dense(inputs[name], ""), vocab_filename=name, top_k=size)
        outputs[name] = tf.one_hot(tf.squeeze(number, axis=1), size)
    outputs[LABEL] = inputs[LABEL]
    return outputs


def _dense(values: tf.Tensor | tf.SparseTensor, default: float | str) -> tf.Tensor:
    """A column as a dense tensor [rows, 1]; with the inferred schema, a column with missing cells is sparse."""
    if not isinstance(values, tf.SparseTensor):
        return values
    one_column = tf.SparseTensor(values.indices, values.values, [values.dense_shape[0], 1])
    return tf.sparse.to_dense(one_column, default_value=default)


# ---- Trainer


def run_fn(fn_args) -> None:
    """Trains on the transformed examples and saves a model that takes raw examples."""
    keras.utils.set_random_seed(SEED)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    features, labels = _load(fn_args, fn_args.train_files, transform)
    if fn_args.custom_config.get("shuffle_labels"):
        labels = np.random.default_rng(SEED).permutation(labels)

    model = build_model(fn_args.custom_config.get("learning_rate", 0.01))
    batches = tf.data.Dataset.from_tensor_slices((features, labels)).shuffle(1000, seed=SEED).repeat().batch(BATCH_SIZE)
    model.fit(
        batches,
        steps_per_epoch=fn_args.train_steps or 200,
        shuffle=False,  # the batches are shuffled already
        validation_data=_load(fn_args, fn_args.eval_files, transform),
        callbacks=[keras.callbacks.TensorBoard(fn_args.model_run_dir)],
        verbose=2,
    )
    schema = text_format.Parse(Path(fn_args.schema_path).read_text(), Schema())
    served = ServedModel(model, transform, schema)
    tf.saved_model.save(served, fn_args.serving_model_dir, signatures={"serving_default": served.__call__})


def build_model(learning_rate: float) -> keras.Model:
    """A small network that returns the probability of each species."""
    inputs = {name: keras.Input((1,), name=name) for name in NUMERIC}
    inputs |= {name: keras.Input((size,), name=name) for name, size in CATEGORICAL.items()}
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    hidden = keras.layers.Dense(16, activation="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(hidden))
    model.compile(keras.optimizers.Adam(learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _load(fn_args, files: list[str], transform: tft.TFTransformOutput) -> tuple[Columns, np.ndarray]:
    """All rows of a split: they fit in memory."""
    options = TensorFlowDatasetOptions(batch_size=1000, num_epochs=1, shuffle=False)
    schema = transform.transformed_metadata.schema
    parts = list(fn_args.data_accessor.tf_dataset_factory(files, options, schema))
    columns = {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}
    labels = columns.pop(LABEL).numpy()
    return columns, labels


# ---- the served model


class ServedModel(tf.Module):
    """The model with the transformation that it was trained with: raw tf.Examples in, probabilities out."""

    def __init__(self, model: keras.Model, transform: tft.TFTransformOutput, schema: Schema) -> None:
        super().__init__()
        self.model = model
        self.transform = tf.saved_model.load(transform.transform_savedmodel_dir)
        self.request = dict(schema_as_feature_spec(schema).feature_spec)
        del self.request[LABEL]  # a request does not have it

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def __call__(self, examples: tf.Tensor) -> Columns:
        """The probabilities of the species, in the order Adelie, Chinstrap, Gentoo."""
        raw = tf.io.parse_example(examples, self.request)
        unknown = tf.zeros([tf.size(examples), 1], tf.int64)  # the graph needs all columns; no feature uses the label
        features = self.transform.transform_fn({LABEL: unknown, **raw})
        return {"species": self.model({name: features[name] for name in (*NUMERIC, *CATEGORICAL)})}
