"""What the kernel does not cover, TFMA's own pipeline evaluates, and the log says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluations import evaluate, save_model, why_not, write_examples
from fresh import in_fresh_process
from transforms import DENSE_X, write_schema, write_shifted

from airflow_provider_mlpipe.artifacts import Examples, Model
from airflow_provider_mlpipe.exceptions import InvalidInputError

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

COUNT = {"class_name": "ExampleCount"}
SCHEMA = """
feature { name: "late" type: INT }
feature { name: "words" type: BYTES }
feature { name: "examples" type: BYTES }
tensor_representation_group {
  key: ""
  value { tensor_representation { key: "late" value { ragged_tensor { feature_path { step: "late" } } } } }
}
"""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        (
            {"metrics_specs": [{"metrics": [COUNT, {"class_name": "ExactMatch"}]}]},
            "metric ExactMatch: only TFMA computes the sums of ExactMatchComb",
        ),
        ({"metrics_specs": [{"metrics": [COUNT], "query_key": "city"}]}, "metric ExampleCount: .*query_key city"),
        (
            {
                "metrics_specs": [
                    {"metrics": [{"class_name": "Calibration"}], "binarize": {"top_k_list": {"values": [2]}}}
                ]
            },
            "metric Calibration: calibration at top_k",
        ),
        ({"slicing_specs": [{"slice_keys_sql": "SELECT 1"}]}, "slice_keys_sql"),
        (
            {"cross_slicing_specs": [{"baseline_spec": {}}], "options": {"min_slice_size": 9}},
            "min_slice_size together with cross_slicing_specs",
        ),
        ({"model_specs": [{"model_type": "tf_lite"}]}, "the model type tf_lite"),
        ({"model_specs": [{"padding_options": {"label_int_padding": 0}}]}, "padding_options"),
        ({"model_specs": [{"signature_name": "predict"}]}, "has no signature 'predict'; it has serving_default"),
        (
            {"model_specs": [{"preprocessing_function_names": ["tft_layer"]}]},
            "has no signature 'tft_layer'; it has serving_default",
        ),
        ({"schema": True}, "takes examples, not serialized examples"),
        ({"schema": True, "model_specs": [{"label_key": "late"}]}, "late: the schema represents it as ragged_tensor"),
    ],
)
def test_what_is_not_covered_is_named(changed: dict[str, Any], reason: str | None, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", {"": ("p", 1)})
    schema = SCHEMA if changed.pop("schema", False) else None
    found = in_fresh_process(why_not, {"metrics_specs": [{"metrics": [COUNT]}], **changed}, model, schema)
    assert found is None if reason is None else re.search(reason, found or ""), found


def test_a_metric_that_only_tfma_knows_is_evaluated_and_named(tmp_path: Path) -> None:
    import pyarrow as pa

    found = evaluate(
        tmp_path / "evaluated",
        {"model_specs": [{"label_key": "late"}], "metrics_specs": [{"metrics": [COUNT, {"class_name": "ExactMatch"}]}]},
        examples=write_examples(tmp_path / "examples", {"late": pa.array([0, 1]), "p": pa.array([0.0, 0.5])}),
        model=save_model(tmp_path / "model", {"": ("p", 1)}),
    )
    assert found.fell_back
    assert found.fell_back.startswith("metric ExactMatch: ")
    assert found.summary["slices"][0]["metrics"] == {"example_count": 2.0, "exact_match": 0.5}


def test_a_feature_with_the_name_of_a_models_input_is_what_tfma_feeds(tmp_path: Path) -> None:
    import pyarrow as pa

    from airflow_provider_mlpipe.records.examples import encode_examples

    (inner,) = encode_examples(pa.RecordBatch.from_pydict({"p": pa.array([0.75])})).to_pylist()
    columns = {"late": pa.array([1.0]), "p": pa.array([0.25]), "examples": pa.array([inner], pa.binary())}
    found = evaluate(
        tmp_path / "evaluated",
        {"model_specs": [{"label_key": "late"}], "metrics_specs": [{"metrics": [{"class_name": "MeanPrediction"}]}]},
        examples=write_examples(tmp_path / "examples", columns),
        model=save_model(tmp_path / "model", {"": ("p", 1)}),
    )
    assert "a model's input has the name of a feature of the examples: examples" in (found.fell_back or "")
    assert found.summary["slices"][0]["metrics"] == {"mean_prediction": 0.75}


@pytest.mark.parametrize("beam", [(), ("--runner=DirectRunner",)])
def test_data_that_only_tfma_handles_is_evaluated_and_named(beam: tuple[str, ...], tmp_path: Path) -> None:
    import pyarrow as pa

    columns = {"weight": pa.array([2.0, None]), "p": pa.array([0.0, 0.5])}
    found = evaluate(
        tmp_path / "evaluated",
        {
            "model_specs": [{"example_weight_key": "weight"}],
            "metrics_specs": [{"metrics": [{"class_name": "WeightedExampleCount"}]}],
        },
        beam=beam,
        examples=write_examples(tmp_path / "examples", columns),
        model=save_model(tmp_path / "model", {"": ("p", 1)}),
    )
    assert "some examples have no value" in (found.fell_back or "")
    assert found.summary["slices"][0]["metrics"] == {"weighted_example_count": 2.0}


def test_a_count_that_is_not_the_examples_is_an_error(tmp_path: Path) -> None:
    import pyarrow as pa

    examples = write_examples(tmp_path / "examples", {"p": pa.array([0.0, 0.5])})
    wrong = type(examples)(uri=examples.uri, properties={"splits": ["eval"], "record_counts": {"eval": 3}})
    model = save_model(tmp_path / "model", {"": ("p", 1)})
    with pytest.raises(InvalidInputError, match="2 examples were evaluated"):
        evaluate(tmp_path / "evaluated", {"metrics_specs": [{"metrics": [COUNT]}]}, examples=wrong, model=model)


@pytest.mark.parametrize("by_tfma", [True, False])
def test_labels_are_not_shifted(by_tfma: bool, tmp_path: Path) -> None:
    given = {
        "examples": write_shifted(tmp_path / "examples", sidecar=True),
        "schema": write_schema(tmp_path / "schema", DENSE_X),
        "model": save_model(tmp_path / "model", {"y": ("x", 1)}),
    }
    config = {"model_specs": [{"label_key": "x"}], "metrics_specs": [{"metrics": [COUNT]}]}
    with pytest.raises(InvalidInputError, match="row 1,201 of the split 'eval': feature 'x' has 2 values, but the"):
        evaluate(tmp_path / "evaluated", config, by_tfma=by_tfma, **given)


def save_function(folder: Path, feature: str, kind: str, outputs: Callable[[Any], Any]) -> Model:
    """Save a model of one input."""
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec([None], kind, name=feature)
    module.serve = tf.function(lambda given: {"y": outputs(given)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "Format-Serving"), signatures={"serving_default": module.serve})
    return Model(uri=str(folder))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Three examples of a logit x and a label, in the split `eval`; the split `none` has no example."""
    import pyarrow as pa

    kind = pa.list_(pa.float32())
    columns = {"x": pa.array([[-0.5], [0.5], [3.0]], kind), "label": pa.array([[0.0], [1.0], [1.0]], kind)}
    folder = tmp_path_factory.mktemp("three") / "examples"
    write_examples(folder, columns)
    write_examples(folder, {name: column[:0] for name, column in columns.items()}, split="none")
    properties = {"splits": ["eval", "none"], "record_counts": {"eval": 3, "none": 0}}
    return Examples(uri=str(folder), properties=properties)


