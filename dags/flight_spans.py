"""A model that learns from each day's flights as the day arrives.

The flights of 2013 come by day, as Parquet files. `flight_arrivals` announces each new day, and `flight_spans` has a
run for it: it reads the day, compares it with the day before, analyzes the window of the last 28 days, and trains
further from the last blessed model. Champion and challenger are judged on the newest day, and the challenger is pushed
only if it is not worse. Of the 28 days only the new one is read, described and analyzed; the others are cache hits.

A run of `flight_spans` that you start by hand works on the newest day. `flight_spans_play` lets more days arrive. To
backfill, use `flight_spans_backfill`, which has the same components and a run for each date.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, CronPartitionTimetable, Param, PartitionedAssetTimetable, task
from flights import days
from flights.evaluation import by_day_config

from airflow_provider_mlpipe import (
    AnnounceSpansOperator,
    DistributionValidatorOperator,
    EvaluatorOperator,
    ExampleValidatorOperator,
    ImportSchemaGenOperator,
    NewSpanTrigger,
    ParquetExampleGenOperator,
    PusherOperator,
    ResolverOperator,
    RunSpan,
    StatisticsGenOperator,
    TrainerOperator,
    TransformOperator,
    create_dag,
    default_pipeline_root,
)

CODE = Path(__file__).parent / "flights"
MODEL = str(CODE / "model.py")
HOME = Path(os.environ.get("MLPIPE_HOME") or default_pipeline_root())
DATA = str(HOME / "data" / "flight_days")
WINDOW = int(os.environ.get("FLIGHT_SPANS_WINDOW", "28"))
STEPS = int(os.environ.get("FLIGHT_SPANS_STEPS", "300"))
POLL_SECONDS = float(os.environ.get("FLIGHT_SPANS_POLL_SECONDS", "10"))

DRIFT = {
    "default_slice_config": {
        "feature": [
            {
                "path": {"step": [name]},
                "distribution_comparator": {"jensen_shannon_divergence": {"threshold": 0.3}},
            }
            for name in ("distance", "sched_dep_time", "carrier", "origin")
        ],
        "num_examples_comparator": {"min_fraction_threshold": 0.4, "max_fraction_threshold": 2.5},
    }
}

ARRIVALS: dict[str, Any] = {
    "input_base": DATA,
    "pattern": days.PATTERN,
    "start_span": days.day(WINDOW),  # the days of the first window need no runs of their own
}
trigger = NewSpanTrigger(asset="flight_days", poll_seconds=POLL_SECONDS, **ARRIVALS)
files = Asset("flight_files", watchers=[AssetWatcher(name="flight_files", trigger=trigger)])
flight_days = Asset("flight_days")

with DAG(
    "flight_arrivals", schedule=[files], max_active_runs=1, tags=["mlpipe", "example"], doc_md=__doc__
) as arrivals:
    AnnounceSpansOperator(task_id="announce", asset=flight_days, retries=3, **ARRIVALS)


@task
def prepare_data() -> None:
    """Writes the days of the first window, unless there are days already."""
    there = Path(DATA).is_dir() and any(Path(DATA).iterdir())
    print(f"Wrote {0 if there else days.arrive(DATA, [days.day(number) for number in range(WINDOW)])} days to {DATA}")


@task
def next_days(params: dict[str, Any] | None = None) -> None:
    """Lets the next days arrive, one after the other."""
    count = len([folder for folder in Path(DATA).iterdir() if not folder.name.startswith(".")])
    for number in range(count, count + int((params or {}).get("days", 5))):
        days.arrive(DATA, [days.day(number)])
        print(f"{days.day(number)} arrived")


def components() -> list[Any]:
    """The components of one pipeline; a DAG has operators of its own."""
    example_gen = ParquetExampleGenOperator(
        input_base=DATA,
        input_config={"splits": [{"name": "flights", "pattern": days.PATTERN}]},
        span=RunSpan(),
        range_config={"rolling_range": {"num_spans": WINDOW}},
    )
    examples = example_gen.outputs["examples"]

    statistics_gen = StatisticsGenOperator(examples=examples)
    statistics = statistics_gen.outputs["statistics"]
    schema_gen = ImportSchemaGenOperator(schema_file=str(CODE / "schema.pbtxt"))
    schema = schema_gen.outputs["schema"]
    example_validator = ExampleValidatorOperator(
        statistics=statistics, schema=schema, environment="TRAINING", fail_on="ERROR"
    )
    day_before = DistributionValidatorOperator(
        task_id="DayBefore",
        statistics=statistics.newest(),
        baseline_statistics=statistics.previous(),
        config=DRIFT,
        fail_on="ERROR",
    )

    states = ResolverOperator(task_id="States", strategy="LatestArtifact", artifact_type="TransformCache")
    transform = TransformOperator(
        examples=examples,
        schema=schema,
        analyzer_cache=states.outputs["result"],
        module_file=MODEL,
        disable_statistics=True,
    )

    champion = ResolverOperator(task_id="Champion", strategy="LatestBlessedModel", before=examples)
    trainer = TrainerOperator(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        base_model=champion.outputs["model"],
        module_file=MODEL,
        train_args={"num_steps": STEPS},
    )
    evaluator = EvaluatorOperator(
        examples=examples.newest(),
        model=trainer.outputs["model"],
        baseline_model=champion.outputs["model"],
        schema=schema,
        eval_config=by_day_config(),
    )
    pusher = PusherOperator(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination={"filesystem": {"base_directory": str(HOME / "serving" / "flight_spans")}},
    )
    return [
        example_gen,
        statistics_gen,
        schema_gen,
        example_validator,
        day_before,
        states,
        transform,
        champion,
        trainer,
        evaluator,
        pusher,
    ]


SETTINGS: dict[str, Any] = {
    "pipeline_root": str(HOME / "pipelines" / "flight_spans"),
    "max_active_runs": 1,  # one day after the other
    "doc_md": __doc__,
    "tags": ["mlpipe", "example"],
}

dag = create_dag("flight_spans", components(), schedule=PartitionedAssetTimetable(assets=flight_days), **SETTINGS)
backfill = create_dag(
    "flight_spans_backfill",
    components(),
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d"),
    start_date=datetime(2013, 1, 1),
    end_date=datetime(2013, 12, 31),
    catchup=False,
    **SETTINGS,
)
with dag:
    prepare_data() >> dag.get_task("plan")

with DAG("flight_spans_play", schedule=None, params={"days": Param(5, type="integer", minimum=1)}, tags=["mlpipe"]):
    next_days()
