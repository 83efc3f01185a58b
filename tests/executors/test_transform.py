"""Transform keeps order and counts, and points to the user's line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transforms import DENSE_X, transform_here, write_examples, write_schema, write_shifted

from airflow_provider_mlpipe.artifacts import Examples, Schema, TransformGraph
from airflow_provider_mlpipe.exceptions import InvalidInputError, UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

PENGUIN_MODULE = Path(__file__).with_name("penguin_module.py")
Transform = Callable[..., tuple[TransformGraph, Examples]]


def read(examples: Examples, split: str) -> list[Any]:
    import tensorflow as tf

    from airflow_provider_mlpipe.records.inputs import split_files
    from airflow_provider_mlpipe.records.tfrecord import read_records

    return [tf.train.Example.FromString(one) for path in split_files(examples, split) for one in read_records(path)]


def value(example: Any, name: str) -> Any:
    feature = example.features.feature[name]
    (only,) = getattr(feature, feature.WhichOneof("kind")).value
    return only


def test_every_record_is_transformed_in_order(
    penguins_transformed: tuple[TransformGraph, Examples], penguin_rows: list[dict[str, str]]
) -> None:
    graph, transformed = penguins_transformed
    assert transformed.properties["splits"] == ["train", "eval"]
    assert transformed.properties["record_counts"] == {"train": 229, "eval": 115}
    species = Path(graph.uri, "transform_fn", "assets", "species").read_text().split()
    assert species == ["Adelie", "Gentoo", "Chinstrap"]  # by frequency
    eval_records = read(transformed, "eval")
    assert [species[value(one, "species_xf")] for one in eval_records] == [row["species"] for row in penguin_rows[::3]]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_the_sidecar_holds_the_same_rows(penguins_transformed: tuple[TransformGraph, Examples], split: str) -> None:
    from airflow_provider_mlpipe.records.chunks import RecordFile, SidecarChunk, example_sources
    from airflow_provider_mlpipe.records.inputs import split_files

    _, transformed = penguins_transformed
    (sidecar,) = example_sources(transformed, split)
    assert isinstance(sidecar, SidecarChunk)
    (path,) = split_files(transformed, split)
    (chunk,) = RecordFile(path=path).chunks()
    assert list(sidecar.batches()) == list(chunk.batches())


def test_scaling_uses_the_analyzed_split_only(
    penguins_transformed: tuple[TransformGraph, Examples], penguin_rows: list[dict[str, str]]
) -> None:
    train = [row["body_mass_g"] for number, row in enumerate(penguin_rows) if number % 3]
    masses = [0.0 if mass == "NA" else float(mass) for mass in train]
    mean = sum(masses) / len(masses)
    deviation = (sum((mass - mean) ** 2 for mass in masses) / len(masses)) ** 0.5
    first = value(read(penguins_transformed[1], "eval")[0], "body_mass_g_xf")
    assert first == pytest.approx((float(penguin_rows[0]["body_mass_g"]) - mean) / deviation, abs=1e-4)


def test_large_outputs_are_made_and_encoded_in_pieces(
    penguins_transformed: tuple[TransformGraph, Examples],
    penguin_examples: Examples,
    penguin_schema: Schema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow_transform as tft

    from airflow_provider_mlpipe.components.transform import materialize
    from airflow_provider_mlpipe.components.transform.saved_graph import SavedGraph, UserModule
    from airflow_provider_mlpipe.records.chunks import example_sources
    from airflow_provider_mlpipe.records.inputs import read_schema

    output = tft.TFTransformOutput(penguins_transformed[0].uri)
    schema = read_schema(penguin_schema).SerializeToString()
    graph = SavedGraph(output.transform_savedmodel_dir, schema, UserModule(str(PENGUIN_MODULE), None))
    transformation = materialize.Transformation(graph, output.transformed_metadata.schema.SerializeToString())
    (chunk,) = [chunk for one in example_sources(penguin_examples, "train", schema=schema) for chunk in one.chunks()]
    monkeypatch.setattr(materialize, "_FIRST_ROWS", 1000)
    ((whole_rows, whole),) = transformation("train", chunk)
    monkeypatch.setattr(materialize, "_FIRST_ROWS", 100)
    monkeypatch.setattr(materialize, "_BLOCK_BYTES", 1000)
    pieces = list(transformation("train", chunk))
    assert {rows.num_rows for rows, _ in pieces[-10:-1]} == {rows.num_rows for rows, _ in pieces[:5]}
    assert all(rows.nbytes <= 1100 for rows, _ in pieces)
    assert [one for _, frames in pieces for one in frames.to_pylist()] == whole.to_pylist()
    assert [row for rows, _ in pieces for row in rows.to_pylist()] == whole_rows.to_pylist()


def test_tables_of_two_graphs_in_one_process_are_apart(
    penguins_transformed: tuple[TransformGraph, Examples], transform: Transform, tmp_path: Path
) -> None:
    import tensorflow as tf

    islands = Path(penguins_transformed[0].uri, "transform_fn", "assets", "island").read_text().split()
    reversed_graph = tmp_path / "reversed"
    shutil.copytree(Path(penguins_transformed[0].uri, "transform_fn"), reversed_graph)
    (reversed_graph / "assets" / "island").write_text("\n".join(reversed(islands)) + "\n")

    def looked_up(model: Any) -> list[int]:
        missing = tf.sparse.from_dense(tf.zeros([3, 1]))
        inputs = dict.fromkeys(("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"), missing)
        inputs |= {"island": tf.constant([[island] for island in islands]), "species": tf.constant([["?"]] * 3)}
        return [int(one) for one in tf.reshape(model.transform_fn(inputs)["island_xf"], [-1])]

    graphs = (Path(penguins_transformed[0].uri, "transform_fn"), reversed_graph)
    models = [tf.saved_model.load(str(graph)) for graph in graphs]
    assert [looked_up(model) for model in models] == [[0, 1, 2], [2, 1, 0]]


def user_module(folder: Path, body: str) -> str:
    path = folder / f"user_{folder.name.replace('-', '_')}.py"
    path.write_text("import tensorflow as tf\nimport tensorflow_transform as tft\n\n" + body)
    return str(path)


def test_an_error_of_the_user_points_to_its_line(transform: Transform, tmp_path: Path) -> None:
    module = user_module(tmp_path, "def preprocessing_fn(inputs):\n    return {'x': inputs['wingspan']}\n")
    with pytest.raises(UserCodeError, match=rf"KeyError at {module}, line 5: 'wingspan'"):
        transform(module_file=module)


def test_an_error_below_the_user_points_to_the_user_and_shows_the_rest(transform: Transform, tmp_path: Path) -> None:
    body = "def preprocessing_fn(inputs):\n    return {'x': tft.scale_to_z_score(inputs['island'])}\n"
    module = user_module(tmp_path, body)
    with pytest.raises(UserCodeError, match=rf"at {module}, line 5: ") as raised:
        transform(module_file=module)
    assert "scale_to_z_score" in str(raised.value)


@pytest.mark.parametrize("arguments", [[], ["--runner=DirectRunner"]])
def test_an_analyzer_in_a_tf_function_is_refused(
    arguments: list[str], transform: Transform, context: Callable[[], ExecutorContext], tmp_path: Path
) -> None:
    body = "def preprocessing_fn(inputs):\n    return {'x': tft.scale_to_0_1(tf.strings.length(inputs['island']))}\n"
    module = user_module(tmp_path, f"@tf.function\n{body}")
    with pytest.raises(UserCodeError, match=f"^preprocessing_fn calls an analyzer at {module}, line 6 inside"):
        transform(module_file=module, context=replace(context(), beam_pipeline_args=arguments))


@pytest.mark.parametrize(
    ("arguments", "output", "said", "of_split"),
    [
        ([], "tf.cast(inputs['island'], tf.float32)", "Cast string to float is not supported", "train"),
        ([], "tft.scale_to_0_1(parse(inputs['island']))", "StringToNumberOp could not .*: Torgersen", "train"),
        (["--runner=DirectRunner"], "tft.scale_to_0_1(parse(inputs['island']))", "StringToNumberOp could not .*", ""),
    ],
)
def test_an_op_that_fails_on_the_data_points_to_its_line_and_feature(
    arguments: list[str],
    output: str,
    said: str,
    of_split: str,
    transform: Transform,
    context: Callable[[], ExecutorContext],
    tmp_path: Path,
) -> None:
    body = f"def preprocessing_fn(inputs):\n    x = {output}\n    return {{'x': x}}\n"
    module = user_module(tmp_path, f"parse = tf.function(tf.strings.to_number)\n\n{body}")
    split = rf" \(in the split '{of_split}'\)" if of_split else ""
    where = f"^preprocessing_fn fails on the data at {module}, line 7: "
    words = rf"{where}{said}{split}\. \w+ is computed from 'island' \(BYTES\)"
    with pytest.raises(UserCodeError, match=words):
        transform(module_file=module, context=replace(context(), beam_pipeline_args=arguments))


def test_frequencies_of_any_bytes(tmp_path: Path) -> None:
    body = (
        "def preprocessing_fn(inputs):\n    words = inputs['words']\n    return {'x': tft.compute_and_apply_vocabulary("
    )
    module = user_module(tmp_path, f"{body}words, vocab_filename='words', store_frequency=True)}}\n")
    examples = write_examples(tmp_path / "examples", [{"words": [b"\xff"]}, {"words": [b"\xff"]}, {"words": [b"a"]}])
    schema = write_schema(tmp_path / "schema", DENSE_X.replace("FLOAT", "BYTES").replace('"x"', '"words"'))
    transformed = transform_here(tmp_path / "transformed", examples, schema, Path(module))
    assert (transformed.graph / "transform_fn" / "assets" / "words").read_bytes() == b"2 \xff\n1 a\n"
    assert [row["x"] for row in transformed.rows.values()] == [[0], [0], [1]]


@pytest.mark.parametrize("arguments", [[], ["--runner=DirectRunner"]])
def test_outputs_that_are_no_tensors_are_refused(
    arguments: list[str], transform: Transform, context: Callable[[], ExecutorContext], tmp_path: Path
) -> None:
    module = user_module(tmp_path, "def preprocessing_fn(inputs):\n    return {'x': [inputs['island']]}\n")
    words = rf"^preprocessing_fn at {module}, line 4 returned an object of type list for 'x', "
    with pytest.raises(UserCodeError, match=words):
        transform(module_file=module, context=replace(context(), beam_pipeline_args=arguments))


@pytest.mark.parametrize(
    ("output", "rows"),
    [
        ("tf.ones([7, 1]) * tft.mean(tf.ones([2]))", 7),
        ("inputs['island'][:3]", 3),
        ("tf.sparse.slice(inputs['body_mass_g'], [0, 0], [2, 1])", 2),
        ("tf.strings.bytes_split(tf.squeeze(inputs['island'], 1))[:5]", 5),
    ],
)
def test_outputs_without_the_batch_dimension_are_refused(
    output: str, rows: int, transform: Transform, tmp_path: Path
) -> None:
    body = f"def preprocessing_fn(inputs):\n    return {{'island': inputs['island'], 'x': {output}}}\n"
    module = user_module(tmp_path, body)
    words = f"^preprocessing_fn at {module}, line 4 returned {rows} rows for 'x', but got 128; the first dimension"
    with pytest.raises(UserCodeError, match=words):
        transform(module_file=module)


_EVERY_KIND = """
def preprocessing_fn(inputs, custom_config):
    island = inputs["island"]
    tokens = tf.strings.bytes_split(tf.squeeze(island, 1))
    return {
        "factor": tf.ones_like(island, tf.float32) * custom_config["factor"],
        "matrix": tf.tile(tf.ones_like(island, tf.int64)[:, :, tf.newaxis], [1, 2, 2]),
        "sparse": inputs["body_mass_g"],
        "ragged": tokens,
        "one_hot": tf.one_hot(
            tf.squeeze(tft.compute_and_apply_vocabulary(island, vocab_filename="islands"), 1),
            tf.cast(tft.experimental.get_vocabulary_size_by_name("islands"), tf.int32),
        ),
        "nested": tf.strings.bytes_split(tf.strings.split(tf.squeeze(island, 1), "e")),
    }
