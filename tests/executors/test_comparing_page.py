"""docs/comparing_data.md: its pipelines run, and what it says of them is so."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from little_airflow import LittleAirflow
from pages import files_of, text_of
from planned import parsed

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError
from airflow_provider_mlpipe.execution import warm
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.settings import airflow_home

pytestmark = pytest.mark.heavy

PAGE = "docs/comparing_data.md"
(TABLE,) = re.findall(r"\| key \| what \|\n(.*?)\n\n", text_of(PAGE), re.DOTALL)
SUMMARY_KEYS = "\n".join(line.split("|")[1] for line in TABLE.splitlines())


def orders(seed: int, *, price: float = 100, cities: str = "ABC") -> str:
    drawn = random.Random(seed)
    lines = [f"{number},{drawn.gauss(price, 9):.2f},{drawn.choice(cities)}" for number in range(600)]
    return "\n".join(["order,price,city", *lines])


class World:
    """A folder for what the page has in `/data` and `dags/`, and an Airflow with a store of its own."""

    def __init__(self, folder: Path, store: MetadataStore) -> None:
        self.data, self.dags = folder / "data", folder / "dags"
        self.dags.mkdir()
        self.store = store
        self.airflow = LittleAirflow(store)
        for name, text in files_of(PAGE).items():
            (self.dags / name).write_text(text.replace("/data", str(self.data)))

    def write(self, place: str, text: str) -> None:
        path = self.data / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, dag_id: str, run_id: str) -> dict[str, str]:
        """The tasks of a run that did not succeed, with their states; the plan skips those of hits."""
        self.airflow.trigger(parsed(self.dags / f"{dag_id}.py"), run_id)
        states = self.airflow.runs[run_id].states
        return {task_id: str(state) for task_id, state in states.items() if state not in ("success", "skipped")}

    def newest(self, artifact_type: str, dag_id: str) -> Artifact:
        return self.store.latest_artifacts(artifact_type, pipeline=dag_id)[0]


@pytest.fixture
def world(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    store = MetadataStore(database)
    monkeypatch.setenv("AIRFLOW__MLPIPE__PIPELINE_ROOT", str(tmp_path / "root"))
    yield World(tmp_path, store)
    warm.stop(airflow_home())
    store.close()


def test_a_drift_stops_the_run(world: World) -> None:
    world.write("orders/a.csv", orders(1))
    assert world.run("drift", "first") == {}
    first = world.newest("ExampleAnomalies", "drift")
    assert first.properties["blessed"] == {"train_train": 2, "eval_eval": 2}

    world.write("orders/a.csv", orders(2))
    assert world.run("drift", "alike") == {}
    assert world.newest("ExampleAnomalies", "drift").properties["blessed"] == {"train_train": 1, "eval_eval": 1}

    world.write("orders/a.csv", orders(3, price=130, cities="AAB"))
    assert world.run("drift", "drifted") == {"DistributionValidator": "failed"}
    found = world.newest("ExampleAnomalies", "drift")
    assert found.properties["blessed"] == {"train_train": 0, "eval_eval": 0}
    assert sorted(found.custom_properties["anomalies"]["train_train"]) == ["city", "price"]
    error = world.airflow.runs["drifted"].errors["DistributionValidator"]
    assert isinstance(error.__cause__, AnomaliesFoundError)
    assert "split pair train_train, price: ERROR: High approximate Jensen-Shannon divergence" in str(error)

    assert world.run("drift", "again") == {}
    assert world.newest("ExampleAnomalies", "drift").properties["blessed"] == {"train_train": 2, "eval_eval": 2}


def test_serving_skew_stops_the_run(world: World) -> None:
    rows = orders(1).splitlines()
    world.write("orders/a.csv", "\n".join(rows))
    logged = [f"{row},{'logged_at' if number == 0 else 1700000000 + number}" for number, row in enumerate(rows)]
    world.write("serving_log/a.csv", "\n".join(logged[:500]))
    assert world.run("serving_skew", "alike") == {}
    found = world.newest("ExamplesDiff", "serving_skew")
    assert found.properties["pair_counts"] == {"all_all": 499}
    assert found.properties["differing_counts"] == {"all_all": 0}

    wrong = [line.replace(",A,", ",a,") for line in logged]
    world.write("serving_log/a.csv", "\n".join(wrong))
    assert world.run("serving_skew", "skewed") == {"ExampleDiff": "failed"}
    count = sum(row.endswith(",A") for row in rows)
    assert f"split pair all_all: {count} of 600 pairs differ" in str(world.airflow.runs["skewed"].errors["ExampleDiff"])
    found = world.newest("ExamplesDiff", "serving_skew")
    summary = json.loads(Path(found.uri, "summary.json").read_text())["split_pairs"]["all_all"]
    assert set(summary) == set(re.findall(r"`(\w+)`", SUMMARY_KEYS))
    assert ["A", "a", count] in summary["confusion"]["city"]
    assert len(summary["sample_pairs"]) == 20
    assert summary["sample_pairs"][0]["differences"] == {"city": {"base": ["A"], "test": ["a"]}}
    for counts in summary["features"].values():
        assert sum(counts[name] for name in ("match_count", "mismatch_count", "base_only", "test_only")) == 600
