"""Transform without Beam gives what stock TFT gives on Beam: vocabularies, schemas and transformed values."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path
from typing import Any

import flight_models
import pytest
from csv_parameters import CSV_PARAMETERS
from examples import EXAMPLES
from flights import data as flight_data
from fresh import run_executor
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from transforms import (
    EVERY_ANALYZER_SCHEMA,
    FLIGHT_TOLERANCES,
    Transformed,
    assert_equal,
    transform_by_tft,
    transform_here,
    write_examples,
    write_schema,
)

from airflow_provider_mlpipe.artifacts import Examples, Schema
from airflow_provider_mlpipe.execution.contract import ExecutorContext

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

FLIGHTS = Path(__file__).parents[2] / "dags" / "flights"
PENGUIN_MODULE = Path(__file__).with_name("penguin_module.py")
EVERY = 37  # flights of every month: 9,000 of them
EVERY_ANALYZER = Path(__file__).with_name("every_analyzer.py")
WORDS = ["a", "ä", "日本", "b c", "", "Zoë", "e" * 50, "\U0001f600"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Examples, Schema]:
    """Some 1,200 rows with gaps, several values, and unicode."""
    folder = tmp_path_factory.mktemp("given")
    draw = random.Random(5)
    rows = []
    for number in range(1_201):
        row = {
            "id": [number],
            "x": [draw.gauss(0, 1)],
            "number": [draw.randrange(-3, 9)],
            "key": [draw.choice(WORDS[:3])],
            "vector": [draw.gauss(0, 1), draw.gauss(10, 2), draw.random()],
            "words": [draw.choice(WORDS) for _ in range(draw.randrange(4))],
        }
        rows.append(row | ({"sparse": [draw.gauss(3, 1)]} if draw.random() < 0.6 else {}))
    return write_examples(folder / "examples", rows), write_schema(folder / "schema", EVERY_ANALYZER_SCHEMA)


def test_every_analyzer_without_beam(data: tuple[Examples, Schema], tmp_path: Path) -> None:
    ours = transform_here(tmp_path / "ours", *data, EVERY_ANALYZER)
    assert len(ours.rows) == 1_201
    assert not any("Beam" in line for line in ours.log), ours.log
    # A float32 that TFT sums up by batches, which Beam makes as large as it is fast.
    assert_equal(ours, transform_by_tft(tmp_path / "stock", *data, EVERY_ANALYZER), {"covariance": 5e-5})


def test_the_penguins(penguin_examples: Examples, penguin_schema: Schema, tmp_path: Path) -> None:
    here = transform_here(tmp_path / "here", penguin_examples, penguin_schema, PENGUIN_MODULE)
    runner = ("--runner=DirectRunner",)
    there = transform_here(tmp_path / "there", penguin_examples, penguin_schema, PENGUIN_MODULE, beam=runner)
    assert "TFT analyzes on Beam, because beam_pipeline_args name a runner" in there.log
    stock = transform_by_tft(tmp_path / "stock", penguin_examples, penguin_schema, PENGUIN_MODULE)
    assert_equal(here, stock)
    assert_equal(there, stock)


@pytest.mark.parametrize("beam", [(), ("--runner=DirectRunner",)])
def test_some_flights(
    beam: tuple[str, ...], flights: tuple[Examples, Schema], flights_by_tft: Transformed, tmp_path: Path
) -> None:
    ours = transform_here(tmp_path, *flights, FLIGHTS / "model.py", beam=beam)
    assert len(ours.rows) > 5_000
    assert_equal(ours, flights_by_tft, FLIGHT_TOLERANCES)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Examples, Schema]:
    folder = tmp_path_factory.mktemp("flights")
    some = flight_models.write(folder / "some", itertools.islice(flight_data.joined_flights(), 0, None, EVERY))
    (folder / "examples").mkdir()
    run_executor(
        "airflow_provider_mlpipe.components.csv_example_gen.executor:run",
        input_base=some,
        input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
        output_config={
            "split_config": {"splits": [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]}
        },
        **CSV_PARAMETERS,
        examples=Examples(uri=str(folder / "examples")),
        context=ExecutorContext(component_id="CsvExampleGen", execution_id=1, tmp_dir=str(folder)),
    )
    examples = Examples(uri=str(folder / "examples"), properties={"splits": ["train", "eval"]})
    return examples, write_schema(folder / "schema", (FLIGHTS / "schema.pbtxt").read_text())


@pytest.fixture(scope="module")
def flights_by_tft(flights: tuple[Examples, Schema], tmp_path_factory: pytest.TempPathFactory) -> Transformed:
    return transform_by_tft(tmp_path_factory.mktemp("flights-stock"), *flights, FLIGHTS / "model.py")


_FOR_TFT_ALONE = """
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs, custom_config):
    outputs = {"id": inputs["id"]}
    if custom_config["which"] == "labels":
        label = tf.cast(inputs["number"] > 2, tf.int64)
        outputs["x"] = tft.compute_and_apply_vocabulary(inputs["key"], labels=label, vocab_filename="informative")
    elif custom_config["which"] == "key_fn":
        outputs["x"] = tft.compute_and_apply_vocabulary(
            inputs["words"], top_k=2, coverage_top_k=1, key_fn=len, vocab_filename="covering"
        )
    elif custom_config["which"] == "approximate":
        tft.experimental.approximate_vocabulary(inputs["words"], top_k=3, vocab_filename="approximate")
        outputs["x"] = inputs["x"]
    else:
        doubled = tf.py_function(lambda x: x * 2, [inputs["x"]], tf.float32)
        outputs["x"] = tft.scale_to_z_score(tf.ensure_shape(doubled, [None, 1]))
    return outputs
