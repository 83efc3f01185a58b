"""docs/sources.md: each of its examples runs on files of that kind."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg2
import pytest

pytest.importorskip("tensorflow")
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pages import text_of
from sources import as_tfx

from airflow_provider_mlpipe import SqlExampleGenOperator
from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.file_example_gen import FileExampleGenOperator
from airflow_provider_mlpipe.records.tfrecord import TFRecordWriter

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

BLOCKS = re.findall(r"^```python\n(.*?)^```", text_of("docs/sources.md"), re.MULTILINE | re.DOTALL)
ROWS = [{"customer": place % 9, "amount": place / 4} for place in range(60)]


def parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path)


def payments(path: Path) -> None:
    days = (f"2026-{place % 12 + 1:02}-01" for place in range(len(ROWS)))
    path.write_text("day\n" + "\n".join(days) + "\n")


def visitors(path: Path) -> None:
    countries = [("CH", "AT", "DE")[place % 3] for place in range(len(ROWS))]
    pq.write_table(pa.table({"country": countries}), path)


def avro(path: Path) -> None:
    fields = [{"name": "customer", "type": "long"}, {"name": "amount", "type": "double"}]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, ROWS)


def records(path: Path) -> None:
    with TFRecordWriter(path) as writer:
        writer.write([as_tfx(row) for row in ROWS])


def sales(path: Path) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([["customer", "shop"], *([row["customer"], "Zürich"] for row in ROWS)])
    encoded = text.getvalue().encode("cp1252")
    path.write_bytes(gzip.compress(encoded) if path.suffix == ".gz" else encoded)


FILES: dict[str, dict[str, Callable[[Path], None]]] = {
    "sales": {"a.csv": sales, "b.csv.gz": sales},
    "flights": {"a.parquet": parquet},
    "clicks": {"a.avro": avro},
    "images": {"a.gz": records},
    "orders": {"a.parquet": parquet},
    "payments": {"a.csv": payments},
    "visitors": {"a.parquet": visitors},
    "visits": {"a.parquet": parquet},
    "reviews": {"train/a.parquet": parquet, "test/a.parquet": parquet},
}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_its_examples_run(number: int, tmp_path: Path) -> None:
    for name, files in FILES.items():
        for file, write in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            write(tmp_path / name / file)
    names: dict[str, Any] = {}
    exec(BLOCKS[number].replace("/data/", f"{tmp_path}/"), names)
    operators = {name: found for name, found in names.items() if isinstance(found, FileExampleGenOperator)}
    assert operators.keys() <= FILES.keys()
    assert operators or "SqlExampleGen" in BLOCKS[number]
    for name, operator in operators.items():
        counts = run(operator, tmp_path / f"{name}-out")
        assert sum(counts.values()) == len(ROWS) * len(FILES[name])
        assert len(counts) > 1
        assert all(counts.values())


def test_every_kind_of_file_is_shown() -> None:
    for name in FILES:
        assert f"/data/{name}" in "".join(BLOCKS)


def test_its_query_runs(postgres_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = postgres_server.create_database("sources_page")
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE purchases (customer int, amount float, day date)")
        cursor.executemany("INSERT INTO purchases VALUES (%(customer)s, %(amount)s, '2026-01-01')", ROWS)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", dsn.replace("postgresql", "postgres"))
    names: dict[str, Any] = {}
    exec(next(block for block in BLOCKS if "SqlExampleGen" in block), names)
    operator: SqlExampleGenOperator = names["purchases"]
    operator.query = operator.query.replace("{{ ds }}", "2026-01-02")  # type: ignore[union-attr]
    given = {"conn_id": "warehouse", "fingerprint_query": operator.fingerprint_query}
    assert "(60, datetime.date(2026, 1, 1))" in operator.external_inputs(given)["watermark"]
    counts = run(operator, tmp_path / "out", connection=json.dumps(operator._connection("warehouse")))
    assert sum(counts.values()) == len(ROWS)


def run(operator: ComponentOperator, out: Path, **further: Any) -> dict[str, int]:
    out.mkdir()
    module, _, function = operator.EXECUTOR.partition(":")
    given = {name: getattr(operator, name) for name in operator.SPEC.parameters} | further
    context = ExecutorContext(component_id=operator.task_id, execution_id=1, tmp_dir=str(out))
    produced = getattr(import_module(module), function)(**given, examples=Examples(uri=str(out)), context=context)
    counts: dict[str, int] = produced["examples"].properties["record_counts"]
    return counts
