"""DistributionValidatorOperator: what it refuses when the DAG is parsed, and its gate."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mlpipe.artifacts import ExampleAnomalies
from airflow_provider_mlpipe.components.csv_example_gen.operator import CsvExampleGenOperator
from airflow_provider_mlpipe.components.distribution_validator.operator import DistributionValidatorOperator
from airflow_provider_mlpipe.components.resolver.operator import ResolverOperator
from airflow_provider_mlpipe.components.statistics_gen.operator import StatisticsGenOperator
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError, InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.proto.mlpipe_pb2 import DistributionValidatorConfig


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
