"""CsvExampleGen on the flights, prepared as in the DAG: against TFX's way on Beam, and on three and ten times the rows.

Both splits' records are held equal.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from measured import HEAD, assert_flat, copies, measure, ratio, report
from tables import table

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("dags", "tests/parts")]

SIZES = (1, 3, 10)
BUCKETS = {"train": 2, "eval": 1}


def figures() -> Iterator[list[str]]:
    from flights import data

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data.prepare(root / "flights")
        months = data.month_files(root / "flights")
        bases = {size: copies(months, root / f"{size}x", size) for size in SIZES}
        stock = measure(__file__, "stock", bases[1], root / "stock")
        yield ["as TFX does, on Beam in memory", *stock.cells(), ""]
        runs = {size: measure(__file__, "ours", base, root / f"ours-{size}") for size, base in bases.items()}
        assert_equal(root / "stock", root / "ours-1")
        yield ["this package, with a sidecar", *runs[1].cells(), ratio(stock, runs[1])]
        for size in SIZES[1:]:
            yield [f"{size} times the rows", *runs[size].cells(), ""]
        assert_flat(runs[3], runs[10])


def assert_equal(stock: Path, ours: Path) -> None:
    from airflow_provider_mlpipe.records.tfrecord import read_records

    for split in BUCKETS:
        one, other = (
            Counter(record for file in (folder / f"Split-{split}").glob("*.gz") for record in read_records(file))
            for folder in (stock, ours)
        )
        assert one == other, f"{split} differs"


def run_once(what: str, base: str, out: str) -> None:
    """What the fresh process does."""
    Path(out).mkdir()
    if what == "stock":
        import stock
        from flights import data

        def work() -> int:
            stock.write_examples(Path(base), Path(out), BUCKETS)
            return data.FLIGHTS

    else:
        from airflow_provider_mlpipe.artifacts import Examples
        from airflow_provider_mlpipe.components.example_gen.executor import run
        from airflow_provider_mlpipe.executors import ExecutorContext

        def work() -> int:
            splits = [{"name": name, "hash_buckets": buckets} for name, buckets in BUCKETS.items()]
            produced = run(
                input_base=base,
                input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
                output_config={"split_config": {"splits": splits}},
                examples=Examples(uri=out),
                context=ExecutorContext(component_id="CsvExampleGen", execution_id=1, tmp_dir=out),
            )
            return sum(produced["examples"].properties["record_counts"].values())

    report(work)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(*sys.argv[1:])
    else:
        print(table(["CsvExampleGen", *HEAD, "times faster (in CPU)"], list(figures())))
