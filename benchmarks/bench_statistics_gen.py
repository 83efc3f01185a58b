"""StatisticsGen on both splits of the flights: against TFDV on Beam, and on three and ten times the rows.

The statistics are held equal: to 1e-12, and what sketches estimate to twice their error.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_example_gen import BUCKETS, examples
from clock import Clock
from measured import HEAD, compare, report
from tables import table


def figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs, without = examples(root)
        names = "TFDV on Beam, in memory", "this package, from the sidecar"
        yield from compare(__file__, names, inputs, root, assert_equal, without_sidecar=without)
        for path in (without, inputs[1]):
            subprocess.run([sys.executable, __file__, "profile", path], check=True)


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
        from airflow_provider_mlpipe.execution.contract import ExecutorContext

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


# ---- where the time goes


def profile(folder: str) -> None:
    """CPU seconds of each step, all of them one after the other in this process."""
    import tensorflow_data_validation as tfdv

    from airflow_provider_mlpipe.artifacts import Examples
    from airflow_provider_mlpipe.records.chunks import example_sources
    from airflow_provider_mlpipe.records.sidecar import sidecar_path
    from airflow_provider_mlpipe.records.statistics_kernel import StatisticsKernel

    clock, examples = Clock(), Examples(uri=folder)
    from_sidecar = sidecar_path(examples, "train").exists()
    kernel = StatisticsKernel(tfdv.StatsOptions().to_json(), None, 1 << 30)
    for split in BUCKETS:
        accumulators = []
        for source in example_sources(examples, split):
            for chunk in clock.each("read records, and check them", source.chunks()):
                with clock("send chunks to forks"):
                    chunk = pickle.loads(pickle.dumps(chunk))
                accumulator = kernel.create()
                for batch in clock.each("read the sidecar" if from_sidecar else "decode tf.Examples", chunk.batches()):
                    with clock("TFDV's generators, and counts of values"):
                        accumulator = kernel.add(accumulator, batch)
                accumulators.append(accumulator)
        with clock("merge, and make protos"):
            kernel.extract(kernel.merge(accumulators))
    print("from the sidecar" if from_sidecar else "from gzipped TFRecords", clock.table(), sep="\n\n", end="\n\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        what, *rest = sys.argv[1:]
        profile(*rest) if what == "profile" else run_once(what, *rest)
    else:
        print(table(["StatisticsGen", *HEAD, "times faster (in CPU)"], list(figures())))
