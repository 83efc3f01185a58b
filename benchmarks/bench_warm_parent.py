"""How long after its launch an executor can begin, with all of its imports: a fresh process, or the warm parent's fork.

Then the same in a run of the penguins through Airflow's scheduler, after the start of each task.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tables import table

from airflow_provider_mlpipe import warm
from airflow_provider_mlpipe.launcher import Launcher
from airflow_provider_mlpipe.local_airflow import LocalAirflow
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import to_map
from airflow_provider_mlpipe.warm import WarmParent

DAGS = Path(__file__).parent.parent / "dags"
COMPONENTS = ("statistics_gen", "transform", "trainer", "evaluator")
TASKS = ("StatisticsGen", "SchemaGen", "ExampleValidator", "Transform", "Trainer", "Evaluator")
FRESH, FORKED = 3, 9
AT_ONCE = 10


def seconds_to_begin(component: str, parent: WarmParent | None) -> float:
    """From the launch to where the executor's module is imported."""
    log: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        invocation = pb.ExecutorInvocation(
            executor="started:run",
            component_id=component,
            execution_id=1,
            parameters=to_map({"module": f"airflow_provider_mlpipe.components.{component}.executor"}),
            outputs={"said": pb.Artifact(type="Model", uri=folder)},
        )
        launched = time.time()
        Launcher().launch(invocation, log=log.append, warm=parent)
        assert parent is None or not any("fresh process" in line for line in log), log
        return float(Path(folder, "began").read_text()) - launched


def alone(component: str, parent: WarmParent) -> tuple[str, ...]:
    fresh = statistics.median(seconds_to_begin(component, None) for _ in range(FRESH))
    forked = statistics.median(seconds_to_begin(component, parent) for _ in range(FORKED))
    return component, f"{fresh:.2f}", f"{forked:.2f}", f"{fresh / forked:.0f}"


def at_once(parent: WarmParent) -> tuple[str, ...]:
    """The last of them."""

    def last(using: WarmParent | None) -> float:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return max(pool.map(seconds_to_begin, ["evaluator"] * AT_ONCE, [using] * AT_ONCE))

    fresh, forked = last(None), last(parent)
    return f"evaluator, the last of {AT_ONCE} at once", f"{fresh:.2f}", f"{forked:.2f}", f"{fresh / forked:.0f}"


@contextlib.contextmanager
def ready_parent(folder: Path) -> Iterator[tuple[WarmParent, str]]:
    """A parent, and what it takes."""
    parent = WarmParent(home="benchmark", idle_seconds=600, folder=folder)
    began = time.monotonic()
    parent.start()
    try:
        while not [state for state in warm.parents(parent.home, folder) if state.state == "ready"]:
            time.sleep(0.05)
        ready = time.monotonic() - began
        (state,) = warm.parents(parent.home, folder)
        memory = int(Path(f"/proc/{state.pid}/status").read_text().partition("VmRSS:")[2].split()[0]) >> 10
        yield parent, f"The parent is ready after {ready:.1f} s and takes {memory} MiB."
    finally:
        warm.stop(parent.home, folder)


def in_airflow(idle_seconds: int) -> dict[str, float]:
    """By task, the seconds from its start, as Airflow counts, to where its executor's module is imported."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as name:
        root = Path(name)
        root.chmod(0o755)  # Postgres' user must get through
        barriers = root / "barriers"
        barriers.mkdir()
        environment = {
            "MLPIPE_HOME": name,
            "MLPIPE_BARRIERS": str(barriers),
            "TMPDIR": name,
            "AIRFLOW__MLPIPE__WARM_PARENT_IDLE_SECONDS": str(idle_seconds),
        }
        with LocalAirflow(root / "state", DAGS, port=0, environment=environment) as airflow:
            run_id = airflow.trigger("penguins")
            assert airflow.wait("penguins", run_id, timeout=1800) == "success"
            tasks = {task.task_id: task for task in airflow.task_instances("penguins", run_id)}
        reached = {task: next(barriers.glob(f"{task}.executor.before@*")).stat().st_mtime for task in TASKS}
    started = {name: task.started for name, task in tasks.items()}
    return {task: reached[task] - started[task].timestamp() for task in TASKS if started[task] is not None}


def runs() -> Sequence[tuple[str, ...]]:
    fresh, forked = in_airflow(0), in_airflow(900)
    return [(task, f"{fresh[task]:.2f}", f"{forked[task]:.2f}", f"{fresh[task] / forked[task]:.0f}") for task in TASKS]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, ready_parent(Path(name, "warm")) as (parent, what_it_takes):
        rows = [*(alone(component, parent) for component in COMPONENTS), at_once(parent)]
    print(what_it_takes, "\n")
    print(table(("seconds until the executor can begin", "fresh process", "warm parent", "ratio"), rows), "\n")
    print(
        table(
            ("in a first run of the penguins, after the task's start", "fresh process", "warm parent", "ratio"), runs()
        )
    )
