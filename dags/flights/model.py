"""Will this flight arrive more than 15 minutes late? The features, and the model that learns from them.

`preprocessing_fn` is called by Transform, `run_fn` by Trainer.
"""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_transform.tf_metadata.schema_utils import schema_as_feature_spec
from tfx_bsl.public.tfxio import TensorFlowDatasetOptions

SEED = 2013
BATCH_SIZE = 1024
READ_BATCH = 8192
EVALUATIONS = 5

LABEL = "late"
WEIGHT = "weight"

CLOCK = ["sched_dep_time", "sched_arr_time"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "pressure", "visib"]
NONE_MEANS_ZERO = ["precip", "wind_gust"]
VOCABULARY = ["carrier", "origin", "dest"]
SMALL_INTEGER = {"month": 13, "day_of_week": 8, "sched_hour": 24}
DEPARTURE_BUCKETS = 48

WIND = ["wind_north", "wind_east"]
NUMERIC = [*CLOCK, "distance", *WEATHER, *NONE_MEANS_ZERO, *WIND]
CATEGORICAL = [*VOCABULARY, *SMALL_INTEGER, "departure_bucket"]
WIDTHS = {
    "carrier": 10,
    "origin": 4,
    "dest": 16,
    "month": 8,
    "day_of_week": 6,
    "sched_hour": 14,
    "departure_bucket": 16,
}
"""How many numbers an embedding has for each value of a category."""


# ---- Transform


def preprocessing_fn(inputs: dict) -> dict:
    """Converts raw columns to model inputs; the label and the weight become floats."""
    outputs = {}
    for name in CLOCK:
        outputs[name] = tft.scale_to_z_score(_minute_of_day(inputs[name]))
    outputs["distance"] = tft.scale_to_z_score(_float(inputs["distance"]))
    for name in WEATHER:  # a missing value becomes the mean, which is 0 after scaling
        outputs[name] = _dense(tft.scale_to_z_score(_float(inputs[name])), default=0.0)
    for name in NONE_MEANS_ZERO:
        outputs[name] = tft.scale_to_z_score(tf.math.log1p(100.0 * _dense(_float(inputs[name]), default=0.0)))
    outputs |= _wind(inputs)

    for name in VOCABULARY:
        outputs[name] = tft.compute_and_apply_vocabulary(inputs[name], num_oov_buckets=1, vocab_filename=name)
    for name, size in SMALL_INTEGER.items():
        outputs[name] = tf.clip_by_value(inputs[name], 0, size - 1)
    outputs["departure_bucket"] = tft.bucketize(_minute_of_day(inputs["sched_dep_time"]), DEPARTURE_BUCKETS)

    for name in (LABEL, WEIGHT):
        outputs[name] = _float(inputs[name])
    return outputs


def _minute_of_day(clock: tf.Tensor) -> tf.Tensor:
    """The minute of the day of a clock time: 1745 is 17:45, minute 1,065."""
    return tf.cast(clock // 100 * 60 + clock % 100, tf.float32)


def _wind(inputs: dict) -> dict:
    """The wind as a vector, so that 350° is near 10°; a missing wind becomes no wind."""
    speed = _dense(_float(inputs["wind_speed"]), default=0.0) / 10.0
    angle = _dense(_float(inputs["wind_dir"]), default=0.0) * (3.141592653589793 / 180.0)
    return {"wind_north": speed * tf.cos(angle), "wind_east": speed * tf.sin(angle)}


def _float(values: tf.Tensor | tf.SparseTensor) -> tf.Tensor | tf.SparseTensor:
    return tf.cast(values, tf.float32)


def _dense(values: tf.SparseTensor, default: float) -> tf.Tensor:
    """A column with empty rows as a dense tensor [rows, 1]."""
    one_column = tf.SparseTensor(values.indices, values.values, [values.dense_shape[0], 1])
    return tf.sparse.to_dense(one_column, default_value=default)


# ---- Trainer


def run_fn(fn_args) -> None:
    """Trains on the transformed examples and saves a model that takes raw examples."""
    keras.utils.set_random_seed(SEED)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    train = _load(fn_args, fn_args.train_files, transform)
    evaluation = _load(fn_args, fn_args.eval_files, transform)

    steps = fn_args.train_steps or _rows(train) // BATCH_SIZE
    words = {name: transform.vocabulary_by_name(name) for name in VOCABULARY}
    model = build_model(words, learning_rate=fn_args.custom_config.get("learning_rate", 2e-3), steps=steps)
    if fn_args.base_model:
        start_from(Path(fn_args.base_model), model, words)
    model.fit(
        _shuffled(train),
        epochs=EVALUATIONS,
        steps_per_epoch=-(-steps // EVALUATIONS),
        shuffle=False,  # _shuffled has shuffled them
        validation_data=_in_order(evaluation).take(fn_args.eval_steps or -1),
        callbacks=[keras.callbacks.TensorBoard(fn_args.model_run_dir)],
        verbose=2,
    )
    schema = text_format.Parse(Path(fn_args.schema_path).read_text(), Schema())
    served = ServedModel(model, transform, request_spec(schema))
    tf.saved_model.save(served, fn_args.serving_model_dir, signatures={"serving_default": served.__call__})


def build_model(words: dict[str, list[bytes]], learning_rate: float = 2e-3, steps: int = 1) -> keras.Model:
    """A small network over scaled numbers and learned embeddings of the categories; `words` are the vocabularies."""
    sizes = {name: len(words[name]) + 1 for name in VOCABULARY}  # one more, for words that are not known
    sizes |= SMALL_INTEGER | {"departure_bucket": DEPARTURE_BUCKETS}

    numbers = {name: keras.Input((1,), name=name) for name in NUMERIC}
    categories = {name: keras.Input((1,), name=name, dtype="int64") for name in CATEGORICAL}
    embedded = [
        keras.layers.Flatten()(keras.layers.Embedding(sizes[name], WIDTHS[name], name=f"of_{name}")(categories[name]))
        for name in CATEGORICAL
    ]
    hidden = keras.layers.Concatenate()([*numbers.values(), *embedded])
    for units in (128, 64):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    late = keras.layers.Dense(1, activation="sigmoid", name="late")(hidden)

    model = keras.Model(numbers | categories, late)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)),
        loss="binary_crossentropy",
        jit_compile=False,
        weighted_metrics=[keras.metrics.AUC(name="auc")],
    )
    return model


