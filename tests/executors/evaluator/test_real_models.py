"""Equality with TFMA's own pipeline on trained models: flights and penguins, with the DAGs' eval_configs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flight_models
import pytest
from evaluations import evaluate
from flights import data
from flights.evaluation import EVAL_CONFIG

from airflow_provider_mlpipe.artifacts import Examples, Model, Schema

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning:keras"),
]

EVERY = 168  # flights of every month: 2,000 of them
TFMA_BATCH = 1_000
"""So many rows the executor's TFMA pipeline predicts at once. A network's last digit depends on it, so both take it."""


def assert_equal(folder: Path, config: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """Evaluate locally, on Beam and by TFMA; returns the local summary."""
    local = evaluate(folder / "local", config, batch_rows=TFMA_BATCH, **given)
    on_beam = evaluate(folder / "beam", config, batch_rows=TFMA_BATCH, beam=("--runner=DirectRunner",), **given)
    assert (local.fell_back, on_beam.fell_back) == (None, None)
    assert not local.differences(evaluate(folder / "tfma", config, by_tfma=True, **given))
    assert not local.differences(on_beam)
    summary: dict[str, Any] = local.summary
    return summary


def test_penguins(
    penguin_examples: Examples,
    penguin_schema: Schema,
    penguin_model: Model,
    shuffled_labels_model: Model,
    tmp_path: Path,
) -> None:
    accuracy = {
        "class_name": "SparseCategoricalAccuracy",
        "threshold": {
            "value_threshold": {"lower_bound": 0.8},
            "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": 0.0},
        },
    }
    config = {
        "model_specs": [{"label_key": "species_xf", "preprocessing_function_names": ["transform_features"]}],
        "metrics_specs": [
            {"metrics": [{"class_name": "ExampleCount"}, accuracy, {"class_name": "MultiClassConfusionMatrixPlot"}]},
            {"metrics": [{"class_name": "AUC"}], "binarize": {"class_ids": {"values": [0, 1, 2]}}},
        ],
        "slicing_specs": [{}, {"feature_keys": ["island"]}, {"feature_keys": ["island_xf"]}],
    }
    summary = assert_equal(
        tmp_path,
        config,
        examples=penguin_examples,
        schema=penguin_schema,
        model=penguin_model,
        baseline_model=shuffled_labels_model,
    )
    assert summary["blessed"]
    assert {"Overall", "island=Dream", "island_xf=0"} <= {one["slice"] for one in summary["slices"]}


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Examples, schema and a hardly trained model of some flights; TFMA's baselines are the penguins' matter."""
    folder = tmp_path_factory.mktemp("flights")
    some = flight_models.write(folder / "some", itertools.islice(data.joined_flights(), 0, None, EVERY))
    made = flight_models.make(folder, some, {"train": 1, "eval": 1}, {"model": 30})
    return {"examples": made.examples, "schema": made.schema, **made.models}


def test_flights(flights: dict[str, Any], tmp_path: Path) -> None:
    summary = assert_equal(tmp_path, EVAL_CONFIG, **flights)
    assert summary["counts"]["slices"] > 10