"""


def test_every_kind_of_output_and_the_chosen_splits(transform: Transform, tmp_path: Path) -> None:
    module = user_module(tmp_path, _EVERY_KIND)
    splits = {"analyze": ["eval"], "transform": ["eval"]}
    _, transformed = transform(module_file=module, custom_config={"factor": 2.5}, splits_config=splits)
    assert transformed.properties["splits"] == ["eval"]
    feature = read(transformed, "eval")[0].features.feature
    assert list(feature["factor"].float_list.value) == [2.5]
    assert list(feature["matrix"].int64_list.value) == [1, 1, 1, 1]
    assert sorted(feature["one_hot"].float_list.value) == [0, 0, 1]
    assert list(feature["sparse"].float_list.value) == [3750.0]
    assert b"".join(feature["ragged$ragged_values"].bytes_list.value) == b"Torgersen"
    assert b"".join(feature["nested$ragged_values"].bytes_list.value) == b"Torgrsn"


@pytest.mark.parametrize("key", ["analyze", "transform"])
def test_an_unknown_split_is_an_error_that_lists_the_known(key: str, transform: Transform) -> None:
    with pytest.raises(InvalidInputError, match=rf"splits_config\.{key}: .* 'test'; known splits: train, eval"):
        transform(splits_config={key: ["test"]})


def test_other_records_than_were_counted_are_an_error(
    transform: Transform, penguin_examples: Examples, tmp_path: Path
) -> None:
    shutil.copytree(penguin_examples.uri, tmp_path / "examples")
    properties = {**penguin_examples.properties, "record_counts": {"train": 229, "eval": 116}}
    with pytest.raises(InvalidInputError, match=r"115 records of the split 'eval' were read, of 116 that its producer"):
        transform(examples=Examples(uri=str(tmp_path / "examples"), properties=properties))


def test_nothing_to_analyze_is_an_error(
    transform: Transform, write_penguins: Callable[..., Examples], penguin_rows: list[dict[str, str]]
) -> None:
    with pytest.raises(InvalidInputError, match="Split-train has no records"):
        transform(examples=write_penguins({"train": [], "eval": penguin_rows[:3]}))


@pytest.mark.parametrize("arguments", [[], ["--runner=DirectRunner"]])
def test_rows_are_not_shifted_in_a_dense_feature(
    arguments: list[str], transform: Transform, context: Callable[[], ExecutorContext], tmp_path: Path
) -> None:
    given = {
        "module_file": user_module(tmp_path, "def preprocessing_fn(inputs):\n    return {'x': inputs['x']}\n"),
        "examples": write_shifted(tmp_path / "examples", sidecar=not arguments),
        "schema": write_schema(tmp_path / "schema", DENSE_X),
    }
    with pytest.raises(InvalidInputError, match="row 1,201 of the split 'train': feature 'x' has 2 values, but the"):
        transform(**given, context=replace(context(), beam_pipeline_args=arguments))


_SPARSE = """
feature { name: "value" type: FLOAT } feature { name: "place" type: INT }
tensor_representation_group { key: "" value { tensor_representation { key: "both" value { sparse_tensor {
  value_column_name: "value" index_column_names: "place" dense_shape { dim { size: 10 } }
} } } } }
"""


def test_rows_that_are_no_sparse_tensor_are_an_error(transform: Transform, tmp_path: Path) -> None:
    given = {
        "module_file": user_module(tmp_path, "def preprocessing_fn(inputs):\n    return {'x': inputs['both']}\n"),
        "examples": write_examples(tmp_path / "examples", [{"value": [1.0], "place": [1, 2]}]),
        "schema": write_schema(tmp_path / "schema", _SPARSE),
    }
    with pytest.raises(
        InvalidInputError, match=r"tensor 'both': .*number of values: 1; .*correct the data, or the ten"
    ):
        transform(**given)


def test_an_empty_split_is_transformed_to_an_empty_one(
    transform: Transform, write_penguins: Callable[..., Examples], penguin_rows: list[dict[str, str]]
) -> None:
    _, transformed = transform(examples=write_penguins({"train": penguin_rows[:30], "eval": []}))
    assert transformed.properties["record_counts"] == {"train": 30, "eval": 0}
    assert read(transformed, "eval") == []


def test_a_broken_schema_is_an_error(transform: Transform, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"schema\.pbtxt does not exist"):
        transform(schema=Schema(uri=str(tmp_path)))
    (tmp_path / "schema.pbtxt").write_text("feature { nme: 1 }")
    with pytest.raises(InvalidInputError, match=r"schema\.pbtxt, line 1, column 11: .*; it must hold a tensorflow"):
        transform(schema=Schema(uri=str(tmp_path)))
