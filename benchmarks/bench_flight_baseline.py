"""How well a table of rates guesses late flights: what a model must beat to be worth having.

The table holds the share of late flights per carrier and scheduled hour (and, to compare, per finer groups) of two
thirds of the flights, and guesses for the last third. Which third a flight is in, a hash of its row says, as in
CsvExampleGen. Flights that never arrived weigh nothing, in the table and in the result.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from tables import table

sys.path.insert(0, str(Path(__file__).parents[1] / "dags"))

from flights import data
from flights.evaluation import MIN_AUC, MIN_AUC_OF_AN_ORIGIN

TABLES = [
    ["carrier", "sched_hour"],
    ["carrier", "sched_hour", "origin"],
    ["carrier", "sched_hour", "month"],
]
DEALS = 3

ORIGINS = ["EWR", "JFK", "LGA"]


@dataclass(frozen=True)
class Guesses:
    """Counts of the flights to guess by the rate that was guessed for them."""

    on_time: Counter[float]
    late: Counter[float]

    @property
    def auc(self) -> float:
        """The chance that a late flight was given a higher rate than one on time; ties count half."""
        on_time_below, wins = 0, 0.0
        for rate in sorted(self.on_time.keys() | self.late.keys()):
            wins += self.late[rate] * (on_time_below + self.on_time[rate] / 2)
            on_time_below += self.on_time[rate]
        return wins / (self.on_time.total() * self.late.total())

    @property
    def accuracy(self) -> float:
        """The share that was guessed right, where a rate above a half says late."""
        right = sum(count for rate, count in self.late.items() if rate > 0.5)
        right += sum(count for rate, count in self.on_time.items() if rate <= 0.5)
        return right / (self.on_time.total() + self.late.total())


def deal(rows: Iterable[data.Row], number: int = 0) -> tuple[list[data.Row], list[data.Row]]:
    """Deal the rows that weigh something into two thirds and one; another number deals differently."""
    thirds: tuple[list[data.Row], ...] = ([], [], [])
    for row in rows:
        if row["weight"] != "0":
            text = f"{number},{','.join(row.values())}"
            thirds[int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % 3].append(row)
    return thirds[0] + thirds[1], thirds[2]


def guess(known: Iterable[data.Row], unknown: Iterable[data.Row], columns: Sequence[str]) -> Guesses:
    """Guess the unknown rows by the rates of the known ones per `columns`; by the overall rate where there is none."""
    group = itemgetter("weight", *columns)
    flights = Counter(map(group, known))
    late = Counter(group(row) for row in known if row["late"] == "1")
    overall = late.total() / flights.total()
    guesses = Guesses(on_time=Counter(), late=Counter())
    for (one, label), count in Counter((group(row), row["late"]) for row in unknown).items():
        rate = late[one] / flights[one] if flights[one] else overall
        (guesses.late if label == "1" else guesses.on_time)[rate] += count
    return guesses


def main() -> None:
    rows = list(data.joined_flights())
    deals = [deal(rows, number) for number in range(DEALS)]
    print(table(["rates per", "AUC", "accuracy"], list(_lines(deals))))
    print(f"\nTo be blessed, a model needs an AUC of {MIN_AUC}, and {MIN_AUC_OF_AN_ORIGIN} at each origin.")


def _lines(deals: list[tuple[list[data.Row], list[data.Row]]]) -> Iterator[list[str]]:
    for columns in [[], *TABLES]:
        guesses = [guess(known, unknown, columns) for known, unknown in deals]
        yield _line(", ".join(columns) or "(nothing: never late)", guesses)
    for origin in ORIGINS:
        guesses = [guess(known, at(origin, unknown), TABLES[0]) for known, unknown in deals]
        yield _line(f"{', '.join(TABLES[0])}: flights from {origin}", guesses)


def at(origin: str, rows: Iterable[data.Row]) -> list[data.Row]:
    """The rows of an origin."""
    return [row for row in rows if row["origin"] == origin]


def _line(name: str, guesses: list[Guesses]) -> list[str]:
    return [name, _range(one.auc for one in guesses), _range(one.accuracy for one in guesses)]


def _range(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]:.4f} to {ordered[-1]:.4f}"


if __name__ == "__main__":
    main()
