"""A user module as TFX's tutorials write them: only the import of FnArgs is this package's."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public import tfxio

from airflow_provider_mlpipe.components.trainer.fn_args import DataAccessor, FnArgs

MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
LABEL = "species"
BATCH_SIZE = 32


def _fill_in_missing(values: tf.SparseTensor) -> tf.Tensor:
    column = tf.SparseTensor(values.indices, values.values, [values.dense_shape[0], 1])
    return tf.sparse.to_dense(column, 0.0)


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    outputs = {f"{name}_xf": tft.scale_to_z_score(_fill_in_missing(inputs[name])) for name in MEASURES}
    outputs["island_xf"] = tft.compute_and_apply_vocabulary(inputs["island"], vocab_filename="island")
    outputs["species_xf"] = tft.compute_and_apply_vocabulary(inputs[LABEL], vocab_filename=LABEL)
    return outputs


def _input_fn(
    file_pattern: list[str], data_accessor: DataAccessor, tf_transform_output: tft.TFTransformOutput
) -> tf.data.Dataset:
    return data_accessor.tf_dataset_factory(
        file_pattern,
        tfxio.TensorFlowDatasetOptions(batch_size=BATCH_SIZE, label_key="species_xf"),
        tf_transform_output.transformed_metadata.schema,
    ).repeat()


def _build_keras_model() -> keras.Model:
    inputs = {f"{name}_xf": keras.Input(shape=(1,), name=f"{name}_xf") for name in MEASURES}
    inputs["island_xf"] = keras.Input(shape=(1,), name="island_xf", dtype="int64")
    island = keras.layers.CategoryEncoding(num_tokens=3, output_mode="one_hot")(inputs["island_xf"])
    hidden = keras.layers.concatenate([inputs[f"{name}_xf"] for name in MEASURES] + [island])
    hidden = keras.layers.Dense(8, activation="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))
    model.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    return model


def _serve_tf_examples_fn(model: keras.Model, tf_transform_output: tft.TFTransformOutput) -> Any:
    model.tft_layer = tf_transform_output.transform_features_layer()

    @tf.function(input_signature=[tf.TensorSpec(shape=[None], dtype=tf.string, name="examples")])
    def serve_tf_examples_fn(serialized_tf_examples: tf.Tensor) -> dict[str, tf.Tensor]:
        feature_spec = tf_transform_output.raw_feature_spec()
        feature_spec.pop(LABEL)
        transformed_features = model.tft_layer(tf.io.parse_example(serialized_tf_examples, feature_spec))
        return {"outputs": model(transformed_features)}

    return serve_tf_examples_fn


def _transform_features_fn(model: keras.Model, tf_transform_output: tft.TFTransformOutput) -> Any:
    @tf.function(input_signature=[tf.TensorSpec(shape=[None], dtype=tf.string, name="examples")])
    def transform_features_fn(serialized_tf_examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw_features = tf.io.parse_example(serialized_tf_examples, tf_transform_output.raw_feature_spec())
        return model.tft_layer(raw_features)

    return transform_features_fn


def run_fn(fn_args: FnArgs) -> None:
    tf_transform_output = tft.TFTransformOutput(fn_args.transform_output)
    train_dataset = _input_fn(fn_args.train_files, fn_args.data_accessor, tf_transform_output)
    eval_dataset = _input_fn(fn_args.eval_files, fn_args.data_accessor, tf_transform_output)
    if fn_args.custom_config.get("shuffle_labels"):
        train_dataset = train_dataset.map(lambda features, label: (features, tf.random.shuffle(label)))
    model = _build_keras_model()
    model.fit(
        train_dataset,
        steps_per_epoch=fn_args.train_steps,
        validation_data=eval_dataset,
        validation_steps=fn_args.eval_steps,
        callbacks=[keras.callbacks.TensorBoard(log_dir=fn_args.model_run_dir)],
        verbose=2,
    )
    signatures = {
        "serving_default": _serve_tf_examples_fn(model, tf_transform_output),
        "transform_features": _transform_features_fn(model, tf_transform_output),
    }
    tf.saved_model.save(model, fn_args.serving_model_dir, signatures=signatures)
