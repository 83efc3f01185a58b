"""How long after its launch an executor can begin, with all of its imports: a fresh process, or the warm parent's fork.

Then the same in a run of the penguins through Airflow's scheduler, after the start of each task.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tables import table

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.execution import warm
from airflow_provider_mlpipe.execution.launcher import Launcher
from airflow_provider_mlpipe.execution.warm import WarmParent
from airflow_provider_mlpipe.forms import to_messages
from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import to_map

DAGS = Path(__file__).parent.parent / "dags"
COMPONENTS = ("statistics_gen", "transform", "trainer", "evaluator")
TASKS = ("StatisticsGen", "SchemaGen", "ExampleValidator", "Transform", "Trainer", "Evaluator")
STEPS = {
    "driver.fingerprint": "inputs are resolved",
    "driver.before_start": "the store knows no such result",
    "launcher.start": "the execution is claimed",
}
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
            outputs={"said": to_messages([Model(uri=folder)])},
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


def in_airflow(idle_seconds: int) -> dict[str, list[float]]:
    """By task, the seconds from its start, as Airflow counts, to each of STEPS."""
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
        reached = {path.name.partition("@")[0]: [] for path in barriers.iterdir()}
        for path in barriers.iterdir():
            reached[path.name.partition("@")[0]].append(path.stat().st_mtime)
    return {task: _steps(reached, task, tasks[task].started.timestamp()) for task in TASKS}


def _steps(reached: dict[str, list[float]], task: str, started: float) -> list[float]:
    (end,) = reached[f"{task}.executor.before"]
    last = [max(when for when in reached[step] if when <= end) for step in STEPS]
    return [when - started for when in (*last, end)]


def runs() -> Iterator[str]:
    fresh, forked = in_airflow(0), in_airflow(900)
    rows = [(task, fresh[task][-1], forked[task][-1]) for task in TASKS]
    yield table(
        ("in a first run of the penguins, after the task's start", "fresh process", "warm parent", "ratio"),
        [(task, f"{one:.2f}", f"{other:.2f}", f"{one / other:.0f}") for task, one, other in rows],
    )
    yield table(
        ("with the warm parent, after the task's start", *STEPS.values(), "the executor begins"),
        [(task, *(f"{seconds:.2f}" for seconds in forked[task])) for task in TASKS],
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, ready_parent(Path(name, "warm")) as (parent, what_it_takes):
        rows = [*(alone(component, parent) for component in COMPONENTS), at_once(parent)]
    print(what_it_takes, "\n")
    print(table(("seconds until the executor can begin", "fresh process", "warm parent", "ratio"), rows), "\n")
    print("\n\n".join(runs()))
