"""The flights of 2013 by day, as Parquet: `20130105/flights.parquet`. A day appears whole or not at all.

A column in which a value may be missing has lists of one or no value, so that its feature is there in each row, as the
schema of the CSV files says.
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from flights import data

FIRST = datetime.date(2013, 1, 1)
PATTERN = "{YYYY}{MM}{DD}/*.parquet"
TEXT = {"date", "carrier", "tailnum", "origin", "dest"}
FLOATS = {"temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"}
MAY_BE_MISSING = {"tailnum", *data.WEATHER}


def day(number: int) -> datetime.date:
    """The day with this number of 2013, from 0."""
    return FIRST + datetime.timedelta(days=number)


def arrive(folder: str | Path, days: Collection[datetime.date]) -> int:
    """Writes those of the days that are not there yet; returns how many."""
    folder = Path(folder)
    missing = {each.isoformat(): each for each in days if not _of(folder, each).exists()}
    rows: dict[str, list[data.Row]] = {name: [] for name in missing}
    for row in data.joined_flights() if missing else ():
        if row["date"] in rows:
            rows[row["date"]].append(row)
    for name, each in sorted(missing.items()):
        _write(_of(folder, each), rows[name])
    return len(missing)


def _of(folder: Path, each: datetime.date) -> Path:
    return folder / f"{each:%Y%m%d}"


def _write(target: Path, rows: list[data.Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = target.with_name(f".{target.name}")  # a name that no pattern matches
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    table = pa.table({name: pa.array([_value(name, row[name]) for row in rows], _type(name)) for name in data.COLUMNS})
    pq.write_table(table, partial / "flights.parquet")
    os.replace(partial, target)


def _type(name: str) -> Any:
    import pyarrow as pa

    kind = pa.string() if name in TEXT else pa.float64() if name in FLOATS else pa.int64()
    return pa.list_(kind) if name in MAY_BE_MISSING else kind


def _value(name: str, cell: str) -> Any:
    if name in MAY_BE_MISSING:
        return [_converted(name, cell)] if cell else []
    return _converted(name, cell)


def _converted(name: str, cell: str) -> str | float | int:
    return cell if name in TEXT else float(cell) if name in FLOATS else int(cell)