def start_from(base_model: Path, model: keras.Model, words: dict[str, list[bytes]]) -> None:
    """Gives the model the weights of an earlier one, of which each word has another place in the vocabularies.

    A word that the earlier model did not know begins with random numbers.
    """
    earlier = {name: (base_model / "assets" / name).read_bytes().splitlines() for name in VOCABULARY}
    base = build_model(earlier)
    weights = tf.train.Checkpoint(model=base).read(f"{base_model}/variables/variables")
    weights.assert_existing_objects_matched().expect_partial()
    for layer, before in zip(model.layers, base.layers, strict=True):
        name = layer.name.removeprefix("of_")
        if layer.name == name or name not in VOCABULARY:
            layer.set_weights(before.get_weights())
            continue
        (new,), (old,) = layer.get_weights(), before.get_weights()
        places = {word: place for place, word in enumerate(earlier[name])}
        for place, word in enumerate(words[name]):
            if word in places:
                new[place] = old[places[word]]
        new[-1] = old[-1]  # of the words that are not known
        layer.set_weights([new])


def _load(fn_args, files: list[str], transform: tft.TFTransformOutput) -> dict[str, tf.Tensor]:
    """All transformed rows of a split in memory (about 20 MB), so training does not read them from disk again."""
    options = TensorFlowDatasetOptions(batch_size=READ_BATCH, num_epochs=1, shuffle=False)
    schema = transform.transformed_metadata.schema
    parts = list(fn_args.data_accessor.tf_dataset_factory(files, options, schema))
    return {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}


def _shuffled(columns: dict[str, tf.Tensor]) -> tf.data.Dataset:
    """Endless batches of rows, in a new order for each pass."""
    rows = _rows(columns)
    return _batches(columns, tf.data.Dataset.range(rows).shuffle(rows, seed=SEED).repeat().batch(BATCH_SIZE))


def _in_order(columns: dict[str, tf.Tensor]) -> tf.data.Dataset:
    """Batches with every row once, in order."""
    return _batches(columns, tf.data.Dataset.range(_rows(columns)).batch(READ_BATCH))


def _batches(columns: dict[str, tf.Tensor], row_numbers: tf.data.Dataset) -> tf.data.Dataset:
    return row_numbers.map(
        lambda rows: _model_input({name: tf.gather(column, rows) for name, column in columns.items()}),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def _rows(columns: dict[str, tf.Tensor]) -> int:
    return int(columns[LABEL].shape[0])


def _model_input(columns: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    features = {name: columns[name] for name in (*NUMERIC, *CATEGORICAL)}
    return features, columns[LABEL], columns[WEIGHT]


# ---- the served model


class ServedModel(tf.Module):
    """The model with the transformation that it was trained with: raw tf.Examples in, probabilities out."""

    def __init__(self, model: keras.Model, transform: tft.TFTransformOutput, request: dict) -> None:
        super().__init__()
        self.model = model
        self.transform = tf.saved_model.load(transform.transform_savedmodel_dir)
        self.request = request

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def __call__(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The probability that each flight arrives late."""
        raw = tf.io.parse_example(examples, self.request)
        unknown = tf.zeros([tf.size(examples), 1], tf.int64)  # the graph needs all columns; no feature uses these
        features = self.transform.transform_fn({LABEL: unknown, WEIGHT: unknown, **raw})
        return {"late": self.model({name: features[name] for name in (*NUMERIC, *CATEGORICAL)})}


def request_spec(schema: Schema) -> dict:
    """The features of a request: all except those that are not in the schema's environment SERVING."""
    features = [feature.name for feature in schema.feature if "SERVING" not in feature.not_in_environment]
    spec = schema_as_feature_spec(schema).feature_spec
    return {name: spec[name] for name in features}
