"""ExampleDiff of two data sets, of which one row in a hundred differs: against TFDV on Beam, and on more rows.

The counts of every feature, and those of the identifiers, are held equal.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measured import HEAD, compare, report
from tables import table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/parts"))

ROWS = 100_000
SIZES = (1, 3, 10)
MEMORY_MB = 320
"""Of which the database gets half; what does not fit into it is on disk."""
CONFIG = {"identifier_features": ["id"], "float_round_ndigits": 3, "confusion_config": [{"feature_name": "text0"}]}


def figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs = {size: make(root / f"{size}x", ROWS * size) for size in SIZES}
        names = "TFDV on Beam, in memory", "this package, from the sidecars"
        yield from compare(__file__, names, inputs, root, assert_equal)


def make(folder: Path, rows: int) -> Path:
    """Make examples `base` and `test`: an identifier, and nine features; `test` has other texts in each 100th row."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv

    drawn = np.random.default_rng(0)
    columns = {"id": np.arange(rows)}
    columns |= {f"float{place}": drawn.normal(0, 100, rows) for place in range(3)}
    columns |= {f"int{place}": drawn.integers(0, 1000, rows) for place in range(3)}
    columns |= {f"text{place}": drawn.choice(["one", "two", "three", "four"], rows) for place in range(3)}
    for name in ("base", "test"):
        (folder / f"{name}-csv").mkdir(parents=True)
        pyarrow.csv.write_csv(pa.table(columns), folder / f"{name}-csv" / "rows.csv")
        make_examples(folder / f"{name}-csv", folder / name)
        columns["text0"] = np.where(columns["id"] % 100 == 0, "five", columns["text0"])
        columns = {key: values[::-1] for key, values in columns.items()}  # partners are in different places
    return folder


def make_examples(base: Path, out: Path) -> None:
    from csv_parameters import CSV_PARAMETERS

    from airflow_provider_mlpipe.artifacts import Examples
    from airflow_provider_mlpipe.components.csv_example_gen.executor import run
    from airflow_provider_mlpipe.execution.contract import ExecutorContext
    from airflow_provider_mlpipe.pipeline.file_example_gen import ONE_SPLIT

    out.mkdir()
    run(
        input_base=str(base),
        input_config=ONE_SPLIT,
        output_config={"split_config": {"splits": [{"name": "all", "hash_buckets": 1}]}},
        examples=Examples(uri=str(out)),
        context=ExecutorContext(component_id="CsvExampleGen", execution_id=1, tmp_dir=str(out)),
        **CSV_PARAMETERS,
    )


def assert_equal(stock: Path, ours: Path) -> None:
    from tensorflow_data_validation.skew import feature_skew_detector as detector

    iterators = {
        "skew_stats": detector.skew_results_iterator,
        "match_stats": detector.match_stats_iterator,
        "confusion": detector.confusion_count_iterator,
    }
    for name, read in iterators.items():
        one, other = (sorted(map(str, read(str(folder / name)))) for folder in (stock, ours / "SplitPair-all_all"))
        assert one == other, f"{name} differs"


def run_once(what: str, examples: str, out: str) -> None:
    """What the fresh process does."""
    Path(out).mkdir()
    if what == "stock":
        import apache_beam as beam
        import stock

        def work() -> int:
            test, base = (beam.io.ReadFromTFRecord(f"{examples}/{side}/Split-all/*.gz") for side in ("test", "base"))
            stock.write_example_diff(test, base, CONFIG, Path(out))
            return ROWS

    else:
        from airflow_provider_mlpipe.artifacts import Examples, ExamplesDiff
        from airflow_provider_mlpipe.components.example_diff.executor import run
        from airflow_provider_mlpipe.execution.contract import ExecutorContext

        def work() -> int:
            test, base = (
                Examples(uri=f"{examples}/{side}", properties={"splits": ["all"]}) for side in ("test", "base")
            )
            run(
                examples_test=test,
                examples_base=base,
                config={"paired_example_skew": CONFIG},
                include_split_pairs=None,
                max_diff_share=None,
                example_diff_result=ExamplesDiff(uri=out),
                context=ExecutorContext(
                    component_id="ExampleDiff", execution_id=1, tmp_dir=out, max_memory_mb=MEMORY_MB
                ),
            )
            pairs: int = json.loads(Path(out, "summary.json").read_text())["split_pairs"]["all_all"]["pairs"]
            return pairs

    report(work)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(*sys.argv[1:])
    else:
        print(table(["ExampleDiff", *HEAD, "times faster (in CPU)"], list(figures())))
