"""An `eval_config` is checked when the DAG is parsed, without TFMA."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from airflow_provider_mlpipe.components.csv_example_gen.operator import CsvExampleGenOperator
from airflow_provider_mlpipe.components.evaluator.eval_config import message_type
from airflow_provider_mlpipe.components.evaluator.features import check_features
from airflow_provider_mlpipe.components.evaluator.operator import EvaluatorOperator
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter

AT_LEAST_HALF = {"value_threshold": {"lower_bound": {"value": 0.5}}}
AUC = {"class_name": "AUC"}
LIMIT = RuntimeParameter("limit", int, 5)
LATER = "{{ params.metric }}"


def evaluator(eval_config: Any) -> EvaluatorOperator:
    model = ImporterOperator(source_uri="/model", artifact_type="Model").outputs["result"]
    examples = CsvExampleGenOperator(input_base="/data").outputs["examples"]
    return EvaluatorOperator(examples=examples, model=model, eval_config=eval_config)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"metric_specs": []},
            "eval_config has no 'metric_specs'; it has model_specs, slicing_specs, cross_slicing_specs, metrics_specs, "
            "options",
        ),
        (
            {"metrics_specs": [{"metrics": [AUC | {"threshold": {"lower_bound": 0.5}}]}]},
            "eval_config.metrics_specs[0].metrics[0].threshold has no 'lower_bound'; it has value_threshold, "
            "change_threshold",
        ),
        (
            {"metrics_specs": [{"metrics": ["AUC"]}]},
            "eval_config.metrics_specs[0].metrics[0] takes a MetricConfig or its dict, but got 'AUC'",
        ),
        (
            {"slicing_specs": [{"feature_keys": "island"}]},
            "eval_config.slicing_specs[0].feature_keys takes a list of str, but got 'island'; write ['island']",
        ),
        (
            {"metrics_specs": [{"metrics": [AUC]}, {"metrics": [AUC], "thresholds": {"auc": AT_LEAST_HALF}}]},
            "eval_config.metrics_specs[1].thresholds.auc is only for a metric that a Keras model brings along; give "
            "the metric in metrics, with the threshold beside its class_name",
        ),
        (
            {"metrics_specs": [{"thresholds": {"auc": {"lower": 0.5}}}]},
            "eval_config.metrics_specs[0].thresholds.auc has no 'lower'; it has value_threshold, change_threshold",
        ),
        (
            {"metrics_specs": [{"metrics": [AUC]}, {"metrics": [AUC, {"class_name": "BinaryAcuracy"}]}]},
            "eval_config.metrics_specs[1].metrics[1].class_name: neither TFMA nor Keras has a metric 'BinaryAcuracy'; "
            "did you mean BinaryAccuracy?",
        ),
        (
            {"metrics_specs": [{"metrics": [{"class_name": "Mine"}]}]},
            "eval_config.metrics_specs[0].metrics[0].class_name: neither TFMA nor Keras has a metric 'Mine'; for one "
            "of your own, name its module in module",
        ),
        (
            {"model_specs": [{"name": "a"}, {"name": "b"}]},
            "eval_config.model_specs takes one spec of the model, and may have one more with is_baseline, but has 2 "
            "without and 0 with is_baseline",
        ),
        (
            {"model_specs": [{"is_baseline": True}]},
            "eval_config.model_specs takes one spec of the model, and may have one more with is_baseline, but has 0 "
            "without and 1 with is_baseline",
        ),
    ],
)
def test_what_tfma_would_not_take_is_an_error_when_the_dag_is_parsed(config: Any, says: str) -> None:
    with pytest.raises(PipelineError) as refused:
        evaluator(config)
    assert str(refused.value).endswith(f": Evaluator: {says}")


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (
            {"metricsSpecs": ({"metrics": [{"className": "AUC", "threshold": AT_LEAST_HALF}]},)},
            {"metrics_specs": [{"metrics": [AUC | {"threshold": AT_LEAST_HALF}]}]},
        ),
        (
            {"options": {"confidence_intervals": {"method": 1}, "min_slice_size": LIMIT}},
            {"options": {"confidence_intervals": {"method": "POISSON_BOOTSTRAP"}, "min_slice_size": LIMIT}},
        ),
        (
            {"model_specs": [{"model_type": "tf_keras"}], "metrics_specs": [{"thresholds": {"auc": AT_LEAST_HALF}}]},
            {"model_specs": [{"model_type": "tf_keras"}], "metrics_specs": [{"thresholds": {"auc": AT_LEAST_HALF}}]},
        ),
        (
            {"metrics_specs": [{"metrics": [{"class_name": "Mine", "module": "my.metrics"}, {"class_name": LATER}]}]},
            {"metrics_specs": [{"metrics": [{"class_name": "Mine", "module": "my.metrics"}, {"class_name": LATER}]}]},
        ),
        (
            {"model_specs": [{"label_key": "a", "is_baseline": True}, {"label_key": "b", "is_baseline": False}]},
            {"model_specs": [{"label_key": "a", "is_baseline": True}, {"label_key": "b"}]},
        ),
        (
            {"metrics_specs": [{"aggregate": {"class_weights": {0: 1, 1: 2.5}}}], "options": {"min_slice_size": 3}},
            {
                "metrics_specs": [{"aggregate": {"class_weights": {"0": 1.0, "1": 2.5}}}],
                "options": {"min_slice_size": 3},
            },
        ),
    ],
)  # fmt: skip
def test_a_config_is_kept_with_tfmas_names(config: Any, kept: Any) -> None:
    assert evaluator(config).eval_config == kept


def test_tfma_is_not_imported_for_it() -> None:
    before = set(sys.modules)
    message_type.__wrapped__()
    assert not [name for name in sys.modules.keys() - before if name.startswith("tensorflow")]


def test_without_tfma_a_config_is_left_to_the_task() -> None:
    assert message_type("no_such_library") is None


FEATURES = ["label", "island", "weight", "group"]
SLICE = {"feature_values": {"isle": "a"}}


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"model_specs": [{"label_key": "label"}, {"label_key": "isle"}]}, "model_specs[1].label_key"),
        ({"model_specs": [{"label_keys": {"a": "label", "b": "isle"}}]}, "model_specs[0].label_keys.b"),
        ({"model_specs": [{"example_weight_key": "isle"}]}, "model_specs[0].example_weight_key"),
        ({"model_specs": [{"example_weight_keys": {"a": "isle"}}]}, "model_specs[0].example_weight_keys.a"),
        ({"slicing_specs": [{}, {"feature_keys": ["island", "isle"]}]}, "slicing_specs[1].feature_keys"),
        ({"slicing_specs": [SLICE]}, "slicing_specs[0].feature_values"),
        ({"cross_slicing_specs": [{"baseline_spec": SLICE}]}, "cross_slicing_specs[0].baseline_spec.feature_values"),
        ({"metrics_specs": [{"query_key": "isle"}]}, "metrics_specs[0].query_key"),
        (
            {"metrics_specs": [{"metrics": [AUC | {"per_slice_thresholds": [{"slicing_specs": [SLICE]}]}]}]},
            "metrics_specs[0].metrics[0].per_slice_thresholds[0].slicing_specs[0].feature_values",
        ),
    ],
)
def test_a_feature_that_the_schema_lacks_is_named_with_its_place(config: Any, place: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_features(config, FEATURES)
    assert str(refused.value) == (
        f"eval_config.{place}: the schema has no feature 'isle'; it has island, label, weight, group. For a feature "
        "that the model makes, name its signature in model_specs.preprocessing_function_names"
    )


def test_other_names_than_those_of_features_are_left_alone() -> None:
    spec = {"name": "isle", "prediction_key": "isle", "signature_name": "isle", "label_key": "label"}
    check_features({"model_specs": [spec], "metrics_specs": [{"output_names": ["isle"], "metrics": [AUC]}]}, FEATURES)
    check_features({"model_specs": [{"label_key": "isle", "preprocessing_function_names": ["f"]}]}, FEATURES)
