from __future__ import annotations

import json
from pathlib import Path

from airflow_provider_mlpipe.local.progress import Step, in_order
from airflow_provider_mlpipe.local.report import _metrics


def test_a_table_of_metrics_is_as_wide_as_its_headings_and_its_cells(tmp_path: Path) -> None:
    slices = [
        {"slice": "Overall", "metrics": {"weighted_example_count_of_all": 336776.0, "auc": 0.5}},
        {"slice": "origin=EWR, carrier=UA", "metrics": {"auc": 0.25}},
    ]
    (tmp_path / "summary.json").write_text(json.dumps({"slices": slices, "blessed": True, "reason": "better"}))
    assert list(_metrics(tmp_path))[1:] == [
        "                        weighted_example_count_of_all     auc",
        "Overall                                       336,776  0.5000",
        "origin=EWR, carrier=UA                              -  0.2500",
        "Blessed: better",
    ]


def test_a_line_of_progress_has_room_for_the_longest_component() -> None:
    step = Step(component="Trainer", state="done", how="run", seconds=1.25, produced="a model")
    assert step.line(30) == f"  {'Trainer':<30} done      run         1.2 s  a model"


def test_steps_are_shown_as_the_pipeline_has_them() -> None:
    steps = [Step(component=name, state="waiting") for name in ("Evaluator", "gone", "ExampleGen", "Trainer")]
    shown = in_order(steps, ["plan", "ExampleGen", "Trainer", "Evaluator"])
    assert [step.component for step in shown] == ["ExampleGen", "Trainer", "Evaluator", "gone"]
