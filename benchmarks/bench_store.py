"""What the store's operations take as it grows, how many processes share it, and 160 publications that race.

The store is an embedded Postgres with its default, durable settings. A publication is what a miss costs in the store:
start an execution, publish it with one output. A hit is looked up, then published.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/parts"))

import ten_components
from airflow.sdk import DAG
from earlier_executions import TYPES, execution_start, fill, fingerprint, output, pipeline
from named_runs import named_run
from psycopg2.extensions import connection as RawConnection
from psycopg2.sql import Composable
from tables import table

from airflow_provider_mlpipe.artifacts import Artifact, PropertyType
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.connection import Connection, Row
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.metadata.store import ExecutionStart, ExecutionState, MetadataStore

SIZES = (100, 10_000, 100_000)
REPETITIONS = 400
PLANS = 50
UNMEASURED = 20

SHARED_SIZE = 10_000
PROCESSES = (1, 4, 16)
SECONDS = 5.0

RACERS = 16
ROUNDS = 10

HOPS = 20
LISTED = 10
PATIENCE = 120.0

T = TypeVar("T")


class CountingConnection(Connection):
    """Counts what it sends: BEGIN, COMMIT, and what is sent once more, too."""

    statements = 0

    def _send(
        self,
        raw: RawConnection,
        statement: str | Composable,
        parameters: Mapping[str, Any] | None,
        *,
        guarded: bool = True,
    ) -> list[Row]:
        self.statements += 1
        return super()._send(raw, statement, parameters, guarded=guarded)


class CountingStore(MetadataStore):
    """Says how many statements it has sent."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._connection: CountingConnection = CountingConnection(dsn)

    @property
    def statements(self) -> int:
        return self._connection.statements


# The operations


@dataclass(frozen=True, kw_only=True)
class Call:
    """The `number`-th call of an operation by a worker, in a store that had so many `earlier` executions."""

    earlier: int
    number: int
    worker: int = 0

    def earlier_id(self, *, above: int = 0) -> int:
        """The id of an earlier execution and its output, another one in every call, here and there in the store."""
        return above + 1 + self.number * 7919 % (self.earlier - above)


Operation = Callable[[MetadataStore, Call], None]


def look_up(store: MetadataStore, call: Call) -> None:
    """A look-up that finds a hit."""
    hit = store.find_cached(fingerprint(call.earlier_id()))
    assert hit is not None
    assert hit.outputs


