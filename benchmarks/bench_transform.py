"""Transform on the flights, analyzing `train`: against TFT on Beam, and on three and ten times the rows.

Vocabularies, schema and transformed values are held equal, floats to 1e-5.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_example_gen import BUCKETS
from bench_example_gen import run_once as generate
from measured import HEAD, assert_flat, copies, measure, ratio, report
from tables import table

FLIGHTS = Path(__file__).parents[1] / "dags" / "flights"
SIZES = (1, 3, 10)


def figures() -> Iterator[list[str]]:
    from flights import data

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data.prepare(root / "flights")
        months = data.month_files(root / "flights")
        for size in SIZES:
            generate("ours", str(copies(months, root / f"{size}x-csv", size)), str(root / f"{size}x"))
        without = root / "without"
        shutil.copytree(root / "1x", without, ignore=shutil.ignore_patterns("Arrow-*"))
        stock = measure(__file__, "stock", root / "1x", root / "stock")
        yield ["TFT on Beam, in memory", *stock.cells(), ""]
        records = measure(__file__, "ours", without, root / "ours-records")
        yield ["this package, from gzipped TFRecords", *records.cells(), ratio(stock, records)]
        runs = {size: measure(__file__, "ours", root / f"{size}x", root / f"ours-{size}") for size in SIZES}
        assert_equal(root / "stock", root / "ours-1")
        yield ["this package, from the sidecar", *runs[1].cells(), ratio(stock, runs[1])]
        for size in SIZES[1:]:
            yield [f"{size} times the rows", *runs[size].cells(), ""]
        assert_flat(runs[3], runs[10])


def assert_equal(stock: Path, ours: Path) -> None:
    import transforms

    for split in BUCKETS:
        one, other = (
            transforms.Transformed(folder / "graph", transforms.read_rows(folder / f"Split-{split}"), [])
            for folder in (ours, stock)
        )
        transforms.assert_equal(one, other, transforms.FLIGHT_TOLERANCES)


def run_once(what: str, examples: str, out: str) -> None:
    """What the fresh process does."""
    graph, tmp = Path(out, "graph"), Path(out, "tmp")
    if what == "stock":
        import stock
        from flights import data
        from google.protobuf import text_format
        from tensorflow_metadata.proto.v0.schema_pb2 import Schema as SchemaProto

        from airflow_provider_mlpipe.user_code import load_function

        function = load_function(str(FLIGHTS / "model.py"), None, "preprocessing_fn")
        schema = text_format.Parse((FLIGHTS / "schema.pbtxt").read_text(), SchemaProto())
        files = {split: f"{examples}/Split-{split}/*" for split in BUCKETS}

        def work() -> int:
            stock.write_transformed(function, schema, files, "train", Path(out))
            return data.FLIGHTS

    else:
        from airflow_provider_mlpipe.artifacts import Examples, Schema, TransformGraph
        from airflow_provider_mlpipe.components.transform.executor import run
        from airflow_provider_mlpipe.executors import ExecutorContext

        for folder in (graph, tmp):
            folder.mkdir(parents=True)

        def work() -> int:
            produced = run(
                examples=Examples(uri=examples, properties={"splits": list(BUCKETS)}),
                schema=Schema(uri=str(FLIGHTS)),
                module_file=str(FLIGHTS / "model.py"),
                preprocessing_fn=None,
                custom_config=None,
                splits_config=None,
                transform_graph=TransformGraph(uri=str(graph)),
                transformed_examples=Examples(uri=out),
                context=ExecutorContext(component_id="Transform", execution_id=1, tmp_dir=str(tmp)),
            )
            return sum(produced["transformed_examples"].properties["record_counts"].values())

    report(work)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(*sys.argv[1:])
    else:
        print(table(["Transform", *HEAD, "times faster (in CPU)"], list(figures())))
