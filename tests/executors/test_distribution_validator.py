"""DistributionValidator: held against TFDV's own comparison; what cannot be compared; a run without a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
import pandas as pd
import tensorflow_data_validation as tfdv
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import anomalies_pb2

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, ExampleStatistics
from airflow_provider_mlpipe.components.distribution_validator import executor
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.statistics import write_statistics

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Columns = Mapping[str, Any]
Validate = Callable[..., tuple[Produced, ExampleAnomalies]]


def drawn(seed: int, *, mean: float = 0, letters: str = "abc", rows: int = 500) -> Columns:
    random = np.random.default_rng(seed)
    return {
        "float": random.normal(mean, 1, rows),
        "int": random.integers(0, 5 + int(mean), rows),
        "text": random.choice(list(letters), rows),
    }


SAME, SHIFTED = drawn(1), drawn(2, mean=2, letters="aaab", rows=200)
DIVERGENCE = {"jensen_shannon_divergence": {"threshold": 0.1}}
INFINITY = {"infinity_norm": {"threshold": 0.1}}
DIFFERENCE = {"normalized_abs_difference": {"threshold": 0.1}}
QUANTILES = {"jensen_shannon_divergence": {"threshold": 0.1, "source": {"type": "QUANTILES"}}}
FEW = {"num_examples_comparator": {"min_fraction_threshold": 0.9}}


def config(features: Mapping[str, Any], **further: Any) -> dict[str, Any]:
    listed = [{"path": {"step": [name]}, "distribution_comparator": each} for name, each in features.items()]
    return {"default_slice_config": {"feature": listed, **further}}


@pytest.fixture
def validate(empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> Validate:
    def statistics(splits: ExampleStatistics | Mapping[str, Columns]) -> ExampleStatistics:
        if isinstance(splits, ExampleStatistics):
            return splits
        made: ExampleStatistics = empty(ExampleStatistics, properties={"splits": list(splits), "span": 3})
        for split, columns in splits.items():
            write_statistics(made, split, tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns)))
        return made

    def run(
        test: ExampleStatistics | Mapping[str, Columns],
        base: ExampleStatistics | Mapping[str, Columns] | None,
        **changed: Any,
    ) -> tuple[Produced, ExampleAnomalies]:
        anomalies = empty(ExampleAnomalies)
        produced = executor.run(
            statistics=statistics(test),
            baseline_statistics=None if base is None else statistics(base),
            anomalies=anomalies,
            context=context(),
            **{"config": config({"text": INFINITY}), "include_split_pairs": None, "fail_on": None, **changed},
        )
        return produced["anomalies"], anomalies

    return run


def written(anomalies: ExampleAnomalies, pair: str) -> anomalies_pb2.Anomalies:
    return anomalies_pb2.Anomalies.FromString(Path(anomalies.uri, f"SplitPair-{pair}", "SchemaDiff.pb").read_bytes())


def tfdvs(test: Columns, base: Columns, given: Mapping[str, Any]) -> anomalies_pb2.Anomalies:
    """What TFDV says of the same comparison, in a schema that it infers of the baseline."""
    test_statistics, base_statistics = (
        tfdv.generate_statistics_from_dataframe(pd.DataFrame(each)) for each in (test, base)
    )
    schema, wanted = tfdv.infer_schema(base_statistics), given["default_slice_config"]
    for feature in wanted["feature"]:
        comparator = tfdv.get_feature(schema, feature["path"]["step"][0]).drift_comparator
        json_format.ParseDict(feature["distribution_comparator"], comparator)
    if "num_examples_comparator" in wanted:
        comparator = schema.dataset_constraints.num_examples_drift_comparator
        json_format.ParseDict(wanted["num_examples_comparator"], comparator)
    return tfdv.validate_statistics(test_statistics, schema, previous_statistics=base_statistics)


def reasons(found: anomalies_pb2.Anomalies) -> dict[str, list[Any]]:
    infos = {"": found.dataset_anomaly_info, **found.anomaly_info}
    return {name: [info.severity, *(str(reason) for reason in info.reason)] for name, info in infos.items()}


@pytest.mark.parametrize("columns", [SAME, SHIFTED], ids=["same", "shifted"])
@pytest.mark.parametrize(
    "given",
    [
        config({"float": DIVERGENCE, "int": DIVERGENCE, "text": DIVERGENCE}),
        config({"float": QUANTILES, "text": INFINITY}),
        config({"text": {**INFINITY, **DIVERGENCE}}),
        config({"text": DIFFERENCE}, **FEW),
        config({}, **FEW),
    ],
    ids=["divergence", "infinity", "both", "difference", "count"],
)
def test_the_anomalies_are_tfdvs(validate: Validate, columns: Columns, given: Mapping[str, Any]) -> None:
    produced, anomalies = validate({"eval": columns}, {"eval": SAME}, config=given)
    ours, theirs = written(anomalies, "eval_eval"), tfdvs(columns, SAME, given)
    assert reasons(ours) == reasons(theirs)
    assert list(ours.drift_skew_info) == list(theirs.drift_skew_info)
    assert produced.properties["blessed"] == {"eval_eval": int(columns is SAME)}


def test_only_the_comparison_counts(validate: Validate) -> None:
    """The baseline is no schema: a new column or a new value is no anomaly by itself."""
    more = {**SAME, "new": SAME["text"], "int": SAME["int"].astype(str)}
    more["text"] = np.where(np.arange(500) == 0, "new", more["text"])
    produced, anomalies = validate({"eval": more}, {"eval": {**SAME, "gone": SAME["text"]}})
    assert tfdvs(more, SAME, config({"text": INFINITY})).anomaly_info.keys() >= {"new", "text", "int"}
    assert produced.properties == {"splits": ["eval_eval"], "blessed": {"eval_eval": 1}}
    assert not written(anomalies, "eval_eval").anomaly_info


@pytest.mark.parametrize(
    ("test", "base", "says"),
    [
        (SAME, {"other": SAME["text"]}, "have no feature 'text'"),
        ({"other": SAME["text"]}, SAME, "have no feature 'text'"),
        ({"text": SAME["int"]}, SAME, "'text' is a number"),
        (SAME, {"text": SAME["int"]}, "'text' is a number"),
        ({"text": [None] * 3, "other": [1, 2, 3]}, SAME, "'text'"),
        (SAME, {"text": [None] * 3, "other": [1, 2, 3]}, "'text'"),
    ],
)
def test_what_cannot_be_compared_is_an_error(validate: Validate, test: Columns, base: Columns, says: str) -> None:
    produced, anomalies = validate({"eval": test}, {"eval": base})
    assert produced.properties["blessed"] == {"eval_eval": 0}
    described = produced.custom_properties["anomalies"]["eval_eval"]["text"][-1]
    assert (described["severity"], described["short"]) == ("ERROR", "Not compared")
    assert says in described["description"]
    assert list(written(anomalies, "eval_eval").anomaly_info) == ["text"]


@pytest.mark.parametrize("comparators", [INFINITY, DIFFERENCE, {**INFINITY, **DIVERGENCE}])
def test_numbers_are_not_compared_as_categories(validate: Validate, comparators: Mapping[str, Any]) -> None:
    given = config({"text": INFINITY, "float": comparators, "int": comparators})
    with pytest.raises(
        InvalidInputError, match=r"split pair eval_eval: .*'float' is a number .*'int' is a number"
    ) as e:
        validate({"eval": SAME}, {"eval": SAME}, config=given)
    assert "use jensen_shannon_divergence" in str(e.value)


def test_a_name_with_a_dot(validate: Validate) -> None:
    test, base = {"a.b": SHIFTED["text"]}, {"a.b": SAME["text"]}
    produced, anomalies = validate({"eval": test}, {"eval": base}, config=config({"a.b": INFINITY}))
    (info,) = written(anomalies, "eval_eval").anomaly_info.values()
    assert list(info.path.step) == ["a.b"]
    assert produced.properties["blessed"] == {"eval_eval": 0}


def test_pairs_of_splits(validate: Validate) -> None:
    splits = {"train": SAME, "eval": SHIFTED}
    assert validate(splits, {"eval": SHIFTED, "x": SAME})[0].properties["blessed"] == {"eval_eval": 1}
    produced, anomalies = validate(splits, splits, include_split_pairs=[["eval", "train"], ["train", "train"]])
    assert produced.properties["blessed"] == {"eval_train": 0, "train_train": 1}
    assert produced.properties["splits"] == ["eval_train", "train_train"]
    assert sorted(path.name for path in Path(anomalies.uri).iterdir()) == [
        "SplitPair-eval_train",
        "SplitPair-train_train",
    ]


def test_pairs_that_are_not_there(validate: Validate) -> None:
    with pytest.raises(InvalidInputError, match=r"names the split 'test', which ExampleStatistics .* has: eval"):
        validate({"eval": SAME}, {"eval": SAME}, include_split_pairs=[["test", "eval"]])
    with pytest.raises(InvalidInputError, match=r"names the split 'test', which .* it has: eval"):
        validate({"eval": SAME}, {"eval": SAME}, include_split_pairs=[["eval", "test"]])
    with pytest.raises(InvalidInputError, match=r"no split of .* \(a\) has the name of a split of .* \(b\)"):
        validate({"a": SAME}, {"b": SAME})
    splits = {"a": SAME, "a_b": SAME, "b_c": SAME, "c": SAME}
    with pytest.raises(InvalidInputError, match="would both be in the folder SplitPair-a_b_c"):
        validate(splits, splits, include_split_pairs=[["a", "b_c"], ["a_b", "c"]])


def test_without_a_baseline(validate: Validate, caplog: pytest.LogCaptureFixture) -> None:
    produced, anomalies = validate({"train": SAME, "eval": SAME}, None)
    assert produced.properties == {"splits": [], "blessed": {"train_train": 2, "eval_eval": 2}}
    assert list(Path(anomalies.uri).iterdir()) == []
    assert "nothing is compared" in caplog.text
    assert ExampleAnomalies(uri="/x", properties=produced.properties).summary() == "not compared"
    given = [["train", "earlier"]]
    assert validate({"train": SAME}, None, include_split_pairs=given)[0].properties["blessed"] == {"train_earlier": 2}


def test_a_split_is_not_compared_with_itself(validate: Validate, empty: Callable[..., Any]) -> None:
    """A Resolver that finds this run's own statistics is no baseline; but other splits of the same run are one."""
    given: ExampleStatistics = empty(ExampleStatistics, digest="d" * 64, properties={"splits": ["train", "eval"]})
    for split, columns in {"train": SAME, "eval": SHIFTED}.items():
        write_statistics(given, split, tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns)))
    assert validate(given, given)[0].properties["blessed"] == {"train_train": 2, "eval_eval": 2}
    produced, anomalies = validate(given, given, include_split_pairs=[["eval", "train"], ["eval", "eval"]])
    assert produced.properties["blessed"] == {"eval_train": 0, "eval_eval": 2}
    assert produced.properties["splits"] == ["eval_train"]
    assert [path.name for path in Path(anomalies.uri).iterdir()] == ["SplitPair-eval_train"]


def test_fail_on_changes_nothing_that_is_published(validate: Validate) -> None:
    splits = {"eval": SHIFTED}, {"eval": SAME}
    assert validate(*splits, fail_on="ERROR")[0] == validate(*splits)[0]


def test_slices_do_not_count(validate: Validate, empty: Callable[..., Any]) -> None:
    """Of sliced statistics, those of all rows are compared."""
    frame = pd.DataFrame(SAME)
    whole = tfdv.generate_statistics_from_dataframe(frame)
    whole.datasets[0].name = "All Examples"
    slice_of_it = whole.datasets.add()
    slice_of_it.CopyFrom(tfdv.generate_statistics_from_dataframe(frame[frame["text"] == "a"]).datasets[0])
    slice_of_it.name = "text_a"
    sliced: ExampleStatistics = empty(ExampleStatistics, properties={"splits": ["eval"]})
    write_statistics(sliced, "eval", whole)
    compared = executor._compared(
        executor._read(sliced, ["eval"])["eval"],
        tfdv.generate_statistics_from_dataframe(frame).datasets[0],
        config({"text": INFINITY}),
        "x",
    )
    assert not compared.anomaly_info
    assert compared.drift_skew_info[0].drift_measurements[0].value == 0
