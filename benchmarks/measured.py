"""Runs in processes of their own: how long, and how much memory at most."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

MIB = 1 << 20
GROWTH_LIMIT = 1.3
"""How much higher the peak at 10x may be than at 3x: memory does not grow with the rows."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Wall and processor seconds with those of forks, from after the imports on; the process's own peak in bytes.

    `whole` are the wall seconds of the process, from its start to its end.
    """

    rows: int
    seconds: float
    cpu: float
    peak: int
    whole: float = 0.0

    def cells(self) -> list[str]:
        """For a table with the columns of HEAD."""
        rate = self.rows / self.seconds
        return [
            f"{self.rows:,}",
            f"{self.seconds:.1f}",
            f"{self.cpu:.1f}",
            f"{rate:,.0f}",
            f"{self.peak / MIB:.0f} MiB",
        ]


HEAD = ["rows", "seconds", "of CPU", "rows/s", "peak"]


def measure(script: str, *arguments: object) -> Run:
    """Run a benchmark's script in a fresh process, which ends with `report`."""
    command = [sys.executable, script, *map(str, arguments)]
    start = time.perf_counter()
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return replace(Run(**json.loads(printed.splitlines()[-1])), whole=time.perf_counter() - start)


def report(work: Callable[[], int]) -> None:
    """Time `work`, which returns the number of rows, and print the Run."""
    start, start_cpu = time.perf_counter(), _cpu()
    rows = work()
    print(json.dumps(asdict(Run(rows=rows, seconds=time.perf_counter() - start, cpu=_cpu() - start_cpu, peak=_peak()))))


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak() -> int:
    """The process's peak resident memory; `getrusage` would count its parent's as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def ratio(stock: Run, ours: Run) -> str:
    """How many times faster, by the clock and by the processors' time."""
    return f"{stock.seconds / ours.seconds:.1f} ({stock.cpu / ours.cpu:.1f})"


def assert_flat(smaller: Run, larger: Run) -> None:
    """Raise AssertionError when memory grows with the rows."""
    growth = larger.peak / smaller.peak
    assert growth <= GROWTH_LIMIT, f"the peak grows with the rows: {growth:.2f}"


def compare(
    script: str,
    names: tuple[str, str],
    inputs: Mapping[int, Path],
    root: Path,
    assert_equal: Callable[[Path, Path], None],
    *,
    without_sidecar: Path | None = None,
) -> Iterator[list[str]]:
    """Yield a table's lines, and hold results equal: as TFX does it, then this package by how many times the rows.

    `names` are those of the two; the script is called with `stock` or `ours`, an input and a folder for its output.
    """
    stock = measure(script, "stock", inputs[1], root / "stock")
    yield [names[0], *stock.cells(), ""]
    if without_sidecar is not None:
        records = measure(script, "ours", without_sidecar, root / "ours-records")
        yield ["this package, from gzipped TFRecords", *records.cells(), ratio(stock, records)]
    runs = {size: measure(script, "ours", path, root / f"ours-{size}") for size, path in inputs.items()}
    assert_equal(root / "stock", root / "ours-1")
    yield [names[1], *runs[1].cells(), ratio(stock, runs[1])]
    for size in (3, 10):
        yield [f"{size} times the rows", *runs[size].cells(), ""]
    assert_flat(runs[3], runs[10])


def copies(files: Sequence[Path], folder: Path, count: int) -> Path:
    """Link files several times into a folder."""
    folder.mkdir()
    for number in range(count):
        for file in files:
            (folder / f"{number:02}-{file.name}").symlink_to(file)
    return folder
