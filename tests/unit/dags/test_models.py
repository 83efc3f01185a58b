"""The model of the flights, through every executor. That of the penguins is in `tests/acceptance/test_penguins.py`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import flight_models
import pytest

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning:tensorflow_model_analysis"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning:tensorflow_model_analysis"),
]

SAMPLE = 12  # every twelfth flight


@pytest.fixture(scope="module")
def flights(flight_data: ModuleType) -> list[dict[str, str]]:
    return list(itertools.islice(flight_data.joined_flights(), 0, None, SAMPLE))


def _summary(outputs: dict[str, Any]) -> dict[str, Any]:
    return json.loads(Path(outputs["Evaluator"]["evaluation"].uri, "summary.json").read_text())


def _metrics(outputs: dict[str, Any], slice_name: str = "Overall") -> dict[str, float]:
    return next(one["metrics"] for one in _summary(outputs)["slices"] if one["slice"] == slice_name)


def test_a_flight_model_of_a_sample_beats_the_table_of_rates(
    load: Callable[[str], ModuleType],
    run_executors: Callable[..., Any],
    flights: list[dict[str, str]],
    tmp_path: Path,
) -> None:
    data_dir = flight_models.write(tmp_path / "data", flights)
    outputs = run_executors(
        load("flight_delays").dag, data_dir=data_dir, push_dir=str(tmp_path / "push"), train_steps=200
    )

    assert sum(outputs["CsvExampleGen"]["examples"].properties["record_counts"].values()) == len(flights)
    assert outputs["ExampleValidator"]["anomalies"].properties["blessed"] == {"train": 1, "eval": 1}
    metrics = _metrics(outputs)
    assert metrics["auc"] > 0.69
    assert metrics["example_count"] == outputs["CsvExampleGen"]["examples"].properties["record_counts"]["eval"]
    assert metrics["weighted_example_count"] < metrics["example_count"]
    assert {"origin=JFK", "carrier=UA"} <= {one["slice"] for one in _summary(outputs)["slices"]}
