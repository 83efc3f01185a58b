"""CsvExampleGen on the flights, prepared as in the DAG: against TFX's way on Beam, and on three and ten times the rows.

Both splits' records are held equal.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from measured import HEAD, compare, copies, report
from tables import table

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("dags", "tests/parts")]

SIZES = (1, 3, 10)
BUCKETS = {"train": 2, "eval": 1}


def figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        names = "as TFX does, on Beam in memory", "this package, with a sidecar"
        yield from compare(__file__, names, flights(Path(folder)), Path(folder), assert_equal)


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
    from airflow_provider_mlpipe.artifacts import Examples
    from airflow_provider_mlpipe.components.example_gen.executor import run
    from airflow_provider_mlpipe.execution.contract import ExecutorContext

    out.mkdir()
    splits = [{"name": name, "hash_buckets": buckets} for name, buckets in BUCKETS.items()]
    produced = run(
        input_base=str(base),
        input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
        output_config={"split_config": {"splits": splits}},
        examples=Examples(uri=str(out)),
        context=ExecutorContext(component_id="CsvExampleGen", execution_id=1, tmp_dir=str(out)),
    )
    return sum(produced["examples"].properties["record_counts"].values())


def make_as_tfx(base: Path, out: Path) -> int:
    """The same by Beam."""
    import stock
    from flights import data

    out.mkdir()
    stock.write_examples(base, out, BUCKETS)
    return data.FLIGHTS


def run_once(what: str, base: str, out: str) -> None:
    """What the fresh process does; the libraries are imported before it is timed."""
    if what == "stock":
        import stock  # noqa: F401
    else:
        import airflow_provider_mlpipe.components.example_gen.executor  # noqa: F401
    work = make_as_tfx if what == "stock" else make
    report(lambda: work(Path(base), Path(out)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(*sys.argv[1:])
    else:
        print(table(["CsvExampleGen", *HEAD, "times faster (in CPU)"], list(figures())))
