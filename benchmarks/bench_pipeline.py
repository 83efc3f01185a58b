"""The flight pipeline on all 336,776 rows through Airflow's scheduler, cold and fully cached, per component.

Seconds are the task's, as Airflow counts them: for a component that ran, with starting its executor's process. Then
what the same takes without Airflow, done as TFX does it, each component in a process of its own, with its imports.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measured import measure
from tables import table

from airflow_provider_mlpipe.local.airflow import LocalAirflow

HERE = Path(__file__).parent
DAGS = HERE.parent / "dags"
DAG_ID = "flight_delays"


def figures() -> list[tuple[str, str, str]]:
    """Per task its seconds in a first and in a second run."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # Postgres' user must get through
        with LocalAirflow(root / "state", DAGS, port=0, environment={"MLPIPE_HOME": str(root)}) as airflow:
            cold, cached = run(airflow), run(airflow)
    return [(name, seconds, cached[name]) for name, seconds in cold.items()]


def stock() -> Iterator[tuple[str, float]]:
    """Seconds of each component that has much to do; what the next one reads is made by this package."""
    import bench_evaluator

    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        made, out = Path(folder, "made"), Path(folder, "out")
        out.mkdir()
        bench_evaluator.make(made)
        (made / "transformed" / "graph").symlink_to(made / "graph")
        for split in ("train", "eval"):
            shutil.rmtree(made / "transformed" / f"Arrow-{split}")
        for name, script, *arguments in (
            ("CsvExampleGen", "bench_example_gen", "stock", made / "csv", out / "examples"),
            ("StatisticsGen", "bench_statistics_gen", "stock", made / "examples", out / "statistics"),
            ("Transform", "bench_transform", "stock", made / "examples", out / "transform"),
            ("Trainer", "bench_trainer", "train", made / "transformed", out / "trainer"),
            ("Evaluator", "bench_evaluator", made, "tfma", "eval", out / "evaluator", "alone"),
        ):
            yield name, measure(str(HERE / f"{script}.py"), *arguments).whole


def run(airflow: LocalAirflow) -> dict[str, str]:
    """Triggers the DAG and waits; the seconds of each task that ran, how many did, and of the whole run."""
    began = time.perf_counter()
    run_id = airflow.trigger(DAG_ID)
    state = airflow.wait(DAG_ID, run_id, timeout=3600)
    whole = time.perf_counter() - began
    assert state == "success", state
    tasks = airflow.task_instances(DAG_ID, run_id)
    taken = {task.task_id: "skipped" if task.state == "skipped" else f"{task.seconds:.1f}" for task in tasks}
    ran = sum(task.state == "success" for task in tasks)
    return taken | {"tasks that ran": str(ran), "the whole run, from trigger to success": f"{whole:.1f}"}


if __name__ == "__main__":
    print(table(("seconds", "cold", "again, cached"), figures()))
    taken = dict(stock())
    rows = [(name, f"{seconds:.1f}") for name, seconds in (taken | {"all": sum(taken.values())}).items()]
    print("\n" + table(("as TFX does it, seconds", "with imports"), rows))
