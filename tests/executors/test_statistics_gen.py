"""StatisticsGen on the Palmer penguins: what is counted, and which options there are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Rows = list[dict[str, str]]
LABEL = '{"feature": [{"name": "l", "type": "INT", "boolDomain": {}}]}'


@pytest.fixture
def generate(
    penguin_examples: Examples, empty: Callable[..., Any], context: Callable[[], ExecutorContext]
) -> Callable[..., tuple[Produced, ExampleStatistics]]:
    """Runs StatisticsGen on the penguins; keywords replace its inputs and parameters."""

    def run(**changed: Any) -> tuple[Produced, ExampleStatistics]:
        from airflow_provider_mlpipe.components.statistics_gen import executor

        statistics = empty(ExampleStatistics)
        given: dict[str, Any] = {
            "examples": penguin_examples,
            "schema": None,
            "stats_options": None,
            "exclude_splits": [],
            "sample_rate_by_split": None,
        }
        produced = executor.run(**{**given, **changed}, statistics=statistics, context=context())["statistics"]
        return produced, statistics

    return run


def read(statistics: ExampleStatistics, split: str) -> Any:
    from airflow_provider_mlpipe.records.statistics import read_statistics

    (dataset,) = read_statistics(statistics, split).datasets
    return dataset


def feature(dataset: Any, name: str) -> Any:
    (found,) = [feature for feature in dataset.features if feature.path.step == [name]]
    return found


def test_every_split_is_counted(generate: Callable[..., Any], penguin_rows: Rows) -> None:
    produced, statistics = generate()
    assert produced.properties == {"splits": ["train", "eval"]}
    for split, rows in {"train": [r for i, r in enumerate(penguin_rows) if i % 3], "eval": penguin_rows[::3]}.items():
        dataset = read(statistics, split)
        masses = [float(row["body_mass_g"]) for row in rows if row["body_mass_g"] not in ("", "NA")]
        mass = feature(dataset, "body_mass_g").num_stats
        assert dataset.num_examples == len(rows)
        assert mass.common_stats.tot_num_values == len(masses)
        assert (mass.min, mass.max) == (min(masses), max(masses))
        assert mass.mean == pytest.approx(sum(masses) / len(masses))
        assert feature(dataset, "species").string_stats.unique == len({row["species"] for row in rows})
        assert sorted(f.path.step[0] for f in dataset.features) == [f.path.step[0] for f in dataset.features]


def test_excluded_splits_are_left_out(generate: Callable[..., Any]) -> None:
    produced, statistics = generate(exclude_splits=["eval"])
    assert produced.properties["splits"] == ["train"]
    assert [path.name for path in Path(statistics.uri).iterdir()] == ["Split-train"]


def test_options_as_a_dict_or_as_tfdv_writes_them(generate: Callable[..., Any]) -> None:
    import tensorflow_data_validation as tfdv

    options = {"num_top_values": 2, "feature_allowlist": ["island"]}
    for given in (options, json.loads(tfdv.StatsOptions(**options).to_json()), tfdv.StatsOptions(**options).to_json()):
        dataset = read(generate(stats_options=given, exclude_splits=["eval"])[1], "train")
        assert [list(found.path.step) for found in dataset.features] == [["island"]]
        assert len(feature(dataset, "island").string_stats.top_values) == 2


def test_a_sample_is_of_the_named_split_only(generate: Callable[..., Any]) -> None:
    _, statistics = generate(sample_rate_by_split={"train": 0.5})
    assert 80 < read(statistics, "train").num_examples < 149
    assert read(statistics, "eval").num_examples == 115
    again = generate(stats_options={"sample_rate": 0.5}, exclude_splits=["eval"])[1]
    assert read(again, "train") == read(statistics, "train")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"exclude_splits": ["test"]}, "exclude_splits names the split 'test', .* it has: train, eval"),
        ({"exclude_splits": ["train", "eval"]}, "has no split left"),
        ({"sample_rate_by_split": {"test": 0.1}}, "sample_rate_by_split: .*'test'; known splits: train, eval"),
        (
            {"stats_options": {"top": 3}},
            "stats_options has no 'top'; it has schema_json, label_feature",
        ),
        ({"stats_options": {"per_feature_weight_override": ["x"]}}, "stats_options .*'list'.*; the options are"),
        ({"stats_options": {"epsilon": 0}}, "stats_options: epsilon is 0; it must be a number above 0"),
        ({"stats_options": {"epsilon": "1%"}}, "stats_options: epsilon is '1%'; it must be a number above 0"),
        ({"stats_options": {"num_histogram_buckets": 0}}, "stats_options .*num_histogram_buckets"),
        (
            {"stats_options": {"label_feature": "x", "schema_json": "{}"}},
            "stats_options: Feature x not found in the schema",
        ),
    ],
)
def test_bad_parameters(generate: Callable[..., Any], changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        generate(**changed)


def test_a_schema_given_twice_is_an_error(generate: Callable[..., Any], penguin_schema: Schema) -> None:
    with pytest.raises(InvalidInputError, match="the schema is given as an input and in stats_options; leave one out"):
        generate(schema=penguin_schema, stats_options={"schema_json": '{"feature": [{"name": "species"}]}'})


def test_a_schema_as_input_or_option(generate: Callable[..., Any], empty: Callable[..., Any]) -> None:
    schema = empty(Schema)
    text = 'feature { name: "body_mass_g" type: FLOAT }'
    Path(schema.uri, "schema.pbtxt").write_text(text)
    as_json = {"schema_json": '{"feature": [{"name": "body_mass_g", "type": "FLOAT"}]}'}
    one = generate(schema=schema, exclude_splits=["eval"])[1]
    two = generate(stats_options=as_json, exclude_splits=["eval"])[1]
    assert read(one, "train") == read(two, "train")


def test_a_split_without_examples(generate: Callable[..., Any], write_penguins: Callable[..., Examples]) -> None:
    splits: dict[str, Sequence[dict[str, str]]] = {"train": PENGUIN * 3, "eval": []}
    examples = write_penguins(splits)
    assert read(generate(examples=examples)[1], "eval").num_examples == 0
    with pytest.raises(InvalidInputError, match=r"no split has any example \(eval\); check the data"):
        generate(examples=examples, exclude_splits=["train"])
    assert read(generate(examples=examples, exclude_splits=["eval"])[1], "train").num_examples == 3


def test_records_that_are_no_tf_examples_are_refused(generate: Callable[..., Any], penguin_examples: Examples) -> None:
    from airflow_provider_mlpipe.records.inputs import named_splits, split_files

    sequences = dataclasses.replace(
        penguin_examples,
        properties={**penguin_examples.properties, "payload_format": "FORMAT_TF_SEQUENCE_EXAMPLE"},
    )
    readers: list[Callable[[], object]] = [
        lambda: generate(examples=sequences),
        lambda: split_files(sequences, "train"),  # Transform, Evaluator
        lambda: named_splits(sequences, ["train"], parameter="train_args.splits"),  # Trainer
    ]
    for read_them in readers:
        with pytest.raises(InvalidInputError, match="'FORMAT_TF_SEQUENCE_EXAMPLE', but only FORMAT_TF_EXAMPLE can be"):
            read_them()


@pytest.mark.parametrize("rows", [20, 16_000, 20_000], ids=["in a piece", "between batches", "in a batch"])
@pytest.mark.parametrize("options", [None, {"label_feature": "l", "schema_json": LABEL}], ids=["kernel", "beam"])
def test_a_feature_with_values_of_two_types(
    generate: Callable[..., Any], empty: Callable[..., Any], rows: int, options: Any
) -> None:
    import pyarrow as pa

    from airflow_provider_mlpipe.records.examples import encode_examples
    from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter

    examples = empty(Examples, properties={"splits": ["train"]})
    folder = Path(examples.uri, "Split-train")
    folder.mkdir()
    with TFRecordWriter(folder / FILE_NAME) as writer:
        for value in (1, 0.5):
            batch = pa.record_batch([pa.array([value] * rows), pa.array([1] * rows)], ["x", "l"])
            writer.write(encode_examples(batch).to_pylist())
    says = rf"split 'train': feature 'x' is INT, but FLOAT in record {rows + 1:,}; create the examples again"
    with pytest.raises(InvalidInputError, match=says):
        generate(examples=examples, stats_options=options)


MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
PENGUIN = [dict.fromkeys(MEASURES, "1") | {"species": "Gentoo", "island": "Biscoe"}]
