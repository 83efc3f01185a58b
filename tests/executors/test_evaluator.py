"""Evaluator always gives a verdict, with its reason and every slice and metric that failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fresh import in_fresh_process
from taken import call_with_one

from airflow_provider_mlpipe.artifacts import Examples, Model, ModelBlessing, ModelEvaluation, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError, UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning:keras"),
]

ACCURACY = "sparse_categorical_accuracy"
# as TFX's users write it; JSON's bare number does too
AT_LEAST_80_PERCENT = {"value_threshold": {"lower_bound": {"value": 0.8}}}
NOT_WORSE = {"change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": 0.0}}


def eval_config(threshold: dict[str, Any] | None = None, **metric: Any) -> dict[str, Any]:
    accuracy = {"class_name": "SparseCategoricalAccuracy", **({"threshold": threshold} if threshold else {}), **metric}
    return {
        "model_specs": [{"label_key": "species_xf", "preprocessing_function_names": ["transform_features"]}],
        "metrics_specs": [{"metrics": [{"class_name": "ExampleCount"}, accuracy]}],
        "slicing_specs": [{}, {"feature_keys": ["island"]}],
    }


@pytest.fixture(scope="session")
def evaluate(
    penguin_examples: Examples,
    penguin_schema: Schema,
    empty: Callable[..., Any],
    context: Callable[[], ExecutorContext],
) -> Callable[..., tuple[ModelBlessing, dict[str, Any]]]:
    """Runs Evaluator on the penguins' eval split; returns the blessing and what summary.json says."""

    def run(model: Model, config: dict[str, Any], **changed: Any) -> tuple[ModelBlessing, dict[str, Any]]:
        from airflow_provider_mlpipe.components.evaluator import executor

        evaluation, blessing = empty(ModelEvaluation), empty(ModelBlessing)
        defaults: dict[str, Any] = {
            "examples": penguin_examples,
            "baseline_model": None,
            "schema": penguin_schema,
            "example_splits": ("eval",),
            "rubber_stamp": False,
            "module_file": None,
        }
        produced = in_fresh_process(
            call_with_one,
            executor.run,
            **{**defaults, **changed},
            model=model,
            eval_config=config,
            evaluation=evaluation,
            blessing=blessing,
            context=context(),
        )["blessing"]
        given = ModelBlessing(uri=blessing.uri, properties=produced.properties)
        files = [path.name for path in Path(blessing.uri).iterdir()]
        assert files == ["BLESSED" if given.properties["blessed"] else "NOT_BLESSED"]
        summary = json.loads(Path(evaluation.uri, "summary.json").read_text())
        assert summary["blessed"] == bool(given.properties["blessed"])
        assert summary["reason"] == given.properties["reason"]
        return given, summary | {"uri": evaluation.uri}

    return run


Evaluate = Callable[..., tuple[ModelBlessing, dict[str, Any]]]


