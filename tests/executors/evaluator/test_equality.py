"""The kernel's results are those of TFMA's own pipeline: every metric, plot and validation of every slice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluations import Evaluated, differences, evaluate, save_model, write_examples, write_schema
from examples import EXAMPLES
from resampled import SAMPLES, SLICED_BY_SAMPLE, Samples, write_samples

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning:keras"),
]

DIRECT_RUNNER = ("--runner=DirectRunner",)
ROWS = 400


def metric(class_name: str, /, **settings: Any) -> dict[str, Any]:
    return {"class_name": class_name, **({"config": json.dumps(settings)} if settings else {})}


BINARY = [
    *map(metric, ["ExampleCount", "WeightedExampleCount", "AUC", "AUCPrecisionRecall", "BinaryAccuracy", "F1Score"]),
    *map(metric, ["Calibration", "MeanLabel", "MeanPrediction", "BinaryCrossEntropy", "SquaredPearsonCorrelation"]),
    *map(metric, ["CoefficientOfDiscrimination", "FallOut", "CalibrationPlot", "ConfusionMatrixPlot"]),
    metric("SpecificityAtSensitivity", sensitivity=0.8),
    metric("ConfusionMatrixAtThresholds", thresholds=[0.9, 0.1, 0.5]),
]
REGRESSION = [
    *map(metric, ["ExampleCount", "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError"]),
    *map(metric, ["MeanSquaredLogarithmicError", "RootMeanSquaredError", "Calibration", "MeanPrediction"]),
]


def rows(seed: int, count: int = ROWS, classes: int = 4) -> dict[str, Any]:
    """Random examples: labels, predictions, weights of which some are 0, and features that are missing or many."""
    import pyarrow as pa

    random = np.random.default_rng(seed)
    words, cities = ["a", "ß ü", "日本", "", "x=y"], ["Rome", "Köln", "NY", None]
    sure = np.round(random.random(count), 1)  # on thresholds and borders of buckets
    probabilities = random.dirichlet(np.ones(classes), count).astype(np.float32)
    label = np.where(random.random(count) < 0.5, probabilities.argmax(1), random.integers(0, classes, count))
    return {
        "late": pa.array((random.random(count) < 0.3).astype(np.int64)),
        "share": pa.array(np.round(random.random(count), 2).astype(np.float32)),
        "p": pa.array(np.where(random.random(count) < 0.2, sure, random.random(count)).astype(np.float32)),
        "q": pa.array(random.random(count).astype(np.float32)),
        "kind": pa.array(label),
        "kinds": pa.array(list(np.eye(classes, dtype=np.float32)[label]), pa.list_(pa.float32())),
        "probabilities": pa.array(list(probabilities), pa.list_(pa.float32())),
        "weight": pa.array(np.where(random.random(count) < 0.1, 0, random.integers(1, 9, count) / 4), pa.float32()),
        "number": pa.array(random.integers(0, 3, count)),
        "half": pa.array(random.integers(0, 3, count) / 2, pa.float32()),
        "city": pa.array([cities[place] for place in random.integers(0, 4, count)], pa.string()),
        "tags": pa.array(
            [[words[place] for place in random.integers(0, 5, random.integers(0, 4))] for _ in range(count)],
            pa.list_(pa.string()),
        ),
    }


def config(*metrics_specs: Mapping[str, Any], label: str = "late", **others: Any) -> dict[str, Any]:
    return {
        "model_specs": [{"label_key": label, "example_weight_key": "weight"}],
        "slicing_specs": [
            {},
            {"feature_keys": ["tags"]},
            {"feature_keys": ["city", "number"]},
            {"feature_keys": ["half"], "feature_values": {"number": "2"}},
            {"feature_values": {"city": "Köln"}},
            {"feature_keys": ["nothing"]},
        ],
        "metrics_specs": list(metrics_specs),
        **others,
    }


@pytest.fixture(scope="module")
def compare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Evaluated]:
    """Evaluates locally, on Beam and by TFMA; all are the same. Returns the local results."""

    def run(eval_config: Mapping[str, Any], **given: Any) -> Evaluated:
        folder = tmp_path_factory.mktemp("evaluate")
        local = evaluate(folder / "local", eval_config, **given)
        assert local.fell_back is None
        on_beam = evaluate(folder / "beam", eval_config, beam=DIRECT_RUNNER, **given)
        assert on_beam.fell_back is None
        assert not local.differences(on_beam, relative=0, absolute=0)
        assert not local.differences(evaluate(folder / "tfma", eval_config, by_tfma=True, **given))
        return local

    return run


@pytest.mark.parametrize("seed", range(1, EXAMPLES))
def test_binary_metrics_of_random_examples(seed: int, compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    unweighted = {"metrics": [metric("ExampleCount"), metric("AUC")], "example_weights": {"unweighted": True}}
    found = compare(
        config({"metrics": BINARY}, unweighted),
        examples=write_examples(tmp_path / "examples", rows(seed)),
        model=save_model(tmp_path / "model", {"late": ("p", 1)}),
    )
    slices = {one["slice"] for one in found.summary["slices"]}
    assert {"Overall", "tags=日本", "tags=", "city=Köln", "city=Rome, number=1", "half=0.5, number=2"} <= slices


def test_examples_without_a_number_are_one_slice(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    """In several batches. Keras's weighted metrics are left out: TFMA gives them other values than their formula."""
    halves = {"half": np.where(np.arange(ROWS) % 7, np.arange(ROWS) % 3 / 2, np.nan).astype(np.float32)}
    found = compare(
        config({"metrics": [metric("ExampleCount"), metric("AUC"), metric("MeanLabel")]}),
        examples=write_examples(tmp_path / "examples", rows(7) | halves),
        model=save_model(tmp_path / "model", {"late": ("p", 1)}),
        batch_rows=150,
    )
    assert [one["slice"] for one in found.summary["slices"]].count("half=nan, number=2") == 1


