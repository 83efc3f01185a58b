"""docs/data_checks.md: its examples run, and find what they look for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("tensorflow")
from pages import text_of
from taken import call_with_one

from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES, Artifact
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.pipeline.component import ComponentOperator

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

PAGE = text_of("docs/data_checks.md")
SQL, DRIFT, CURATED = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(LOG,) = re.findall(r"^```text\n(from the .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(SCHEMA,) = re.findall(r"^```text\n(feature .*?)^```", PAGE, re.MULTILINE | re.DOTALL)


class Runs:
    """Runs operators with what is above them, each once. `before` is what they published in the run before."""

    def __init__(
        self,
        empty: Callable[..., Any],
        context: Callable[[], ExecutorContext],
        before: Mapping[str, Mapping[str, Artifact]] | None = None,
    ) -> None:
        self.empty, self.context, self.before = empty, context, before or {}
        self.done: dict[str, Mapping[str, Artifact]] = {}

    def __call__(self, operator: ComponentOperator) -> Mapping[str, Artifact]:
        if operator.task_id not in self.done:
            channels = operator.input_channels()
            above: dict[str, Any] = {}
            for name, channel in channels.items():
                found = self(cast(ComponentOperator, channel.producer))
                if channel.is_previous:
                    found = self.before.get(channel.producer.task_id, {})
                above[name] = found.get(channel.key)
            given = {name: getattr(operator, name) for name in operator.SPEC.parameters}
            outputs = {key: self.empty(ARTIFACT_TYPES[kind]) for key, kind in operator.SPEC.outputs.items()}
            module, _, function = operator.EXECUTOR.partition(":")
            run = getattr(import_module(module), function)
            produced = call_with_one(
                run, **dict.fromkeys(operator.SPEC.inputs) | above, **given, **outputs, context=self.context()
            )
            self.done[operator.task_id] = {
                key: replace(output, **asdict(produced.get(key, Produced()))) for key, output in outputs.items()
            }
        return self.done[operator.task_id]


@pytest.fixture
def run(empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> Runs:
    return Runs(empty, context)


def operators(block: str, data: Path) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(block.replace("/data/", f"{data}/"), names)
    return names


def test_the_sql_checks(run: Runs, tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    rows = [f"{customer},{customer % 7}" for customer in range(100)]
    (tmp_path / "orders" / "a.csv").write_text("\n".join(["customer,amount", *rows]) + "\n")
    validator = operators(SQL, tmp_path)["validator"]
    found = run(validator)["anomalies"]
    report = json.loads(Path(found.uri, "Split-train", "sql_checks.json").read_text())
    counts = {check["name"]: check["offending_rows"] for check in report["checks"]}
    assert counts["amounts are positive"] > 5
    assert (counts["a customer is in one split"], counts["cells are filled"]) == (0, 0)
    with pytest.raises(AnomaliesFoundError, match=r"SQL check amounts are positive: ERROR: Offending rows: .*first 10"):
        validator.check_gate({"anomalies": [found]})


def test_drift_and_skew(empty: Callable[..., Any], context: Callable[[], ExecutorContext], tmp_path: Path) -> None:
    """Of two runs; the second one's amounts are others, and so are the plans of what is served."""
    (tmp_path / "orders.pbtxt").write_text(SCHEMA)
    run = Runs(empty, context)
    found = []
    for add, plans in ((0, "ab"), (100, "abc")):
        for folder, names in (("orders", "ab"), ("served", plans)):
            (tmp_path / folder).mkdir(exist_ok=True)
            lines = [f"{place % 10 + add}.5,{names[place % len(names)]}" for place in range(600)]
            (tmp_path / folder / "a.csv").write_text("\n".join(["amount,plan", *lines]) + "\n")
        run = Runs(empty, context, before=run.done)
        found.append(run(operators(DRIFT, tmp_path)["validator"])["anomalies"])
    first, second = (artifact.custom_properties for artifact in found)
    assert {split: list(anomalies) for split, anomalies in first["anomalies"].items()} == {"train": [], "eval": []}
    assert first["not_compared"]["train"] == [
        "drift_comparator of amount, plan, the whole split: there are no previous_statistics"
    ]
    assert {split: list(anomalies) for split, anomalies in second["anomalies"].items()} == {
        "train": ["amount", "plan"],
        "eval": ["amount", "plan"],
    }
    assert "not_compared" not in second


def test_the_difference_from_a_schema_that_is_kept(run: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "orders.pbtxt").write_text(SCHEMA)
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "a.csv").write_text("amount,plan\n" + "1.5,basic\n2.5,premium\n" * 50)
    inferred = operators(CURATED, tmp_path)["inferred"]
    caplog.set_level("INFO", logger="airflow_provider_mlpipe")  # libraries that are imported change the root's
    run(inferred)
    assert LOG.strip() in "\n".join(caplog.messages)
