"""Skew and drift in ExampleValidator: as TFDV measures them, and what it cannot measure is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import pandas as pd
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList
from validations import DEFAULTS

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, ExampleStatistics, Schema
from airflow_provider_mlpipe.components.example_validator import executor
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.statistics import write_statistics

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Columns = Mapping[str, list[Any]]
OLD: Columns = {"n": [1, 2, 3, 4], "f": [0.5, 1.5, 2.5, 3.5], "s": ["a", "a", "b", "b"]}
NEW: Columns = {"n": [2, 3, 4, 9], "f": [0.5, 1.5, 2.5, 9.5], "s": ["a", "a", "a", "c"]}


def schema_text(comparators: Mapping[str, str], further: str = "") -> str:
    """A schema of the three columns, with {name: more of the feature}."""
    types = {"n": "INT", "f": "FLOAT", "s": "BYTES"}
    features = (
        f'feature {{ name: "{name}" type: {kind} {comparators.get(name, "")} }}' for name, kind in types.items()
    )
    return "\n".join([*features, further])


def counted(columns: Columns) -> DatasetFeatureStatisticsList:
    return tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns))


@pytest.fixture
def validate(empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> Callable[..., Any]:
    """Validates {split: columns}, with the same of serving and of before; returns what was produced and written."""

    def artifact(splits: Mapping[str, Columns] | None) -> ExampleStatistics | None:
        if splits is None:
            return None
        made: ExampleStatistics = empty(ExampleStatistics, properties={"splits": list(splits)})
        for split, columns in splits.items():
            write_statistics(made, split, counted(columns))
        return replace(made, digest=f"of {made.uri}")  # each has its own, so that equal ones are compared, too

    def run(
        text: str,
        now: Mapping[str, Columns],
        *,
        serving: Mapping[str, Columns] | None = None,
        previous: Mapping[str, Columns] | None = None,
        **changed: Any,
    ) -> tuple[Produced, dict[str, anomalies_pb2.Anomalies]]:
        schema, anomalies = empty(Schema), empty(ExampleAnomalies)
        Path(schema.uri, "schema.pbtxt").write_text(text)
        statistics = artifact(now)
        given = {
            "serving_statistics": artifact(serving),
            "previous_statistics": statistics if previous is now else artifact(previous),
        }
        produced = executor.run(
            statistics=statistics, schema=schema, anomalies=anomalies, context=context(), **DEFAULTS | given | changed
        )["anomalies"]
        files = {split: Path(anomalies.uri, f"Split-{split}", "SchemaDiff.pb") for split in now}
        return produced, {split: anomalies_pb2.Anomalies.FromString(path.read_bytes()) for split, path in files.items()}

    return run


def reasons(produced: Produced, split: str, feature: str) -> list[str]:
    return [each["description"] for each in produced.custom_properties["anomalies"][split].get(feature, [])]


@pytest.mark.parametrize("kind", ["skew", "drift"])
@pytest.mark.parametrize("threshold", [0, 0.3, 1])
@pytest.mark.parametrize("old", [OLD, NEW], ids=["other", "equal"])
def test_distances_and_anomalies_are_tfdvs(
    validate: Callable[..., Any], kind: str, threshold: float, old: Columns
) -> None:
    divergence = f"{kind}_comparator {{ jensen_shannon_divergence {{ threshold: {threshold} }} }}"
    infinity = (
        f"{kind}_comparator {{ infinity_norm {{ threshold: {threshold} }} "
        f"jensen_shannon_divergence {{ threshold: {threshold} }} }}"
    )
    limits = "min_fraction_threshold: 1.5 max_fraction_threshold: 2"
    counts = f"dataset_constraints {{ num_examples_drift_comparator {{ {limits} }} }}"
    text = schema_text({"n": divergence, "f": divergence, "s": infinity}, counts if kind == "drift" else "")
    side = {"skew": "serving", "drift": "previous"}[kind]
    produced, written = validate(text, {"train": NEW}, **{side: {"train": old}})
    schema = text_format.Parse(text, schema_pb2.Schema())
    stock = tfdv.validate_statistics(counted(NEW), schema, **{f"{side}_statistics": counted(old)})
    assert written["train"] == stock
    assert len(stock.drift_skew_info) == 3
    if threshold == 0 and old is OLD:
        assert set(stock.anomaly_info) == {"n", "f", "s"}
        assert produced.properties["blessed"] == {"train": 0}
    assert stock.HasField("dataset_anomaly_info") == (kind == "drift")


SKEW = "skew_comparator { infinity_norm { threshold: 0.1 } }"
DRIFT = "drift_comparator { infinity_norm { threshold: 0.1 } }"


def test_both_at_once(validate: Callable[..., Any]) -> None:
    text = schema_text({"s": SKEW + DRIFT})
    produced, written = validate(text, {"train": NEW}, serving={"train": OLD}, previous={"train": OLD})
    found = reasons(produced, "train", "s")
    assert [("serving" in each, "previous" in each) for each in found] in (
        [(True, False), (False, True)],
        [(False, True), (True, False)],
    )
    assert len(written["train"].drift_skew_info[0].skew_measurements) == 1


def test_the_first_run_has_nothing_to_compare_with(
    validate: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    counts = "dataset_constraints { num_examples_drift_comparator { min_fraction_threshold: 1 } }"
    text = schema_text({"s": SKEW + DRIFT, "f": DRIFT}, counts)
    produced, _ = validate(text, {"train": NEW})
    assert produced.properties["blessed"] == {"train": 1}
    notes = [
        "skew_comparator of s: there are no serving_statistics",
        "drift_comparator of f, s, the whole split: there are no previous_statistics",
    ]
    assert produced.custom_properties["not_compared"] == {"train": notes}
    for note in notes:
        assert f"split train: not compared: {note}" in caplog.messages


def test_statistics_are_not_compared_with_themselves(validate: Callable[..., Any]) -> None:
    now = {"train": NEW}
    produced, written = validate(schema_text({"s": DRIFT}), now, previous=now)
    note = "drift_comparator of s: the previous_statistics are the statistics themselves"
    assert produced.custom_properties["not_compared"] == {"train": [note]}
    assert not written["train"].drift_skew_info


def test_without_comparators_there_is_nothing_to_say(validate: Callable[..., Any]) -> None:
    produced, _ = validate(schema_text({"s": "drift_comparator {}"}), {"train": NEW})
    assert produced.custom_properties == {"anomalies": {"train": {}}}


def test_a_split_that_the_other_statistics_lack(validate: Callable[..., Any]) -> None:
    text = schema_text({"s": SKEW + DRIFT})
    produced, written = validate(
        text, {"train": OLD, "eval": OLD}, serving={"train": OLD, "day": OLD}, previous={"train": OLD}
    )
    assert produced.properties["blessed"] == {"train": 1, "eval": 0}
    assert reasons(produced, "eval", "(whole split)") == [
        "skew_comparator of s: the serving_statistics have no split 'eval'; they have: train, day.",
        "drift_comparator of s: the previous_statistics have no split 'eval'; they have: train.",
    ]
    assert written["eval"].dataset_anomaly_info.severity == anomalies_pb2.AnomalyInfo.ERROR


def test_the_only_split_of_serving_is_compared_with_every_split(validate: Callable[..., Any]) -> None:
    produced, written = validate(schema_text({"s": SKEW}), {"train": NEW, "eval": OLD}, serving={"logs": OLD})
    assert produced.properties["blessed"] == {"train": 0, "eval": 1}
    assert [len(each.drift_skew_info) for each in written.values()] == [1, 1]


@pytest.mark.parametrize("name", ["n", "f"])
@pytest.mark.parametrize("comparator", ["infinity_norm", "normalized_abs_difference"])
def test_a_distance_of_categories_between_numbers(validate: Callable[..., Any], name: str, comparator: str) -> None:
    text = schema_text({name: f"drift_comparator {{ {comparator} {{ threshold: 0.1 }} }}"})
    produced, written = validate(text, {"train": NEW}, previous={"train": OLD})
    (found,) = reasons(produced, "train", name)
    kind = {"n": "INT", "f": "FLOAT"}[name]
    assert found == (
        f"drift_comparator: {comparator} compares categories, but {name!r} is a number ({kind}), for which it would "
        "always be 0; use jensen_shannon_divergence."
    )
    assert written["train"].anomaly_info[name].severity == anomalies_pb2.AnomalyInfo.ERROR
    assert list(written["train"].anomaly_info[name].path.step) == [name]
    assert produced.properties["blessed"] == {"train": 0}


def test_a_reason_joins_those_of_tfdv(validate: Callable[..., Any]) -> None:
    text = schema_text({"n": "int_domain { max: 3 } drift_comparator { infinity_norm { threshold: 0.1 } }"})
    produced, written = validate(text, {"train": NEW}, previous={"train": OLD})
    assert len(reasons(produced, "train", "n")) == 2
    info = written["train"].anomaly_info["n"]
    assert info.short_description == "Multiple errors"
    assert info.description.startswith("Unexpectedly large value: 9. drift_comparator: ")


def test_no_values_on_one_side(validate: Callable[..., Any]) -> None:
    divergence = "drift_comparator { jensen_shannon_divergence { threshold: 0.1 } }"
    empty = {**OLD, "f": [float("nan")] * 4}
    produced, _ = validate(schema_text({"f": divergence}), {"train": NEW}, previous={"train": empty})
    assert reasons(produced, "train", "f") == [
        "drift_comparator: jensen_shannon_divergence: the statistics of 'f' have no value in a STANDARD histogram (in "
        "the statistics to compare with)."
    ]
    produced, _ = validate(schema_text({"f": divergence}), {"train": empty}, previous={"train": OLD})
    assert produced.custom_properties["not_compared"] == {
        "train": ["drift_comparator of f: no example has a value of it"]
    }


def test_a_feature_that_the_other_statistics_lack_is_tfdvs_anomaly(validate: Callable[..., Any]) -> None:
    old = {name: column for name, column in OLD.items() if name != "s"}
    produced, _ = validate(schema_text({"s": DRIFT}), {"train": NEW}, previous={"train": old})
    assert reasons(produced, "train", "s") == ["previous data is missing."]


def test_numbers_and_categories_have_no_divergence(validate: Callable[..., Any]) -> None:
    divergence = "drift_comparator { jensen_shannon_divergence { threshold: 0.1 } }"
    produced, _ = validate(
        schema_text({"s": divergence}), {"train": NEW}, previous={"train": {**OLD, "s": [1, 2, 3, 4]}}
    )
    assert reasons(produced, "train", "s") == [
        "drift_comparator: jensen_shannon_divergence: 's' is numbers in one of the statistics, and categories in the "
        "other."
    ]


@pytest.mark.parametrize("stage", schema_pb2.LifecycleStage.keys())
def test_features_that_tfdv_leaves_alone(validate: Callable[..., Any], stage: str) -> None:
    """It has no anomaly of them, whatever their type; no more has the comparator."""
    more = f"lifecycle_stage: {stage} drift_comparator {{ infinity_norm {{ threshold: 0.1 }} }}"
    wrong = schema_text({"n": more}).replace('"n" type: INT', '"n" type: FLOAT')
    is_validated = "n" in validate(wrong, {"train": NEW})[0].custom_properties["anomalies"]["train"]
    produced, _ = validate(schema_text({"n": more}), {"train": NEW}, previous={"train": OLD})
    assert bool(reasons(produced, "train", "n")) == is_validated


def test_the_version_comparator_has_no_input(validate: Callable[..., Any]) -> None:
    counts = "dataset_constraints { num_examples_version_comparator { min_fraction_threshold: 1 } }"
    produced, _ = validate(schema_text({}, counts), {"train": NEW}, previous={"train": OLD})
    (note,) = produced.custom_properties["not_compared"]["train"]
    assert note.startswith("num_examples_version_comparator: ")
