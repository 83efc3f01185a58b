"""The local engine: order, exact sums, errors, and what a killed fork does."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.batches import of_columns
from airflow_provider_mlpipe.records.engine import (
    MIB,
    flat_map_chunks,
    fork_aside,
    map_chunks,
    names_runner,
    process_count,
    run_kernels,
)

CHUNKS = 23


@dataclass(frozen=True)
class Numbers:
    """A source of floats whose sum depends on the order of its terms; each of its chunks has two batches."""

    start: int = 0
    chunk_count: int = CHUNKS

    def chunks(self) -> Iterator[Piece]:
        for number in range(self.start, self.start + self.chunk_count):
            yield Piece(number)


@dataclass(frozen=True)
class Piece:
    number: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        for value in (10.0**self.number, 0.1 * self.number):
            yield pa.RecordBatch.from_pydict({"x": [value, value / 3]})


class Sum:
    """The sum of a column."""

    def create(self) -> float:
        return 0.0

    def add(self, accumulator: float, batch: pa.RecordBatch) -> float:
        return sum(batch.column(0).to_pylist(), accumulator)

    def merge(self, accumulators: Iterable[float]) -> float:
        return sum(accumulators, 0.0)

    def extract(self, accumulator: float) -> str:
        return accumulator.hex()


def by_hand(source: Numbers) -> str:
    sums = []
    for piece in source.chunks():
        values = [value for batch in piece.batches() for value in batch.column(0).to_pylist()]
        sums.append(sum(values, 0.0))
    return sum(sums, 0.0).hex()


def context(folder: Path, **fields: object) -> ExecutorContext:
    return ExecutorContext(component_id="c", execution_id=1, tmp_dir=str(folder), **fields)  # type: ignore[arg-type]


def square(piece: Piece) -> tuple[int, int]:
    return piece.number**2, os.getpid()


def fail_at_five(piece: Piece) -> int:
    if piece.number == 5:
        raise InvalidInputError("number 5 is wrong")
    return piece.number


def die_at_five(piece: Piece) -> int:
    if piece.number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece.number


def several(piece: Piece) -> Iterator[tuple[int, bytes]]:
    for place in range(piece.number % 5):
        yield place, bytes([piece.number]) * 10_000


def kept_before(folder: Path, piece: Piece) -> Iterator[tuple[int, bytes]]:
    """Yield a MiB thrice, each with how many MiB the files below `folder` have before it."""
    for _ in range(3):
        yield sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // MIB, bytes(MIB)


def several_then_fail(piece: Piece) -> Iterator[bytes]:
    yield from (content for _, content in several(piece))
    if piece.number == 9:
        raise InvalidInputError("number 9 is wrong")


@pytest.mark.parametrize("memory_mb", [1, 2048, 64 * 1024])
def test_results_come_in_the_order_of_the_chunks_from_forks_alone(tmp_path: Path, memory_mb: int) -> None:
    found = list(map_chunks(square, [Numbers(0, 3), Numbers(3, 20)], context(tmp_path, max_memory_mb=memory_mb)))
    assert [result for result, _ in found] == [number**2 for number in range(23)]
    assert os.getpid() not in {process for _, process in found}


def test_results_come_as_they_were_given(tmp_path: Path) -> None:
    found = list(flat_map_chunks(several, [Numbers(0, 9), Numbers(9, 14)], context(tmp_path)))
    assert found == [result for piece in Numbers().chunks() for result in several(piece)]


def test_a_batch_is_pickled_as_it_is_and_a_short_slice_alone() -> None:
    words = pa.array([f"{number:09}" for number in range(10_000)])
    rows = pa.record_batch([words, words.dictionary_encode(), pa.array([[1], None] * 5_000)], ["a", "b", "c"])
    for batch in (rows, rows.slice(7, 3), of_columns({}, 5)):
        again = pickle.loads(pickle.dumps(batch))
        assert (again, again.num_rows) == (batch, batch.num_rows)
    assert len(pickle.dumps(pa.record_batch([words.slice(7, 3)], ["a"]))) < 2_000


def test_results_wait_in_files(tmp_path: Path) -> None:
    found = flat_map_chunks(functools.partial(kept_before, tmp_path), [Numbers(0, 1)], context(tmp_path))
    assert [kept for kept, _ in found] == [0, 1, 2]
    assert not list(tmp_path.iterdir())


def test_an_error_after_results_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="number 9 is wrong"):
        list(flat_map_chunks(several_then_fail, [Numbers()], context(tmp_path)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("memory_mb", [1, 64 * 1024])
def test_kernels_give_the_same_last_digit_with_any_number_of_processes(tmp_path: Path, memory_mb: int) -> None:
    sources = {"train": [Numbers(0, 7), Numbers(7, 9)], "eval": [Numbers(3, 5)], "none": []}
    found = run_kernels(dict.fromkeys(sources, Sum()), sources, context(tmp_path, max_memory_mb=memory_mb))
    assert found == {"train": by_hand(Numbers(0, 16)), "eval": by_hand(Numbers(3, 5)), "none": (0.0).hex()}


def test_an_error_keeps_its_type_and_later_results_are_not_waited_for(tmp_path: Path) -> None:
    results = map_chunks(fail_at_five, [Numbers()], context(tmp_path))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidInputError, match="number 5 is wrong"):
        next(results)


def test_a_killed_fork_is_a_transient_error_that_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="max_memory_mb"):
        list(map_chunks(die_at_five, [Numbers()], context(tmp_path)))


@pytest.mark.parametrize("which", ["aside", "its fork"])
def test_a_killed_fork_aside_is_an_error_and_leaves_no_fork(tmp_path: Path, which: str) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    given = context(tmp_path, max_memory_mb=1)
    killer = threading.Thread(target=kill_one_of, args=(told, which))
    killer.start()
    with pytest.raises(TransientError, match="max_memory_mb"), fork_aside(given) as call:
        call(wait_in_a_fork, told, given)
    killer.join()


def kill_one_of(told: Path, which: str) -> None:
    """Kill who is told of, and read on until nobody is left that could write."""
    with open(told) as lines:
        aside, fork = map(int, lines.readline().split())
        os.kill(aside if which == "aside" else fork, signal.SIGKILL)
        lines.read()


def wait_in_a_fork(told: Path, given: ExecutorContext) -> list[None]:
    return list(map_chunks(functools.partial(tell_and_wait, told), [Numbers(0, 1)], given))


def tell_and_wait(told: Path, piece: Piece) -> None:
    with open(told, "w", buffering=1) as file:
        print(os.getppid(), os.getpid(), file=file)
        signal.pause()


def test_a_consumer_may_stop_early(tmp_path: Path) -> None:
    results = map_chunks(square, [Numbers()], context(tmp_path))
    assert next(results)[0] == 0
    results.close()  # type: ignore[attr-defined]


def test_processes_by_cores_and_memory(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert process_count(context(tmp_path, max_memory_mb=1)) == 1
    assert process_count(context(tmp_path, max_memory_mb=1024 * cores)) == cores
    assert process_count(context(tmp_path, max_memory_mb=1024 * cores * 10)) == cores


def test_only_a_named_runner_is_one() -> None:
    assert names_runner(["--runner=DirectRunner"])
    assert names_runner(["--runner", "FlinkRunner"])
    assert not names_runner(["--direct_num_workers=2", "--runner_like=1"])