def test_regression_metrics(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    given = {
        "examples": write_examples(tmp_path / "examples", rows(3)),
        "model": save_model(tmp_path / "model", {"": ("p", 1)}),
    }
    compare(config({"metrics": REGRESSION}, label="share"), **given)


def test_metrics_of_classes(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    weights = {str(number): weight for number, weight in enumerate([1.0, 2.0, 0.5])}

    def named(*classes: str, name: str) -> list[dict[str, Any]]:
        return [metric(one, name=f"{one}_{name}") for one in classes]

    compare(
        config(
            {
                "metrics": [
                    *map(metric, ["ExampleCount", "SparseCategoricalAccuracy", "MultiClassConfusionMatrixPlot"]),
                    metric("MultiClassConfusionMatrixAtThresholds", thresholds=[0.2, 0.5, 0.7]),
                ]
            },
            {
                "metrics": [*map(metric, ["AUC", "Precision", "Calibration"])],
                "binarize": {"class_ids": {"values": [0, 2]}},
            },
            {"metrics": [*map(metric, ["Precision", "Recall"])], "binarize": {"top_k_list": {"values": [1, 3]}}},
            {"metrics": named("Precision", "Recall", name="k"), "binarize": {"k_list": {"values": [2]}}},
            {
                "metrics": named("AUC", "Precision", "MeanSquaredError", name="micro"),
                "aggregate": {"micro_average": True, "class_weights": weights},
            },
            {"metrics": named("AUC", name="macro"), "aggregate": {"macro_average": True, "class_weights": weights}},
            {
                "metrics": named("Precision", name="weighted"),
                "aggregate": {"weighted_macro_average": True, "class_weights": weights},
            },
            {
                "metrics": named("Precision", "Recall", name="top"),
                "aggregate": {"micro_average": True, "top_k_list": {"values": [2]}},
            },
            label="kind",
            slicing_specs=[{}, {"feature_keys": ["city"]}],
        ),
        examples=write_examples(tmp_path / "examples", rows(4)),
        model=save_model(tmp_path / "model", {"kind": ("probabilities", 4)}),
    )


def test_classes_whose_probability_is_a_threshold(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    import pyarrow as pa

    columns = rows(6)
    tenths = np.random.default_rng(6).integers(1, 9, ROWS) / 10
    columns["probabilities"] = pa.array([[one, 0.05, 0.05, 0.0] for one in tenths], pa.list_(pa.float32()))
    matrix = metric("MultiClassConfusionMatrixAtThresholds", thresholds=[number / 10 for number in range(1, 9)])
    compare(
        config({"metrics": [matrix]}, label="kind", slicing_specs=[{}]),
        examples=write_examples(tmp_path / "examples", columns),
        model=save_model(tmp_path / "model", {"kind": ("probabilities", 4)}),
    )


def test_labels_of_many_classes_and_one_of_many_outputs(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    outputs = {
        "model_specs": [
            {
                "label_keys": {"kind": "kinds", "late": "late"},
                "example_weight_keys": {"kind": "weight", "late": "weight"},
            }
        ],
        "slicing_specs": [{}, {"feature_keys": ["city"]}],
        "metrics_specs": [
            {
                "output_names": ["kind"],
                "metrics": [*map(metric, ["CategoricalAccuracy", "BinaryCrossEntropy", "ExampleCount"])],
            },
            {"output_names": ["late"], "metrics": [*map(metric, ["AUC", "MeanLabel", "BinaryAccuracy"])]},
        ],
    }
    given = {
        "examples": write_examples(tmp_path / "examples", rows(5)),
        "model": save_model(tmp_path / "model", {"kind": ("probabilities", 4), "late": ("p", 1)}),
    }
    compare(outputs, **given)
    one = config({"metrics": [*map(metric, ["AUC", "ExampleCount"])]})
    one["model_specs"][0]["prediction_key"] = "late"
    compare(one, **given)


def test_two_models_with_thresholds_and_cross_slices(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    def bound(slicing_spec: dict[str, Any], **bounds: float) -> dict[str, Any]:
        return {"slicing_specs": [slicing_spec], "threshold": {"value_threshold": bounds}}

    auc = metric("AUC") | {
        "per_slice_thresholds": [
            {
                "slicing_specs": [{}],
                "threshold": {
                    "value_threshold": {"lower_bound": 0.2},
                    "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": -0.3},
                },
            },
            bound({"feature_keys": ["city"]}, lower_bound=0.5, upper_bound=0.55),
            bound({"feature_values": {"city": "Atlantis"}}, lower_bound=0.1),
        ],
        "cross_slice_thresholds": [
            {
                "cross_slicing_specs": [{"baseline_spec": {}, "slicing_specs": [{"feature_keys": ["city"]}]}],
                "threshold": {"value_threshold": {"upper_bound": 0.01}},
            }
        ],
    }
    eval_config = config(
        {"metrics": [auc, *map(metric, ["ExampleCount", "Calibration", "BinaryAccuracy", "CalibrationPlot"])]},
        slicing_specs=[{}, {"feature_keys": ["city"]}, {"feature_keys": ["big"]}],
        cross_slicing_specs=[{"baseline_spec": {}, "slicing_specs": [{"feature_keys": ["city"]}]}],
    )
    eval_config["model_specs"][0]["preprocessing_function_names"] = ["transform_features"]
    columns = rows(6)
    columns["sort"] = columns["city"].fill_null("none")
    found = compare(
        eval_config,
        examples=write_examples(tmp_path / "examples", columns),
        model=save_model(tmp_path / "model", {"late": ("p", 1)}, transform={"big": "sort"}),
        baseline_model=save_model(tmp_path / "baseline", {"late": ("q", 1)}, transform={"big": "sort"}),
    )
    failed = {failure["slice"] for failure in found.summary["failures"]}
    assert {"city=Atlantis", "city=Rome"} <= failed
    assert "big=NONE" in {one["slice"] for one in found.summary["slices"]}


def test_small_slices_show_nothing(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    few = config({"metrics": [*map(metric, ["ExampleCount", "AUC"])]}, options={"min_slice_size": 60})
    given = {
        "examples": write_examples(tmp_path / "examples", rows(7)),
        "model": save_model(tmp_path / "model", {"": ("p", 1)}),
    }
    found = compare(few, **given)
    assert any("lower than the minimum" in json.dumps(value) for value in found.metrics.values())


SCHEMA = """
feature { name: "late" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "weight" type: FLOAT value_count { min: 0 max: 1 } }
feature { name: "p" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "city" type: BYTES value_count { min: 0 max: 1 } }
feature { name: "tags" type: BYTES }
feature { name: "number" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
"""


def test_features_of_a_schema(compare: Callable[..., Evaluated], tmp_path: Path) -> None:
    eval_config = config(
        {"metrics": [*map(metric, ["ExampleCount", "AUC"])]},
        slicing_specs=[{}, {"feature_keys": ["tags"]}, {"feature_keys": ["city", "number"]}],
    )
    given = {
        "examples": write_examples(tmp_path / "examples", rows(8)),
        "model": save_model(tmp_path / "model", {"": ("p", 1)}),
        "schema": write_schema(tmp_path / "schema", SCHEMA),
    }
    compare(eval_config, **given)


@pytest.mark.parametrize("method", ["JACKKNIFE", "POISSON_BOOTSTRAP"])
def test_confidence_intervals(method: str, tmp_path: Path) -> None:
    import pyarrow as pa

    eval_config = config(
        # Not MeanSquaredError and its like: TFMA's jackknife merges them in a list, of which it counts the first twice.
        {"metrics": [*map(metric, ["ExampleCount", "Calibration", "MeanLabel", "SquaredPearsonCorrelation"])]},
        slicing_specs=[{}, {"feature_keys": ["tags"]}, {"feature_keys": ["city"]}, {"feature_keys": ["lone"]}],
        options={"compute_confidence_intervals": True, "confidence_intervals": {"method": method}},
    )
    columns = rows(9, count=300)
    columns["lone"] = pa.array([["only one"], *[[]] * 299], pa.list_(pa.string()))
    given = {
        "examples": write_examples(tmp_path / "examples", columns),
        "model": save_model(tmp_path / "model", {"": ("p", 1)}),
        "baseline_model": save_model(tmp_path / "baseline", {"": ("q", 1)}),
    }
    local = evaluate(tmp_path / "local", eval_config, **given)
    assert local.fell_back is None
    assert not local.differences(
        evaluate(tmp_path / "beam", eval_config, beam=DIRECT_RUNNER, **given), relative=0, absolute=0
    )
    by_tfma = evaluate(tmp_path / "tfma", eval_config, by_tfma=True, **given)
    assert not list(differences(_without_intervals(local.metrics), _without_intervals(by_tfma.metrics)))
    assert_as_wide(local, by_tfma)
    samples = write_samples(tmp_path / "resampled", eval_config, given["examples"])
    of_samples = evaluate(
        tmp_path / "samples", eval_config | SLICED_BY_SAMPLE, by_tfma=True, **given | {"examples": samples.examples}
    )
    assert_intervals_are_those_of(samples, of_samples, local, is_jackknife=method == "JACKKNIFE")


def _without_intervals(metrics: Mapping[Any, Any]) -> dict[Any, Any]:
    """Leave out what samples tell, but not that it is told."""
    return {
        key: value.get("value", {}) | {"is_bounded": "confidence_interval" in value} for key, value in metrics.items()
    }


def assert_intervals_are_those_of(
    samples: Samples, of_samples: Evaluated, local: Evaluated, *, is_jackknife: bool
) -> None:
    """Each metric's interval follows from what TFMA makes of it in each sample: nothing is left to luck."""
    compared = Counter[str]()
    for (place, *names), found in local.metrics.items():
        values = samples.values(of_samples, place, *names) if "confidence_interval" in found else None
        if values is None:
            continue
        lower, upper, deviation = (
            found["confidence_interval"][name]["double_value"]
            for name in ("lower_bound", "upper_bound", "standard_error")
        )
        expected = values.std(ddof=1) * ((SAMPLES - 1) / SAMPLES**0.5 if is_jackknife else 1)
        assert deviation == pytest.approx(expected, rel=1e-6, abs=1e-12), (place, names)
        assert (lower + upper) / 2 == pytest.approx(values.mean(), rel=1e-9, abs=1e-12), (place, names)
        compared[place] += 1
    assert len(compared) == len(samples.numbers) - 1  # all but the slice of a lone example, which some samples lack
    assert set(compared.values()) == {10}  # three metrics of two models, and four differences of the models


def assert_as_wide(local: Evaluated, by_tfma: Evaluated) -> None:
    """TFMA's own samples, for which it takes no seed from an EvalConfig, vary as the kernel's do.

    A mean of many examples is about normal, so its variance over 20 samples is that by chi-squared with 19 degrees of
    freedom. Of nine slices, sampled each on its own, the ratio of two such deviations is on average (of its logarithm)
    beyond a factor of 1.8 by chance in less than one of 10^11 runs, by Chernoff's bound.
    """
    named = {"example_weighted": True, "model_name": "candidate", "name": "mean_label"}
    keys = [(place, *name) for place, *name in local.metrics if name and json.loads(*name) == named]
    ratios = [_deviation(local.metrics[key]) / _deviation(by_tfma.metrics[key]) for key in keys if "lone" not in key[0]]
    assert len(ratios) == 9
    assert 1 / 1.8 < np.exp(np.mean(np.log(ratios))) < 1.8


def _deviation(value: Mapping[str, Any]) -> float:
    return float(value["confidence_interval"]["standard_error"]["double_value"])


def test_samples_are_drawn_as_tfma_draws_them() -> None:
    """Seeded by the examples, so there is no luck in it; the bounds are seven standard deviations."""
    import pyarrow as pa

    from airflow_provider_mlpipe.components.evaluator.kernel import Sampling, dealt

    examples, slices = np.arange(5000), np.zeros(5000, np.int64)
    records = pa.array([str(number).encode() for number in examples])
    part = dealt(Sampling.JACKKNIFE, examples, slices, records).group
    assert np.bincount(part, minlength=21)[1:] == pytest.approx(np.full(20, 250), abs=7 * 250**0.5)
    members = dealt(Sampling.BOOTSTRAP, examples, slices, records)
    assert members.times is not None
    assert (members.times[members.group == 0] == 1).all()
    drawn = np.bincount(members.times[members.group > 0], minlength=4)[1:4]
    expected = 5000 * 20 * np.exp(-1) / np.array([1, 2, 6])
    assert (abs(drawn - expected) < 7 * np.sqrt(expected)).all()