def look_at_lineage(store: MetadataStore, call: Call) -> None:
    """What came before an artifact: a chain of so many hops."""
    lineage = store.lineage(artifact_id=call.earlier_id(above=HOPS // 2), direction="up", max_depth=HOPS)
    assert [node.depth for node in lineage.nodes] == list(range(HOPS + 1))


def list_latest(store: MetadataStore, call: Call) -> None:
    """The latest artifacts of a type in a pipeline."""
    kind = TYPES[call.number % len(TYPES)]
    artifacts = store.latest_artifacts(kind.TYPE_NAME, pipeline=pipeline(call.number), limit=LISTED)
    assert len(artifacts) == min(LISTED, call.earlier // 100)


def publish_hit(store: MetadataStore, call: Call) -> None:
    """A CACHED execution that points at the output of an earlier one."""
    cached_from = call.earlier_id()
    start = _start(call, "hits", fingerprint=fingerprint(cached_from))
    _, outputs = store.publish_cached(start, cached_from)
    assert outputs


def publish(store: MetadataStore, call: Call) -> None:
    """One execution from start to COMPLETE."""
    run_id = f"misses of {call.worker}"
    claim = store.start_execution(_start(call, run_id, fingerprint=fingerprint(f"{call.worker} {call.number}")))
    store.publish(claim, output(call.number, f"/root/{run_id}/{claim.execution_id}"))


def _start(call: Call, run_id: str, *, fingerprint: str) -> ExecutionStart:
    return execution_start(
        call.number, run_id=f"{run_id} {call.number // 100}", inputs=[call.earlier_id()], fingerprint=fingerprint
    )


OPERATIONS: Mapping[str, Operation] = {
    "cache look-up": look_up,
    f"lineage, {HOPS} hops up": look_at_lineage,
    f"list the latest {LISTED} artifacts of a type and pipeline": list_latest,
    "publish a hit": publish_hit,
    "publish": publish,
}
"""In the order in which they are measured: those come last that add executions."""


# As the store grows


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The seconds that each call took, and how many statements all of them sent."""

    seconds: Sequence[float]
    statements: int

    @property
    def p50(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98]


def figures_by_size(server: EmbeddedPostgres) -> list[Sequence[str]]:
    """Per operation the statements of a call, p50 and p99 in ms at each size, and the growth of the p50."""
    stores = {size: CountingStore(filled(server, f"size_{size}", size)) for size in SIZES}
    rows = [_row(name, measure(operation, stores)) for name, operation in OPERATIONS.items()]
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        dags = {size: _run_dag(Path(folder, str(size)), store) for size, store in stores.items()}

        def plan(store: MetadataStore, call: Call) -> None:
            ten_components.commit_plan(dags[call.earlier], store, f"plan {call.number}")

        return [*rows, _row("plan of a DAG of ten components", measure(plan, stores, PLANS))]


def _run_dag(root: Path, store: MetadataStore) -> DAG:
    dag = ten_components.ten_components(root)
    ten_components.run_all(dag, store)
    return dag


def filled(server: EmbeddedPostgres, database: str, executions: int) -> str:
    """The address of a new database with so many executions."""
    dsn = server.create_database(database)
    fill(dsn, executions)
    return dsn


def measure(
    operation: Operation, stores: Mapping[int, CountingStore], repetitions: int = REPETITIONS
) -> Mapping[int, Measured]:
    """One operation in stores by size, which take turns: what else the machine does weighs on all alike."""
    for size, store in stores.items():
        for number in range(UNMEASURED):
            operation(store, Call(earlier=size, number=number))
    seconds: dict[int, list[float]] = {size: [] for size in stores}
    before = {size: store.statements for size, store in stores.items()}
    for number in range(UNMEASURED, UNMEASURED + repetitions):
        for size, store in stores.items():
            seconds[size].append(_seconds(operation, store, Call(earlier=size, number=number)))
    return {
        size: Measured(seconds=seconds[size], statements=store.statements - before[size])
        for size, store in stores.items()
    }


def _seconds(operation: Operation, store: MetadataStore, call: Call) -> float:
    began = time.perf_counter()
    operation(store, call)
    return time.perf_counter() - began


def _row(name: str, by_size: Mapping[int, Measured]) -> Sequence[str]:
    calls = sum(len(measured.seconds) for measured in by_size.values())
    statements = sum(measured.statements for measured in by_size.values()) / calls
    times = [_ms(seconds) for measured in by_size.values() for seconds in (measured.p50, measured.p99)]
    growth = by_size[SIZES[-1]].p50 / by_size[SIZES[0]].p50
    return name, f"{statements:g}", *times, f"{growth:.2f}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


# As processes share it


def figures_by_processes(server: EmbeddedPostgres) -> list[Sequence[str]]:
    """Per operation and number of processes the calls per second, p50 and p99 in ms."""
    dsn = filled(server, "shared", SHARED_SIZE)
    return [
        (name, str(processes), *_rate(dsn, operation, processes))
        for name, operation in (("publish", publish), ("cache look-up", look_up))
        for processes in PROCESSES
    ]


def _rate(dsn: str, operation: Operation, processes: int) -> Sequence[str]:
    first = 100 * processes  # nobody is the same worker twice
    taken = in_processes(repeat, [(dsn, operation, worker) for worker in range(first, first + processes)])
    measured = Measured(seconds=[seconds for each in taken for seconds in each], statements=0)
    return f"{len(measured.seconds) / SECONDS:,.0f}", _ms(measured.p50), _ms(measured.p99)


def repeat(dsn: str, operation: Operation, worker: int) -> list[float]:
    """The seconds that each call took, until SECONDS are over."""
    store = connected(dsn)
    all_together()
    taken: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        taken.append(_seconds(operation, store, Call(earlier=SHARED_SIZE, number=len(taken), worker=worker)))
    return taken


# As they race


@dataclass(frozen=True, kw_only=True)
class Raced:
    """When a racer began and ended (the clock is the machine's), and how many statements it sent."""

    began: float
    ended: float
    statements: int


def figures_of_race(server: EmbeddedPostgres) -> list[Sequence[str]]:
    """The seconds from the first start to the last end. Raises the first error, if there is one."""
    dsn = server.create_database("race")
    upgrade(dsn)
    raced = in_processes(race, [(dsn, racer) for racer in range(RACERS)])
    _check_race(MetadataStore(dsn))
    seconds = max(one.ended for one in raced) - min(one.began for one in raced)
    statements = sum(one.statements for one in raced)
    return [(str(RACERS * ROUNDS), str(RACERS), f"{seconds:.2f}", "0", f"{statements}")]


def race(dsn: str, racer: int) -> Raced:
    """One publication into each of the pipelines, which all racers share and none has seen before."""
    store = connected(dsn)
    before = store.statements
    all_together()
    began = time.perf_counter()
    for number in range(ROUNDS):
        publish_new(store, number, racer)
    return Raced(began=began, ended=time.perf_counter(), statements=store.statements - before)


def publish_new(store: MetadataStore, number: int, racer: int) -> None:
    """One publication of a mapped task, whose types and contexts are new to whoever comes first."""
    start = ExecutionStart(
        component_type=f"Component{number}",
        run=named_run(f"new pipeline {number}", "run"),
        component_id="component",
        map_index=racer,
        fingerprint=fingerprint(f"{number} {racer}"),
        fingerprint_parts={},
        inputs={},
        properties={},
        triggered_by="benchmark",
        environment={},
    )
    claim = store.start_execution(start)
    kind = type("New", (Artifact,), {"TYPE_NAME": f"New{number}", "PROPERTIES": {"racer": PropertyType.INT}})
    store.publish(claim, {"output": [kind(uri=f"/root/{claim.execution_id}", properties={"racer": racer})]})


def _check_race(store: MetadataStore) -> None:
    executions = store.executions(state=ExecutionState.COMPLETE, limit=1000).items
    assert len(executions) == len(store.artifacts(limit=1000).items) == RACERS * ROUNDS
    assert len(store.contexts(limit=1000).items) == 3 * ROUNDS


# Processes

_start_line: Barrier | None = None


def in_processes(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """Call a function with each of the arguments, every call in a process of its own; it calls `all_together`."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(arguments))
    with ProcessPoolExecutor(len(arguments), context, initializer=_come_to, initargs=(barrier,)) as pool:
        return [future.result() for future in [pool.submit(function, *each) for each in arguments]]


def all_together() -> None:
    """Wait until every process is here."""
    assert _start_line is not None
    _start_line.wait(PATIENCE)


def connected(dsn: str) -> CountingStore:
    """A store that has connected and checked the schema."""
    store = CountingStore(dsn)
    store.contexts(limit=1)
    return store


def _come_to(barrier: Barrier) -> None:
    global _start_line
    _start_line = barrier


@contextmanager
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server of its own, for as long as the benchmark runs."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        Path(folder).chmod(0o755)  # Postgres' user must get through
        with EmbeddedPostgres(Path(folder)) as server:
            yield server


def main() -> None:
    """Print the tables."""
    at_sizes = [head for size in SIZES for head in (f"p50 at {size:,}", "p99")]
    growth = f"p50 at {SIZES[-1]:,} / at {SIZES[0]:,}"
    with postgres() as server:
        print(table(("ms by earlier executions", "statements", *at_sizes, growth), figures_by_size(server)), end="\n\n")
        head = (f"at {SHARED_SIZE:,} executions", "processes", "per second", "p50, ms", "p99, ms")
        print(table(head, figures_by_processes(server)), end="\n\n")
        head = ("racing publications", "processes", "seconds", "errors", "statements")
        print(table(head, figures_of_race(server)))


if __name__ == "__main__":
    main()
