"""The order of shuffled rows: it depends on seed, split and number of rows, and on nothing else."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from airflow_provider_mlpipe.records.batches import of_columns
from airflow_provider_mlpipe.records.shuffle import shuffled

EVERYTHING = 1 << 30


class Written:
    """Keeps what is written; the record of a row is its number."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.rows: list[dict[str, object]] = []
        self.sizes: list[int] = []

    def write(self, frames: pa.BinaryArray, rows: pa.RecordBatch | None) -> None:
        self.numbers += [int(each) for each in frames.to_pylist()]
        self.rows += [] if rows is None else rows.to_pylist()
        self.sizes.append(len(frames))


def shuffle(
    folder: Path,
    count: int,
    *,
    seed: int = 1,
    split: str = "train",
    chunk: int = 10,
    kept_bytes: int = EVERYTHING,
    with_rows: bool = True,
) -> Written:
    written = Written()
    with shuffled(written, str(folder), seed, split, kept_bytes) as writer:
        for start in range(0, count, chunk):
            numbers = range(start, min(start + chunk, count))
            frames = pa.array([str(number).encode() for number in numbers], pa.binary())
            lists = pa.array([[float(number)] * (number % 3) for number in numbers], pa.large_list(pa.float32()))
            texts = pa.array(map(str, numbers), pa.large_string())
            columns = {"list": lists, "": texts, "none": pa.nulls(len(numbers))}
            writer.write(frames, of_columns(columns, len(numbers)) if with_rows else None)
    assert not list(folder.iterdir())
    return written


@pytest.mark.parametrize("kept_bytes", [1, 300, 3_000, 10_000])
@pytest.mark.parametrize("chunk", [1, 7, 600])
def test_the_order_does_not_depend_on_the_memory_or_the_chunks(tmp_path: Path, kept_bytes: int, chunk: int) -> None:
    whole = shuffle(tmp_path, 600)
    assert len(whole.sizes) == 1
    assert sorted(whole.numbers) == list(range(600)) != whole.numbers
    other = shuffle(tmp_path, 600, kept_bytes=kept_bytes, chunk=chunk)
    assert other.numbers == whole.numbers
    assert other.rows == whole.rows
    assert max(other.sizes) < 400 or chunk == 600


def test_a_row_stays_with_its_record(tmp_path: Path) -> None:
    written = shuffle(tmp_path, 500, kept_bytes=1_000)
    assert written.rows == [
        {"list": [float(number)] * (number % 3), "": str(number), "none": None} for number in written.numbers
    ]
    assert shuffle(tmp_path, 500, kept_bytes=1_000, with_rows=False).numbers == written.numbers


def test_seed_and_split_decide(tmp_path: Path) -> None:
    orders = [shuffle(tmp_path, 50, seed=seed, split=split).numbers for seed in (-1, 0, 1, 2**70) for split in "ab"]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    in_every_version_of_numpy = [6, 7, 9, 5, 3, 2, 0, 10, 8, 1, 4, 11]
    assert shuffle(tmp_path, 12, seed=7, split="train").numbers == in_every_version_of_numpy


def test_every_order_is_as_likely(tmp_path: Path) -> None:
    found = Counter(tuple(shuffle(tmp_path, 3, seed=seed, kept_bytes=1, chunk=1).numbers) for seed in range(600))
    assert len(found) == 6
    # binomial(600, 1/6): a count beyond 100 ± 60 has a chance below 1e-9
    assert all(40 < count < 160 for count in found.values())


@pytest.mark.parametrize("count", [0, 1])
def test_few_rows(tmp_path: Path, count: int) -> None:
    assert shuffle(tmp_path, count).numbers == list(range(count))


def test_a_split_without_rows_still_has_columns(tmp_path: Path) -> None:
    written = Written()
    empty = of_columns({"a": pa.array([], pa.int64())}, 0)
    with shuffled(written, str(tmp_path), 1, "eval") as writer:
        writer.write(pa.array([], pa.binary()), empty)
        writer.write(pa.array([], pa.binary()), empty)
    assert written.sizes == [0]


def test_an_error_writes_nothing(tmp_path: Path) -> None:
    written = Written()

    def fail() -> None:
        with shuffled(written, str(tmp_path), 1, "train") as writer:
            writer.write(pa.array([b"1"]), None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not written.sizes
    assert not list(tmp_path.iterdir())
