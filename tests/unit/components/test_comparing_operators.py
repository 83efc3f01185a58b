"""DistributionValidatorOperator and ExampleDiffOperator: what they refuse when the DAG is parsed, and their gates."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, ExamplesDiff
from airflow_provider_mlpipe.components.csv_example_gen.operator import CsvExampleGenOperator
from airflow_provider_mlpipe.components.distribution_validator.operator import DistributionValidatorOperator
from airflow_provider_mlpipe.components.example_diff.operator import ExampleDiffOperator
from airflow_provider_mlpipe.components.resolver.operator import ResolverOperator
from airflow_provider_mlpipe.components.statistics_gen.operator import StatisticsGenOperator
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError, InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.proto.mlpipe_pb2 import DistributionValidatorConfig, ExampleDiffConfig, PairedExampleSkew


def feature(name: str = "x", **comparators: Any) -> dict[str, Any]:
    given = {comparator: {"threshold": value} for comparator, value in comparators.items()}
    return {"path": {"step": [name]}, "distribution_comparator": given}


def config(*features: Any, **further: Any) -> dict[str, Any]:
    return {"default_slice_config": {"feature": list(features), **further}}


DRIFT = feature(infinity_norm=0.1)


def validator(given: Any = None, **parameters: Any) -> DistributionValidatorOperator:
    statistics = StatisticsGenOperator(examples=CsvExampleGenOperator(input_base="/data").outputs["examples"])
    before = ResolverOperator(strategy="LatestArtifact", artifact_type="ExampleStatistics")
    return DistributionValidatorOperator(
        statistics=statistics.outputs["statistics"],
        baseline_statistics=before.outputs["result"],
        config=given or config(DRIFT),
        **parameters,
    )


def test_a_message_and_its_dict_are_equal() -> None:
    slice_config = DistributionValidatorConfig.DatasetConfig()
    slice_config.feature.add().path.step.append("x")
    slice_config.feature[0].distribution_comparator.infinity_norm.threshold = 0.1
    message = DistributionValidatorConfig(default_slice_config=slice_config)
    assert validator(message).config == validator(config(DRIFT)).config == config(DRIFT)


def test_a_threshold_of_zero_is_kept() -> None:
    """Any difference is an anomaly then; protobuf would drop a zero that is the default."""
    assert validator(config(feature(infinity_norm=0))).config == config(feature(infinity_norm=0.0))


def test_what_only_a_run_knows_may_stand_inside() -> None:
    later = RuntimeParameter("most", float, 0.1)
    assert validator(config(feature(infinity_norm=later))).config == config(feature(infinity_norm=later))
    assert validator(config(feature("{{ params.name }}", infinity_norm="{{ params.most }}")))
    unsplit = RuntimeParameter("pairs")
    assert validator(include_split_pairs=unsplit).include_split_pairs is unsplit


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"default_slice_config": {}}, "config compares nothing; list features in default_slice_config.feature"),
        (config({"path": {"step": []}}), r"feature\[0\].path.step needs one name"),
        (config({"path": {"step": ["a", "b"]}}), r"feature\[0\].path.step needs one name, .*'a', 'b'"),
        (config(feature()), r"feature\[0\] \('x'\) needs a distribution_comparator: infinity_norm, jensen"),
        (
            config({**DRIFT, "distribution_comparator": {"infinity_norm": {}}}),
            r"feature\[0\] \('x'\): infinity_norm needs a threshold",
        ),
        (config(feature(jensen_shannon_divergence=10)), "has the threshold 10, but a distance is from 0 to 1"),
        (config(feature(normalized_abs_difference=-1)), "has the threshold -1, but"),
        (config(DRIFT, DRIFT), r"feature\[1\] is 'x', as is feature\[0\]"),
        (config(num_examples_comparator={}), "num_examples_comparator needs a min_fraction_threshold"),
        (config({**DRIFT, "name": "x"}), "has no 'name'; it has path, distribution_comparator"),
    ],
)
def test_a_config_that_compares_nothing(given: Any, says: str) -> None:
    with pytest.raises(PipelineError, match=f"DistributionValidator: .*{says}"):
        validator(given)


def test_pairs_are_of_two_names() -> None:
    for wrong, says in (
        ([], "include_split_pairs is empty"),
        ([["a"]], r"include_split_pairs\[0\] takes two names, \[test split, base split\], but got \['a'\]"),
        (["ab"], r"include_split_pairs\[0\] takes a list of str"),
    ):
        with pytest.raises(PipelineError, match=says):
            validator(include_split_pairs=wrong)


def test_what_a_run_fills_in_is_checked_too() -> None:
    operator = validator(config(feature(infinity_norm="{{ params.most }}")))
    operator.config = config(feature(infinity_norm="7"))
    with pytest.raises(InvalidInputError, match="infinity_norm has the threshold 7"):
        operator.convert_rendered()


def test_the_gate_names_the_pair() -> None:
    anomaly = {"severity": "ERROR", "short": "High Linfty distance", "description": "0.4, above 0.1."}
    found = ExampleAnomalies(uri="/x", custom_properties={"anomalies": {"eval_train": {"x": [anomaly]}}})
    validator().check_gate({"anomalies": [found]})
    says = r"split pair eval_train, x: ERROR: High Linfty distance: 0\.4, above 0\.1\.\n.*raise the thresholds"
    with pytest.raises(AnomaliesFoundError, match=says):
        validator(fail_on="ERROR").check_gate({"anomalies": [found]})


def test_a_gate_holds_back_the_readers_of_the_tested_examples() -> None:
    gate = validator(fail_on="ERROR")
    assert gate.gated_channels() == [gate.statistics.producer.examples]
    assert validator().gated_channels() == []


def example_diff(given: Any = None, **parameters: Any) -> ExampleDiffOperator:
    test, base = (CsvExampleGenOperator(task_id=name, input_base=f"/{name}") for name in ("test", "base"))
    return ExampleDiffOperator(
        examples_test=test.outputs["examples"],
        examples_base=base.outputs["examples"],
        config=given or {"paired_example_skew": {"identifier_features": ["id"]}},
        **parameters,
    )


def test_an_example_diff_takes_a_message_or_a_dict() -> None:
    skew = PairedExampleSkew(identifier_features=["id"], float_round_ndigits=0)
    plain = {"paired_example_skew": {"identifier_features": ["id"], "float_round_ndigits": 0}}
    assert example_diff(ExampleDiffConfig(paired_example_skew=skew)).config == plain == example_diff(plain).config


@pytest.mark.parametrize(
    ("given", "parameters", "says"),
    [
        ({"paired_example_skew": {}}, {}, "identifier_features is empty; name the features"),
        (
            {"paired_example_skew": {"identifier_features": ["id"], "confusion_config": [{}]}},
            {},
            r"confusion_config\[0\] needs a feature_name",
        ),
        ({"paired_example_skew": {"identifiers": ["id"]}}, {}, "has no 'identifiers'; it has identifier_features"),
        (None, {"max_diff_share": 3}, "max_diff_share is a share from 0 to 1, but it is 3"),
        (None, {"include_split_pairs": [["a", "b", "c"]]}, r"include_split_pairs\[0\] takes two names"),
    ],
)
def test_an_example_diff_that_cannot_be(given: Any, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(PipelineError, match=f"ExampleDiff: .*{says}"):
        example_diff(given, **parameters)


def found_differences(**differing: int) -> dict[str, list[ExamplesDiff]]:
    properties = {"pair_counts": dict.fromkeys(differing, 1000), "differing_counts": differing}
    most = {"most_different": {pair: {"price": count, "city": 1} for pair, count in differing.items()}}
    return {"example_diff_result": [ExamplesDiff(uri="/x", properties=properties, custom_properties=most)]}


@pytest.mark.parametrize(("share", "is_shut"), [(None, False), (0.1, False), (0.05, True), (0, True)])
def test_too_great_a_share_of_differing_pairs(share: float | None, is_shut: bool) -> None:
    gate, found = example_diff(max_diff_share=share), found_differences(a_a=0, b_b=100)
    if not is_shut:
        gate.check_gate(found)
        return
    says = r"\n  /x, split pair b_b: 100 of 1,000 pairs differ \(0\.1\), in price \(100\), city \(1\)\nLook for"
    with pytest.raises(AnomaliesFoundError, match=says) as error:
        gate.check_gate(found)
    assert "a_a" not in str(error.value)


def test_the_gate_of_an_example_diff_holds_back_the_readers_of_the_tested_examples() -> None:
    gate = example_diff(max_diff_share=0.1)
    assert gate.gated_channels() == [gate.examples_test]
    assert example_diff().gated_channels() == []
