"""The flight pipeline on all 336,776 rows through Airflow's scheduler, cold and fully cached, per component.

Seconds are the task's, as Airflow counts them: for a component that ran, with starting its executor's process.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tables import table

from airflow_provider_mlpipe.local_airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.store import MetadataStore

DAGS = Path(__file__).parent.parent / "dags"
DAG_ID = "flight_delays"


def figures() -> list[tuple[str, str, str]]:
    """Per component the seconds of a first and of a second run, and whether the second was cached."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # Postgres' user must get through
        with LocalAirflow(root / "state", DAGS, port=0, environment={"MLPIPE_HOME": str(root)}) as airflow:
            cold, cached = run(airflow), run(airflow)
    return [(name, seconds, cached[name]) for name, seconds in cold.items()]


def run(airflow: LocalAirflow) -> dict[str, str]:
    """Triggers the DAG and waits; the seconds of each task, then of the whole run from its trigger."""
    began = time.perf_counter()
    run_id = airflow.trigger(DAG_ID)
    state = airflow.wait(DAG_ID, run_id, timeout=3600)
    whole = time.perf_counter() - began
    assert state == "success", state
    executions = MetadataStore(airflow.mlpipe_dsn).executions(pipeline=DAG_ID, run_id=run_id).items
    how = {execution.component_id: execution.state.value.lower() for execution in executions}
    taken = {
        task.task_id: f"{task.seconds:.1f} s ({how.get(task.task_id, 'plain task')})"
        for task in airflow.task_instances(DAG_ID, run_id)
    }
    return taken | {"the whole run, from trigger to success": f"{whole:.1f} s"}


if __name__ == "__main__":
    print(table(("component", "cold", "again"), figures()))
