"""Parquet, Avro and TFRecords as sources, against TFX's way on Beam: the flights, 1, 3 and 10 times.

TFX's way is Beam's reader and a tf.Example made of each row in Python. The records of both are held equal.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench_example_gen import BUCKETS, SIZES, assert_equal, flights
from measured import HEAD, compare, report
from tables import table

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("dags", "tests/parts")]

KINDS = ("parquet", "avro", "import")


def figures(kind: str, root: Path) -> Iterator[list[str]]:
    names = f"{kind}, as TFX does, on Beam in memory", f"{kind}, this package, with a sidecar"
    (root / kind).mkdir()
    inputs = {size: root / f"{kind}-{size}" for size in SIZES}
    yield from compare(__file__, names, inputs, root / kind, assert_equal)


def write_inputs(root: Path) -> None:
    """Write the flights as files of each kind, by how many times they are there."""
    import pyarrow.csv
    import pyarrow.parquet

    for size, folder in flights(root).items():
        for kind in KINDS:
            (root / f"{kind}-{size}").mkdir()
        for path in sorted(folder.glob("*.csv")):
            rows = with_dates_as_text(pyarrow.csv.read_csv(path))
            pyarrow.parquet.write_table(rows, root / f"parquet-{size}" / f"{path.stem}.parquet")
            write_avro(rows, root / f"avro-{size}" / f"{path.stem}.avro")
            write_records(rows, root / f"import-{size}" / f"{path.stem}.tfrecord")


def with_dates_as_text(rows: Any) -> Any:
    import pyarrow as pa

    fields = [pa.field(field.name, pa.string()) if pa.types.is_temporal(field.type) else field for field in rows.schema]
    return rows.cast(pa.schema(fields))


def write_avro(rows: Any, path: Path) -> None:
    import fastavro
    import pyarrow as pa

    kinds = {pa.int64(): "long", pa.float64(): "double", pa.string(): "string"}
    fields = [{"name": field.name, "type": ["null", kinds[field.type]]} for field in rows.schema]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, rows.to_pylist(), codec="deflate")


def write_records(rows: Any, path: Path) -> None:
    from airflow_provider_mlpipe.records.examples import encode_examples
    from airflow_provider_mlpipe.records.tfrecord import frame

    with path.open("wb") as file:
        for batch in rows.to_batches(8_000):
            file.write(b"".join(frame(encode_examples(batch, kindless=True)).to_pylist()))


def ours(kind: str, base: Path, out: Path) -> int:
    """Run the executor; returns the number of records."""
    from importlib import import_module

    from airflow_provider_mlpipe.artifacts import Examples
    from airflow_provider_mlpipe.execution.contract import ExecutorContext

    out.mkdir()
    run = import_module(f"airflow_provider_mlpipe.components.{kind}_example_gen.executor").run
    splits = [{"name": name, "hash_buckets": buckets} for name, buckets in BUCKETS.items()]
    produced = run(
        input_base=str(base),
        input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
        output_config={"split_config": {"splits": splits}},
        shuffle_seed=None,
        examples=Examples(uri=str(out)),
        context=ExecutorContext(component_id="ExampleGen", execution_id=1, tmp_dir=str(out)),
        **({"payload_format": "FORMAT_TF_EXAMPLE"} if kind == "import" else {}),
    )
    return int(sum(produced["examples"].properties["record_counts"].values()))


def as_stock(kind: str, base: Path, out: Path) -> int:
    """The same by Beam; returns the number of records, which the comparison counts again."""
    import apache_beam as beam
    import stock
    from sources import as_tfx

    readers: dict[str, tuple[Any, Callable[[Any], bytes]]] = {
        "parquet": (beam.io.ReadFromParquet, as_tfx),
        "avro": (beam.io.ReadFromAvro, as_tfx),
        "import": (beam.io.ReadFromTFRecord, again),
    }
    out.mkdir()
    read, convert = readers[kind]
    stock.write_splits(read(str(base / "*")), convert, out, BUCKETS)
    from airflow_provider_mlpipe.records.tfrecord import read_records

    return sum(1 for path in out.rglob("*.gz") for _ in read_records(path))


def again(record: bytes) -> bytes:
    from tensorflow.core.example.example_pb2 import Example

    return bytes(Example.FromString(record).SerializeToString(deterministic=True))


def run_once(what: str, base: str, out: str) -> None:
    """What the fresh process does; the libraries are imported before it is timed."""
    kind = Path(base).name.partition("-")[0]
    if what == "stock":
        import sources  # noqa: F401
        import stock  # noqa: F401
    else:
        from importlib import import_module

        import_module(f"airflow_provider_mlpipe.components.{kind}_example_gen.executor")
    work = as_stock if what == "stock" else ours
    report(lambda: work(kind, Path(base), Path(out)))


def all_figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder))
        for kind in KINDS:
            yield from figures(kind, Path(folder))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(*sys.argv[1:])
    else:
        print(table(["source", *HEAD, "times faster (in CPU)"], list(all_figures())))
