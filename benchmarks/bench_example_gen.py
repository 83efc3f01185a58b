"""CsvExampleGen against TFX's way on Beam: on the flights as the DAG prepares them, 1, 3 and 10 times; on wide files.

Both splits' records are held equal.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from measured import HEAD, compare, copies, measure, ratio, report
from tables import table

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("dags", "tests/parts")]

SIZES = (1, 3, 10)
BUCKETS = {"train": 2, "eval": 1}
WIDE = {(5_000, 300): 3.0, (20_000, 75): 1.0}
"""Columns and rows of wide files, and how many times faster they have to be at least."""


def figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        names = "as TFX does, on Beam in memory", "this package, with a sidecar"
        yield from compare(__file__, names, flights(Path(folder)), Path(folder), assert_equal)


def wide_figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        for (columns, rows), least in WIDE.items():
            root = Path(folder, f"{columns}x{rows}")
            base = write_wide(root / "csv", columns, rows)
            stock, ours = (measure(__file__, what, base, root / what) for what in ("stock", "ours"))
            assert_equal(root / "stock", root / "ours")
            assert stock.seconds >= least * ours.seconds, f"{columns} columns: not {least} times faster than TFX's way"
            yield [f"{columns:,} columns, as TFX does", *stock.cells(), ""]
            yield [f"{columns:,} columns, this package", *ours.cells(), ratio(stock, ours)]


def write_wide(folder: Path, columns: int, rows: int) -> Path:
    """Write a file of FLOAT, INT and STRING columns in turn."""
    draw = random.Random(0)
    kinds = (lambda: f"{draw.random():.6f}", lambda: str(draw.randrange(1000)), lambda: draw.choice("abcdefgh"))
    folder.mkdir(parents=True)
    with (folder / "wide.csv").open("w") as file:
        print(*(f"c{number}" for number in range(columns)), sep=",", file=file)
        for _ in range(rows):
            print(*(kinds[number % 3]() for number in range(columns)), sep=",", file=file)
    return folder


def flights(root: Path) -> dict[int, Path]:
    """The flights' CSV files in folders, by how many times they are there."""
    from flights import data

    data.prepare(root / "flights")
    return {size: copies(data.month_files(root / "flights"), root / f"{size}x-csv", size) for size in SIZES}


def examples(root: Path) -> tuple[dict[int, Path], Path]:
    """Make examples of them; and those of one time the rows, without their sidecar."""
    found = {size: root / f"{size}x" for size in SIZES}
    for size, base in flights(root).items():
        make(base, found[size])
    shutil.copytree(found[1], root / "without", ignore=shutil.ignore_patterns("Arrow-*"))
    return found, root / "without"


def assert_equal(stock: Path, ours: Path) -> None:
    from airflow_provider_mlpipe.records.tfrecord import read_records

    for split in BUCKETS:
        one, other = (
            Counter(record for file in (folder / f"Split-{split}").glob("*.gz") for record in read_records(file))
            for folder in (stock, ours)
        )
        assert one == other, f"{split} differs"


def make(base: Path, out: Path) -> int:
    """Run the executor; returns the number of records."""
    from csv_parameters import CSV_PARAMETERS

    from airflow_provider_mlpipe.artifacts import Examples
    from airflow_provider_mlpipe.components.csv_example_gen.executor import run
    from airflow_provider_mlpipe.execution.contract import ExecutorContext

    out.mkdir()
    splits = [{"name": name, "hash_buckets": buckets} for name, buckets in BUCKETS.items()]
    produced = run(
        input_base=str(base),
        input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
        output_config={"split_config": {"splits": splits}},
        **CSV_PARAMETERS,
        examples=Examples(uri=str(out)),
        context=ExecutorContext(component_id="CsvExampleGen", execution_id=1, tmp_dir=str(out)),
    )
    return sum(produced["examples"].properties["record_counts"].values())


def make_as_tfx(base: Path, out: Path) -> int:
    """The same by Beam."""
    import stock

    out.mkdir()
    stock.write_examples(base, out, BUCKETS)
    return sum(path.read_bytes().count(b"\n") - 1 for path in base.glob("*.csv"))


def run_once(what: str, base: str, out: str) -> None:
    """What the fresh process does; the libraries are imported before it is timed."""
    if what == "stock":
        import stock  # noqa: F401
    else:
        import airflow_provider_mlpipe.components.csv_example_gen.executor  # noqa: F401
    work = make_as_tfx if what == "stock" else make
    report(lambda: work(Path(base), Path(out)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(*sys.argv[1:])
    else:
        print(table(["CsvExampleGen", *HEAD, "times faster (in CPU)"], [*figures(), *wide_figures()]))
