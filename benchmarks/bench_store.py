"""Publications and cache look-ups per second in a store that holds 10,000 executions, by 1 and by 4 processes.

A publication is what a miss costs in the store: start an execution, publish it with an output. A look-up is what a hit
is found by. The store is an embedded Postgres with its default, durable settings.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tables import table

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.embedded import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore

EARLIER = 10_000
SECONDS = 5.0
PARTS = {f"part {number}": f"value {number}" for number in range(30)}
FILL_PROCESSES = 4


def start(number: int, worker: int = 0) -> ExecutionStart:
    """An execution like a real one: thirty fingerprint parts, a hundred nodes, many runs."""
    return ExecutionStart(
        component_type="Trainer",
        pipeline=f"pipeline {number % 10}",
        run_id=f"run {worker} {number // 10}",
        component_id=f"component {number % 10}",
        fingerprint=f"{worker}-{number}",
        fingerprint_parts=PARTS,
        inputs={},
        properties={"steps": number},
        triggered_by="benchmark",
        environment={"host": "here"},
    )


def publish(store: MetadataStore, number: int, worker: int) -> None:
    """One execution from start to COMPLETE."""
    claim = store.start_execution(start(number, worker))
    store.publish(claim, {"model": [Model(uri=f"/root/{worker}/{number}", digest=f"digest {number}")]})


def look_up(store: MetadataStore, number: int, worker: int) -> None:
    """One hit among the earlier executions."""
    fill_worker = number % FILL_PROCESSES
    assert store.find_cached(f"{fill_worker}-{number * 7919 % (EARLIER // FILL_PROCESSES)}") is not None


def fill(dsn: str, worker: int) -> None:
    """This worker's share of the earlier executions."""
    store = MetadataStore(dsn)
    for number in range(EARLIER // FILL_PROCESSES):
        publish(store, number, worker)


def repeat(dsn: str, operation: Callable[[MetadataStore, int, int], None], worker: int) -> list[float]:
    """The seconds that each operation took, for about SECONDS."""
    store = MetadataStore(dsn)
    operation(store, 0, worker)  # connects
    taken: list[float] = []
    number, end = 1, time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < end:
        operation(store, number, worker)
        taken.append(time.perf_counter() - began)
        number += 1
    return taken


def figures() -> list[tuple[str, str, str, str, str]]:
    """Per operation and number of processes: per second, and the p50 and p99 in ms."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder)) as server, _pool() as pool:
            dsn = server.create_database("bench")
            upgrade(dsn)
            list(pool.map(fill, [dsn] * FILL_PROCESSES, range(FILL_PROCESSES)))
            for name, operation in (("publish", publish), ("cache look-up", look_up)):
                for processes in (1, 4):
                    workers = range(100 * processes, 101 * processes)
                    taken = [
                        t for ts in pool.map(repeat, [dsn] * processes, [operation] * processes, workers) for t in ts
                    ]
                    rows.append((name, str(processes), f"{len(taken) / SECONDS:,.0f}", *_percentiles(taken)))
    return rows


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(FILL_PROCESSES, mp_context=multiprocessing.get_context("spawn"))


def _percentiles(seconds: list[float]) -> tuple[str, str]:
    return f"{statistics.median(seconds) * 1e3:.1f} ms", f"{statistics.quantiles(seconds, n=100)[98] * 1e3:.1f} ms"


if __name__ == "__main__":
    print(table((f"at {EARLIER:,} executions", "processes", "per second", "p50", "p99"), figures()))