def by_label(*metrics: str) -> dict[str, Any]:
    return {
        "model_specs": [{"label_key": "label"}],
        "metrics_specs": [{"metrics": [COUNT, *({"class_name": name} for name in metrics)]}],
    }


def test_a_model_with_one_row_for_all_examples_is_evaluated(three: Examples, tmp_path: Path) -> None:
    import tensorflow as tf

    model = save_function(tmp_path / "model", "examples", "string", lambda _: tf.constant([[0.5]]))
    evaluated = evaluate(tmp_path / "evaluated", by_label("MeanSquaredError"), examples=three, model=model)
    assert evaluated.fell_back == "the model fails on a batch of examples, or does not return a row for each"
    (overall,) = evaluated.summary["slices"]
    assert overall["metrics"]["mean_squared_error"] == 0.25


def test_logits_and_an_empty_split_are_warned_of(three: Examples, tmp_path: Path) -> None:
    given = {"examples": three, "model": save_model(tmp_path / "model", {"y": ("x", 1)})}
    evaluated = evaluate(tmp_path / "evaluated", by_label("AUC"), **given, example_splits=["eval", "none"])
    assert [line for line in evaluated.log if line.startswith("2 predictions are outside 0 to 1")]
    assert evaluated.summary["counts"]["records"] == {"eval": 3, "none": 0}
    assert evaluated.summary["slices"][0]["metrics"]["auc"] == 1.0


def test_without_metrics_examples_are_counted_with_a_warning(three: Examples, tmp_path: Path) -> None:
    given = {"examples": three, "model": save_model(tmp_path / "model", {"y": ("x", 1)})}
    evaluated = evaluate(tmp_path / "evaluated", {"model_specs": [{"label_key": "label"}]}, **given)
    assert [line for line in evaluated.log if line.startswith("eval_config lists no metrics_specs, and")]
    assert [one["metrics"] for one in evaluated.summary["slices"]] == [{"example_count": 3.0}]


def test_no_example_at_all_is_an_error(three: Examples, tmp_path: Path) -> None:
    given = {"examples": three, "model": save_model(tmp_path / "model", {"y": ("x", 1)})}
    with pytest.raises(InvalidInputError, match=r"no split has any example \(none\); check the data"):
        evaluate(tmp_path / "evaluated", by_label(), **given, example_splits=["none"])


def test_a_model_that_takes_no_examples_is_told_what_it_needs(three: Examples, tmp_path: Path) -> None:
    model = save_function(tmp_path / "model", "z", "float32", lambda z: z)
    words = "signature serving_default takes z, not serialized examples. Save the model with a signature that takes one"
    with pytest.raises(InvalidInputError, match=f"{words} .*\nTFMA's own pipeline says: Fail to call signature"):
        evaluate(tmp_path / "evaluated", by_label(), examples=three, model=model)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("Format-Serving/export/x/1", "; there is one in .*/Format-Serving/export/x/1, from where"),
        ("variables", r"\. "),
    ],
)
def test_a_model_without_a_saved_model_is_told_where_it_belongs(
    place: str, words: str, three: Examples, tmp_path: Path
) -> None:
    (tmp_path / "model" / place).mkdir(parents=True)
    (tmp_path / "model" / place / ("saved_model.pb" if "export" in place else "variables.index")).touch()
    given = {"examples": three, "model": Model(uri=str(tmp_path / "model"))}
    with pytest.raises(
        InvalidInputError, match=rf"model has no SavedModel in Format-Serving/{words}.*serving_model_dir"
    ):
        evaluate(tmp_path / "evaluated", by_label(), **given)