def metrics_of(slices: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (metrics,) = [one["metrics"] for one in slices if one["slice"] == name]
    return dict(metrics)


def test_a_good_model_is_blessed_and_compared_by_slice(
    evaluate: Evaluate, penguin_model: Model, penguin_rows: list[dict[str, str]]
) -> None:
    import tensorflow_model_analysis as tfma

    blessing, summary = evaluate(penguin_model, eval_config(AT_LEAST_80_PERCENT))
    assert blessing.properties == {
        "blessed": 1,
        "reason": "every threshold is met",
        "model_digest": penguin_model.digest,
        "model_id": penguin_model.id,
    }
    assert [one["slice"] for one in summary["slices"]] == [
        "Overall",
        "island=Biscoe",
        "island=Dream",
        "island=Torgersen",
    ]
    assert summary["counts"] == {"records": {"eval": 115}, "slices": 4, "failures": 0}
    assert summary["baseline"] is None
    on_dream = sum(row["island"] == "Dream" for row in penguin_rows[::3])
    assert metrics_of(summary["slices"], "island=Dream")["example_count"] == on_dream
    overall = metrics_of(summary["slices"], "Overall")
    assert overall["example_count"] == 115
    assert overall[ACCURACY] >= 0.8
    (tfma_overall,) = [metrics for key, metrics in tfma.load_eval_result(summary["uri"]).slicing_metrics if key == ()]
    assert tfma_overall[""][""][ACCURACY]["doubleValue"] == overall[ACCURACY]


def test_a_model_trained_on_shuffled_labels_is_not_blessed(evaluate: Evaluate, shuffled_labels_model: Model) -> None:
    blessing, summary = evaluate(shuffled_labels_model, eval_config(AT_LEAST_80_PERCENT))
    value = metrics_of(summary["slices"], "Overall")[ACCURACY]
    assert value < 0.8
    assert blessing.properties["blessed"] == 0
    assert f"Overall: {ACCURACY} {value:.6g} fails lower_bound 0.8" in blessing.properties["reason"]
    assert blessing.properties["model_digest"] == shuffled_labels_model.digest
    failed = {"metric": ACCURACY, "value": value, "bound": "lower_bound", "threshold": 0.8, "message": ""}
    assert {"slice": "Overall", **failed} in summary["failures"]


def test_a_worse_model_fails_a_change_threshold(
    evaluate: Evaluate, penguin_model: Model, shuffled_labels_model: Model
) -> None:
    blessing, summary = evaluate(shuffled_labels_model, eval_config(NOT_WORSE), baseline_model=penguin_model)
    assert blessing.properties["blessed"] == 0
    (overall,) = [failure for failure in summary["failures"] if failure["slice"] == "Overall"]
    candidate, baseline = (metrics_of(summary[key], "Overall")[ACCURACY] for key in ("slices", "baseline"))
    assert (overall["bound"], overall["threshold"]) == ("absolute change", 0.0)
    assert overall["value"] == pytest.approx(candidate - baseline)
    better, _ = evaluate(penguin_model, eval_config(NOT_WORSE), baseline_model=shuffled_labels_model)
    assert better.properties["blessed"] == 1


def test_a_first_model_skips_change_thresholds_and_says_so(evaluate: Evaluate, penguin_model: Model) -> None:
    blessing, summary = evaluate(penguin_model, eval_config(NOT_WORSE))
    assert blessing.properties["blessed"] == 1
    assert blessing.properties["reason"].endswith("no baseline model in this run, so change thresholds were skipped")
    assert summary["failures"] == []


def slice_threshold(island: str, lower_bound: float) -> dict[str, Any]:
    return {
        "slicing_specs": [{"feature_values": {"island": island}}],
        "threshold": {"value_threshold": {"lower_bound": lower_bound}},
    }


def test_a_slice_can_fail_alone_and_one_that_does_not_occur_fails(evaluate: Evaluate, penguin_model: Model) -> None:
    thresholds = [slice_threshold("Dream", 1.5), slice_threshold("Biscoe", 0.1), slice_threshold("Atlantis", 0.1)]
    thresholds[2]["slicing_specs"].append({"feature_values": {"species": "Adelie"}})
    blessing, summary = evaluate(penguin_model, eval_config(per_slice_thresholds=thresholds))
    assert blessing.properties["blessed"] == 0
    assert blessing.properties["reason"].startswith("island=Atlantis: has a threshold, but no example; island=Dream: ")
    assert [(one["slice"], one["metric"]) for one in summary["failures"]] == [
        ("island=Atlantis", None),
        ("island=Dream", ACCURACY),
        ("species=Adelie", None),
    ]
    assert (
        summary["failures"][2]["message"] == "has a threshold, but slicing_specs do not make this slice; add it there"
    )


def test_without_thresholds_nothing_is_blessed_but_by_rubber_stamp(evaluate: Evaluate, penguin_model: Model) -> None:
    blessing, _ = evaluate(penguin_model, eval_config())
    assert blessing.properties["blessed"] == 0
    assert "eval_config has no threshold" in blessing.properties["reason"]
    stamped, _ = evaluate(penguin_model, eval_config(), rubber_stamp=True)
    assert stamped.properties["blessed"] == 1
    assert stamped.properties["reason"] == "there was no threshold to check"


def test_examples_are_weighted_by_their_key(
    evaluate: Evaluate,
    penguin_model: Model,
    penguin_rows: list[dict[str, str]],
    write_penguins: Callable[..., Examples],
) -> None:
    rows = [row for row in penguin_rows[::3] if row["body_mass_g"] != "NA"]
    config = eval_config(AT_LEAST_80_PERCENT)
    config["model_specs"][0]["example_weight_key"] = "body_mass_g"
    config["metrics_specs"][0]["metrics"].append({"class_name": "WeightedExampleCount"})
    _, summary = evaluate(penguin_model, config, examples=write_penguins({"eval": rows}))
    total = sum(float(row["body_mass_g"]) for row in rows)
    assert metrics_of(summary["slices"], "Overall")["weighted_example_count"] == pytest.approx(total)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"metric_specs": []}, 'eval_config does not fit tfma.EvalConfig: .*"metric_specs"'),
        (
            {"model_specs": [{"label_key": "kind"}], "metrics_specs": [{"metrics": [{"class_name": "ExampleCount"}]}]},
            r"model_specs\[0\].label_key: the schema has no feature 'kind'; it has island, .*body_mass_g\.",
        ),
        (
            {"model_specs": [{"name": "a"}, {"name": "b"}], "metrics_specs": [{}], "slicing_specs": [{}]},
            "model_specs: give one spec without a name",
        ),
    ],
)
def test_a_wrong_eval_config_is_an_error(config: dict[str, Any], message: str, evaluate: Evaluate) -> None:
    with pytest.raises(InvalidInputError, match=message):
        evaluate(Model(uri="/nowhere"), config, baseline_model=Model(uri="/nowhere"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"class_name": "AUCC"}, "eval_config metric AUCC: Unknown metric function"),
        ({"class_name": "Mine", "module": "nowhere"}, "eval_config metric Mine: No module named 'nowhere'"),
        ({"class_name": "AUC", "config": "{"}, "eval_config metric AUC: .*line 1 column 2"),
        (
            {"class_name": "MultiClassConfusionMatrixAtThresholds", "threshold": AT_LEAST_80_PERCENT},
            "only a number can have a threshold, but multi_class_confusion_matrix_at_thresholds is not a number",
        ),
    ],
)
def test_a_wrong_metric_is_named(
    changed: dict[str, Any], message: str, evaluate: Evaluate, penguin_model: Model
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        evaluate(penguin_model, eval_config(**changed))


def test_a_threshold_that_tfma_does_not_compare_says_where_it_belongs(evaluate: Evaluate, penguin_model: Model) -> None:
    """A DAG file with it is refused, unless its model_type may bring metrics along."""
    config = eval_config()
    config["metrics_specs"][0]["thresholds"] = {ACCURACY: AT_LEAST_80_PERCENT}
    blessing, summary = evaluate(penguin_model, config)
    assert metrics_of(summary["slices"], "Overall")[ACCURACY] > 0.8
    assert f"{ACCURACY} was not computed, but has a threshold; give it in metrics" in blessing.properties["reason"]


def test_a_missing_label_is_named_though_tfma_does_not(evaluate: Evaluate, penguin_model: Model) -> None:
    config = eval_config()
    config["model_specs"][0]["label_key"] = "kind"
    with pytest.raises(
        InvalidInputError, match=r"no example has the feature 'kind'.*label_key\nTFMA's own pipeline says: "
    ):
        evaluate(penguin_model, config, schema=None)


def test_labels_that_are_text_say_how_they_become_numbers(evaluate: Evaluate, penguin_model: Model) -> None:
    config = eval_config()
    config["model_specs"] = [{"label_key": "species"}]
    with pytest.raises(
        InvalidInputError,
        match=r"^eval_config: the labels in 'species' .* are text\. Save .*preprocessing_function_names\n",
    ):
        evaluate(penguin_model, config)


def test_a_change_that_cannot_be_told_is_a_failure_with_its_cause(
    evaluate: Evaluate, penguin_model: Model, shuffled_labels_model: Model
) -> None:
    config = eval_config({"change_threshold": {"absolute": -1}})
    blessing, summary = evaluate(penguin_model, config, baseline_model=shuffled_labels_model)
    assert blessing.properties["blessed"] == 0
    assert summary["counts"]["failures"] == len(summary["slices"])
    assert "Overall: sparse_categorical_accuracy Invalid metrics or threshold" in blessing.properties["reason"]


def test_an_output_may_be_called_value(evaluate: Evaluate, penguin_model: Model) -> None:
    config = eval_config()
    config["metrics_specs"][0] |= {"output_names": ["value"], "output_weights": {"value": 0.7}}
    _, summary = evaluate(penguin_model, config)
    assert summary["counts"]["slices"] == 4


def test_an_unknown_split_is_an_error_that_lists_the_known(evaluate: Evaluate) -> None:
    with pytest.raises(InvalidInputError, match=r"example_splits: .* 'test'; known splits: train, eval"):
        evaluate(Model(uri="/nowhere"), eval_config(), example_splits=["test"])


SHARED_MODEL = """
import tensorflow_model_analysis as tfma

def custom_eval_shared_model(eval_saved_model_path, model_name, eval_config, **kwargs):
    return tfma.default_eval_shared_model(
        eval_saved_model_path=OTHER, model_name=model_name, eval_config=eval_config, **kwargs
    )
"""
EXTRACTORS = """
import apache_beam as beam
import tensorflow_model_analysis as tfma

def is_of_the_first_species(extracts):
    return int(extracts[tfma.LABELS_KEY].item()) == 0

def custom_extractors(eval_shared_model, eval_config, tensor_adapter_config):
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    select = tfma.extractors.Extractor(stage_name="Select", ptransform=beam.Filter(is_of_the_first_species))
    return [*extractors[:-1], select, extractors[-1]]  # before the slices are made
"""


def module_file(folder: Path, text: str) -> str:
    file = folder / "evaluation.py"
    file.write_text(text)
    return str(file)


def test_a_module_makes_the_model(
    evaluate: Evaluate, penguin_model: Model, shuffled_labels_model: Model, tmp_path: Path
) -> None:
    other = repr(f"{shuffled_labels_model.uri}/Format-Serving")
    module = module_file(tmp_path, SHARED_MODEL.replace("OTHER", other))
    config = eval_config(AT_LEAST_80_PERCENT)
    by_module = evaluate(penguin_model, config, module_file=module)[1]
    directly = evaluate(shuffled_labels_model, config)[1]
    assert by_module["slices"] == directly["slices"]
    assert not by_module["blessed"]


def test_a_module_makes_the_extractors(evaluate: Evaluate, penguin_model: Model, tmp_path: Path) -> None:
    all_rows = evaluate(penguin_model, eval_config())[1]
    some_rows = evaluate(penguin_model, eval_config(), module_file=module_file(tmp_path, EXTRACTORS))[1]
    counts = [metrics_of(summary["slices"], "Overall")["example_count"] for summary in (all_rows, some_rows)]
    assert 0 < counts[1] < counts[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "evaluation.py defines neither custom_eval_shared_model nor custom_extractors"),
        (
            "def custom_eval_shared_model(**kwargs):\n    return kwargs['no_such']\n",
            r"custom_eval_shared_model raised KeyError at .*evaluation.py, line 2: 'no_such'",
        ),
        (
            "def custom_eval_shared_model(**kwargs):\n    pass\n",
            "custom_eval_shared_model returned None; it must return a tfma.EvalSharedModel",
        ),
        ("def custom_extractors(**kwargs):\n    pass\n", "custom_extractors returned None; it must return a list"),
    ],
)
def test_a_module_that_fails(text: str, said: str, evaluate: Evaluate, penguin_model: Model, tmp_path: Path) -> None:
    with pytest.raises(UserCodeError, match=said):
        evaluate(penguin_model, eval_config(), module_file=module_file(tmp_path, text))
