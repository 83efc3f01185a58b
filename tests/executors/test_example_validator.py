"""ExampleValidator: anomalies per split, environments, and the description that the gate reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from validations import DEFAULTS

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, ExampleStatistics, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

SCHEMA = """
feature { name: "n" type: INT presence { min_fraction: 1 } }
feature { name: "s" type: BYTES domain: "s" }
feature { name: "label" type: INT presence { min_fraction: 1 } not_in_environment: "SERVING" }
string_domain { name: "s" value: "a" value: "b" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
GOOD = {"n": [1, 2], "s": ["a", "b"], "label": [0, 1]}
OTHER_VALUE = GOOD | {"s": ["a", "z"]}
NO_LABEL = {"n": [1, 2], "s": ["a", "b"]}
NEW_COLUMN = GOOD | {"new": [1, 2]}


@pytest.fixture
def validate(empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> Callable[..., Any]:
    """Validates {split: columns} against a schema; returns what was produced and where."""

    def run(
        splits: dict[str, dict[str, list[Any]]], schema_text: str = SCHEMA, **changed: Any
    ) -> tuple[Produced, ExampleAnomalies]:
        import pandas as pd
        import tensorflow_data_validation as tfdv

        from airflow_provider_mlpipe.components.example_validator import executor
        from airflow_provider_mlpipe.records.statistics import write_statistics

        statistics = empty(ExampleStatistics, properties={"splits": list(splits), "span": 3})
        for split, columns in splits.items():
            write_statistics(statistics, split, tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns)))
        schema, anomalies = empty(Schema), empty(ExampleAnomalies)
        Path(schema.uri, "schema.pbtxt").write_text(schema_text)
        given = DEFAULTS | changed
        produced = executor.run(statistics=statistics, schema=schema, anomalies=anomalies, context=context(), **given)
        return produced["anomalies"], anomalies

    return run


def test_good_splits_are_blessed(validate: Callable[..., Any]) -> None:
    produced, anomalies = validate({"train": GOOD, "eval": GOOD})
    assert produced.properties == {"splits": ["train", "eval"], "blessed": {"train": 1, "eval": 1}}
    assert produced.custom_properties == {"anomalies": {"train": {}, "eval": {}}}
    assert sorted(path.parent.name for path in Path(anomalies.uri).rglob("SchemaDiff.pb")) == [
        "Split-eval",
        "Split-train",
    ]


def test_anomalies_are_described_per_split_and_feature(validate: Callable[..., Any]) -> None:
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    produced, anomalies = validate({"train": GOOD, "eval": OTHER_VALUE, "test": NO_LABEL})
    assert produced.properties["blessed"] == {"train": 1, "eval": 0, "test": 0}
    described = produced.custom_properties["anomalies"]
    assert described["train"] == {}
    (value,) = described["eval"]["s"]
    assert (value["severity"], value["short"]) == ("ERROR", "Unexpected string values")
    assert "z" in value["description"]
    (label,) = described["test"]["label"]
    assert (label["severity"], label["short"]) == ("ERROR", "Column dropped")
    written = anomalies_pb2.Anomalies.FromString(Path(anomalies.uri, "Split-eval", "SchemaDiff.pb").read_bytes())
    assert list(written.anomaly_info) == ["s"]


def test_severity_is_tfdvs(validate: Callable[..., Any]) -> None:
    produced, _ = validate({"train": NEW_COLUMN})
    (new,) = produced.custom_properties["anomalies"]["train"]["new"]
    assert (new["severity"], new["short"]) == ("ERROR", "New column")


def test_an_anomaly_of_the_whole_split(validate: Callable[..., Any]) -> None:
    produced, _ = validate({"train": GOOD}, SCHEMA + "dataset_constraints { min_examples_count: 100 }")
    (few,) = produced.custom_properties["anomalies"]["train"]["(whole split)"]
    assert few["short"] == "Low num examples in current dataset versus the previous span." or "examples" in few["short"]
    assert produced.properties["blessed"] == {"train": 0}


def test_an_environment_admits_what_it_does_not_expect(validate: Callable[..., Any]) -> None:
    assert validate({"new": NO_LABEL}, environment="TRAINING")[0].properties["blessed"] == {"new": 0}
    assert validate({"new": NO_LABEL}, environment="SERVING")[0].properties["blessed"] == {"new": 1}


def test_a_text_that_is_numbers_but_for_na_is_warned_of(
    validate: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    columns = {"n": [1, 2, 3], "s": ["1", "NA", "NA"], "label": ["NA", "x", "1"]}
    text = 'feature { name: "n" type: INT } feature { name: "s" type: BYTES } feature { name: "label" type: BYTES }'
    assert validate({"train": columns}, text)[0].properties["blessed"] == {"train": 1}
    (said,) = [record.getMessage() for record in caplog.records if "null_values" in record.getMessage()]
    assert said.startswith("split train: feature 's' holds numbers, but is text: 2 of 3 cells are 'NA'; ")


def test_an_unknown_environment_lists_the_known_ones(validate: Callable[..., Any]) -> None:
    with pytest.raises(
        InvalidInputError, match=r"environment 'TEST' is not a default_environment .*: TRAINING, SERVING"
    ):
        validate({"train": GOOD}, environment="TEST")


def test_fail_on_changes_nothing_that_is_published(validate: Callable[..., Any]) -> None:
    assert validate({"eval": OTHER_VALUE}, fail_on="ERROR")[0] == validate({"eval": OTHER_VALUE})[0]


def test_excluded_and_unknown_splits(validate: Callable[..., Any]) -> None:
    produced, _ = validate({"train": GOOD, "eval": OTHER_VALUE}, exclude_splits=["eval"])
    assert produced.properties["blessed"] == {"train": 1}
    with pytest.raises(InvalidInputError, match=r"exclude_splits names the split 'test', .* it has: train"):
        validate({"train": GOOD}, exclude_splits=["test"])
