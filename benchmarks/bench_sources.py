"""Sources of data against TFX's way on Beam: the flights, 1, 3 and 10 times.

Gzipped CSV, Parquet, Avro and TFRecord files, and the rows of a table in Postgres. TFX's way is Beam's reader, or for
SQL a cursor as in TFX's PrestoExampleGen, and a tf.Example made of each row in Python. The records of both are equal.
`bench_sources.py KIND ...` prints the figures of some of them.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from bench_example_gen import BUCKETS, SIZES, assert_equal, flights
from measured import HEAD, compare, copies, measure, report
from tables import table

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("dags", "tests/parts")]

KINDS = ("csv", "parquet", "avro", "import", "sql")
NAMES = {"csv": "CSV .gz", "parquet": "Parquet", "avro": "Avro", "import": "TFRecords", "sql": "Postgres"}


def figures(kind: str, root: Path) -> Iterator[list[str]]:
    names = "as TFX does, on Beam in memory", "this package, with a sidecar"
    (root / kind).mkdir()
    inputs = {size: root / f"{kind}-{size}" for size in SIZES}
    yield from compare(__file__, names, inputs, root / kind, assert_equal)
    shuffled = measure(__file__, "shuffled", inputs[10], root / kind / "shuffled")
    yield ["10 times the rows, shuffled", *shuffled.cells(), ""]


def write_inputs(root: Path, kinds: tuple[str, ...]) -> None:
    """Write the flights as files of each kind, by how many times they are there."""
    csv_files = sorted(flights(root)[1].glob("*.csv"))
    for kind in kinds:
        (written := root / f"{kind}-written").mkdir()
        for path in csv_files:
            WRITERS[kind](path, written)
        for size in SIZES:
            copies(sorted(written.iterdir()), root / f"{kind}-{size}", size)


def write_gzipped(source: Path, folder: Path) -> None:
    with source.open("rb") as text, gzip.open(folder / f"{source.name}.gz", "wb", compresslevel=6) as file:
        shutil.copyfileobj(text, file)


def write_parquet(source: Path, folder: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(rows_of(source), folder / f"{source.stem}.parquet")


def write_avro(source: Path, folder: Path) -> None:
    import fastavro
    import pyarrow as pa

    rows = rows_of(source)
    kinds = {pa.int64(): "long", pa.float64(): "double", pa.string(): "string"}
    fields = [{"name": field.name, "type": ["null", kinds[field.type]]} for field in rows.schema]
    schema = {"type": "record", "name": "row", "fields": fields}
    with (folder / f"{source.stem}.avro").open("wb") as file:
        fastavro.writer(file, schema, rows.to_pylist(), codec="deflate")


def write_records(source: Path, folder: Path) -> None:
    from airflow_provider_mlpipe.records.examples import encode_examples
    from airflow_provider_mlpipe.records.tfrecord import frame

    with (folder / f"{source.stem}.tfrecord").open("wb") as file:
        for batch in rows_of(source).to_batches(8_000):
            file.write(b"".join(frame(encode_examples(batch, kindless=True)).to_pylist()))


def write_link(source: Path, folder: Path) -> None:
    """The rows are in the server; see `load`."""


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "csv": write_gzipped,
    "parquet": write_parquet,
    "avro": write_avro,
    "import": write_records,
    "sql": write_link,
}


def load(root: Path, dsn: str) -> None:
    """Copy the flights into a table, and write beside the other inputs how each size is asked for."""
    import psycopg2
    import pyarrow as pa

    files = sorted((root / "1x-csv").glob("*.csv"))
    kinds = {pa.int64(): "bigint", pa.float64(): "double precision", pa.string(): "text"}
    columns = ", ".join(f'"{field.name}" {kinds[field.type]}' for field in rows_of(files[0]).schema)
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE flights ({columns})")
        for path in files:
            with path.open() as file:
                cursor.copy_expert("COPY flights FROM STDIN (FORMAT csv, HEADER)", file)
        fields = connection.get_dsn_parameters()
    given = {"host": fields["host"], "port": int(fields["port"]), "login": fields["user"], "schema": fields["dbname"]}
    connection_fields = {"conn_type": "postgres", "password": psycopg2.extensions.parse_dsn(dsn)["password"], **given}
    for size in SIZES:
        query = f"SELECT flights.* FROM generate_series(1, {size}), flights"
        asked = {"query": query, "connection": json.dumps(connection_fields), "dsn": dsn}
        (root / f"sql-{size}" / "asked.json").write_text(json.dumps(asked))


def rows_of(source: Path) -> Any:
    import pyarrow.csv

    return with_dates_as_text(pyarrow.csv.read_csv(source))


def with_dates_as_text(rows: Any) -> Any:
    import pyarrow as pa

    fields = [pa.field(field.name, pa.string()) if pa.types.is_temporal(field.type) else field for field in rows.schema]
    return rows.cast(pa.schema(fields))


def ours(kind: str, base: Path, out: Path, shuffle_seed: int | None) -> int:
    """Run the executor; returns the number of records."""
    from importlib import import_module

    from csv_parameters import CSV_PARAMETERS

    from airflow_provider_mlpipe.artifacts import Examples
    from airflow_provider_mlpipe.execution.contract import ExecutorContext

    out.mkdir()
    run = import_module(f"airflow_provider_mlpipe.components.{kind}_example_gen.executor").run
    splits = [{"name": name, "hash_buckets": buckets} for name, buckets in BUCKETS.items()]
    given: dict[str, Any] = {
        "input_base": str(base),
        "input_config": {"splits": [{"name": "single_split", "pattern": "*"}]},
    }
    if kind == "sql":
        asked = json.loads((base / "asked.json").read_text())
        given = {"query": asked["query"], "connection": asked["connection"], "conn_id": "x", "fingerprint_query": None}
    further = {"csv": CSV_PARAMETERS, "import": {"payload_format": "FORMAT_TF_EXAMPLE"}}
    produced = run(
        **given | further.get(kind, {}) | {"shuffle_seed": shuffle_seed},
        output_config={"split_config": {"splits": splits}},
        examples=Examples(uri=str(out)),
        context=ExecutorContext(component_id="ExampleGen", execution_id=1, tmp_dir=str(out)),
    )
    return int(sum(produced["examples"].properties["record_counts"].values()))


def as_stock(kind: str, base: Path, out: Path) -> int:
    """The same by Beam; returns the number of records, which the comparison counts again."""
    import apache_beam as beam
    import stock
    from sources import as_tfx

    readers: dict[str, tuple[Callable[[str], Any], Callable[[Any], bytes]]] = {
        "parquet": (beam.io.ReadFromParquet, as_tfx),
        "avro": (beam.io.ReadFromAvro, as_tfx),
        "import": (beam.io.ReadFromTFRecord, again),
        "sql": (lambda pattern: beam.Create([str(base)]) | beam.FlatMap(rows_in_postgres), as_tfx),
    }
    out.mkdir()
    if kind == "csv":
        stock.write_examples(base, out, BUCKETS)
    else:
        read, convert = readers[kind]
        stock.write_splits(read(str(base / "*")), convert, out, BUCKETS)
    from airflow_provider_mlpipe.records.tfrecord import read_records

    return sum(1 for path in out.rglob("*.gz") for _ in read_records(path))


def rows_in_postgres(base: str) -> Iterator[dict[str, Any]]:
    import psycopg2

    asked = json.loads(Path(base, "asked.json").read_text())
    with closing(psycopg2.connect(asked["dsn"])) as connection, connection.cursor("rows") as cursor:
        cursor.execute(asked["query"])
        for row in cursor:
            yield dict(zip([column.name for column in cursor.description], row, strict=True))


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
    seed = 1 if what == "shuffled" else None
    report(
        lambda: as_stock(kind, Path(base), Path(out)) if what == "stock" else ours(kind, Path(base), Path(out), seed)
    )


def print_figures(kinds: tuple[str, ...]) -> None:
    """Print a table for each kind as soon as it is there."""
    from bench_store import postgres

    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        write_inputs(Path(folder), kinds)
        if "sql" in kinds:
            load(Path(folder), server.create_database("flights"))
        for kind in kinds:
            rows = list(figures(kind, Path(folder)))
            print(table([NAMES[kind], *HEAD, "times faster (in CPU)"], rows), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] not in KINDS:
        run_once(*sys.argv[1:])
    else:
        print_figures(tuple(sys.argv[1:]) or KINDS)
