"""The flight pipeline on all 336,776 rows through Airflow's scheduler, cold and fully cached, per component.

Seconds are the task's, as Airflow counts them: for a component that ran, with starting its executor's process.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tables import table

from airflow_provider_mlpipe.local_airflow import LocalAirflow

DAGS = Path(__file__).parent.parent / "dags"
DAG_ID = "flight_delays"


def figures() -> list[tuple[str, str, str]]:
    """Per task its seconds in a first and in a second run."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # Postgres' user must get through
        with LocalAirflow(root / "state", DAGS, port=0, environment={"MLPIPE_HOME": str(root)}) as airflow:
            cold, cached = run(airflow), run(airflow)
    return [(name, seconds, cached[name]) for name, seconds in cold.items()]


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