"""


@pytest.mark.parametrize(
    ("which", "named"),
    [
        ("labels", r"compute_and_apply_vocabulary#vocabulary#?\]"),
        ("key_fn", r"VocabularyPrune\[compute_and_apply_vocabulary#vocabulary"),
        ("approximate", "approximate_vocabulary"),
        ("python", "EagerPyFunc EagerPyFunc"),
    ],
)
def test_what_tft_alone_computes_is_left_to_it(
    which: str, named: str, data: tuple[Examples, Schema], tmp_path: Path
) -> None:
    module = tmp_path / f"for_tft_{which}.py"
    module.write_text(_FOR_TFT_ALONE)
    ours = transform_here(tmp_path / "ours", *data, module, which=which)
    said = f"TFT analyzes on Beam in this process, because only TFT computes .*{named}"
    assert re.search(said, ours.log[0]), ours.log
    if which == "approximate":  # so are two runs of TFT's
        assert len(ours.assets["approximate"]) == 4
    else:
        assert_equal(ours, transform_by_tft(tmp_path / "stock", *data, module, which=which))


RANDOM_FEATURES = Path(__file__).with_name("random_features.py")
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "FLOAT": st.floats(-1e6, 1e6, width=32),
    "INT": st.integers(-(2**31), 2**31),
    "BYTES": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
}
_SHAPES = {
    "one": ("presence { min_fraction: 1 } shape { dim { size: 1 } }", (1, 1)),
    "three": ("presence { min_fraction: 1 } shape { dim { size: 3 } }", (3, 3)),
    "some": ("value_count { min: 0 }", (0, 4)),
    "ragged": ("value_count { min: 0 }", (0, 3)),
}
_RAGGED = """
  tensor_representation {{
    key: "{name}" value {{ ragged_tensor {{ feature_path {{ step: "{name}" }} row_partition_dtype: INT64 }} }}
  }}"""


@st.composite
def _tables(draw: st.DrawFn) -> tuple[str, dict[str, str], list[dict[str, list[Any]]]]:
    """A schema, the kind of each feature, and rows: with gaps, several values and unicode."""
    chosen = draw(
        st.lists(st.tuples(st.sampled_from(list(_VALUES)), st.sampled_from(list(_SHAPES))), min_size=1, max_size=6)
    )
    kinds = {f"f{number}_{shape}": kind for number, (kind, shape) in enumerate(chosen)}
    schema, ragged = 'feature { name: "id" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }\n', ""
    columns = {}
    for name, kind in kinds.items():
        shape = name.partition("_")[2]
        schema += f'feature {{ name: "{name}" type: {kind} {_SHAPES[shape][0]} }}\n'
        ragged += _RAGGED.format(name=name) if shape == "ragged" else ""
        least, most = _SHAPES[shape][1]
        columns[name] = st.lists(_VALUES[kind], min_size=least, max_size=most)
    if ragged:
        schema += f'tensor_representation_group {{ key: "" value {{ {ragged} }} }}'
    rows = draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=30))
    return schema, kinds, [{"id": [number], **row} for number, row in enumerate(rows)]


@given(table=_tables())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_random_features(
    table: tuple[str, dict[str, str], list[dict[str, list[Any]]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    schema, kinds, rows = table
    folder = tmp_path_factory.mktemp("random")
    data = write_examples(folder / "examples", rows), write_schema(folder / "schema", schema)
    ours = transform_here(folder / "ours", *data, RANDOM_FEATURES, kinds=kinds)
    assert_equal(ours, transform_by_tft(folder / "stock", *data, RANDOM_FEATURES, kinds=kinds))
