"""StatisticsGen on both splits of the flights: against TFDV on Beam, and on three and ten times the rows.

The statistics are held equal: to 1e-12, and what sketches estimate to twice their error.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_example_gen import BUCKETS, examples
from measured import HEAD, compare, report
from tables import table


def figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs, without = examples(root)
        names = "TFDV on Beam, in memory", "this package, from the sidecar"
        yield from compare(__file__, names, inputs, root, assert_equal, without_sidecar=without)


def assert_equal(stock: Path, ours: Path) -> None:
    import statistics_equality
    from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

    for split in BUCKETS:
        one, other = (
            DatasetFeatureStatisticsList.FromString(path.read_bytes())
            for path in (stock / f"{split}.pb", ours / f"Split-{split}" / "FeatureStats.pb")
        )
        statistics_equality.assert_equal(one, other)


def run_once(what: str, examples: str, out: str) -> None:
    """What the fresh process does."""
    from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

    Path(out).mkdir()
    if what == "stock":
        import stock

        files = {split: f"{examples}/Split-{split}/*" for split in BUCKETS}

        def work() -> int:
            paths = stock.write_statistics(files, Path(out))
            return rows(paths.values())

    else:
        from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics
        from airflow_provider_mlpipe.components.statistics_gen.executor import run
        from airflow_provider_mlpipe.executors import ExecutorContext

        def work() -> int:
            run(
                examples=Examples(uri=examples, properties={"splits": list(BUCKETS)}),
                schema=None,
                stats_options=None,
                exclude_splits=[],
                sample_rate_by_split=None,
                statistics=ExampleStatistics(uri=out),
                context=ExecutorContext(component_id="StatisticsGen", execution_id=1, tmp_dir=out),
            )
            return rows(Path(out).glob("Split-*/*"))

    def rows(paths) -> int:
        found = [DatasetFeatureStatisticsList.FromString(path.read_bytes()) for path in paths]
        return sum(one.datasets[0].num_examples for one in found)

    report(work)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(*sys.argv[1:])
    else:
        print(table(["StatisticsGen", *HEAD, "times faster (in CPU)"], list(figures())))
