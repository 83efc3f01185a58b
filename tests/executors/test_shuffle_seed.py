"""shuffle_seed of the ExampleGens: the same records in another order, in the sidecar, too, on both engines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from csv_parameters import CSV_PARAMETERS
from sources import ON_BEAM, all_of, as_tfx, generate, penguin_rows

from airflow_provider_mlpipe.components.avro_example_gen import executor as avro_executor
from airflow_provider_mlpipe.components.csv_example_gen import executor as csv_executor
from airflow_provider_mlpipe.components.import_example_gen import executor as import_executor
from airflow_provider_mlpipe.components.parquet_example_gen import executor as parquet_executor
from airflow_provider_mlpipe.records.chunks import decode
from airflow_provider_mlpipe.records.sidecar import read_batches, sidecar_of
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Rows = Sequence[dict[str, Any]]


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=50)


def write_avro(path: Path, rows: Rows) -> None:
    kinds = {"year": "long", **{name: "double" for name in rows[0] if name.endswith(("_mm", "_g"))}}
    fields = [{"name": name, "type": ["null", kinds.get(name, "string")]} for name in rows[0]]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, rows, sync_interval=2000)


def write_records(path: Path, rows: Rows) -> None:
    with TFRecordWriter(path) as writer:
        writer.write([as_tfx(row) for row in rows])


KINDS: dict[str, tuple[Callable[..., Any], Callable[[Path, Rows], None], dict[str, Any]]] = {
    "csv": (csv_executor.run, write_csv, CSV_PARAMETERS),
    "parquet": (parquet_executor.run, write_parquet, {}),
    "avro": (avro_executor.run, write_avro, {}),
    "examples": (import_executor.run, write_records, {"payload_format": "FORMAT_TF_EXAMPLE"}),
    "bytes": (import_executor.run, write_records, {"payload_format": "FORMAT_PROTO"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_that_of_the_seed(kind: str, tmp_path: Path) -> None:
    run, write, parameters = KINDS[kind]
    (tmp_path / "in").mkdir()
    rows = penguin_rows()
    write(tmp_path / "in" / "a", rows[:200])
    write(tmp_path / "in" / "b", rows[200:])

    def made(name: str, seed: int | None, engine: tuple[str, ...] = ()) -> tuple[str, dict[str, list[bytes]]]:
        given = parameters | {"shuffle_seed": seed}
        produced, records = generate(run, tmp_path / "in", tmp_path / name, beam_pipeline_args=engine, **given)
        return produced.digest, records

    _, plain = made("plain", None)
    one, again, other = made("one", 1), made("again", 1, ON_BEAM), made("other", 2)
    assert one == again
    assert files(tmp_path / "one") == files(tmp_path / "again")
    assert len({one[0], other[0]}) == 2
    for split, records in plain.items():
        assert sorted(one[1][split]) == sorted(other[1][split]) == sorted(records)
        assert len({tuple(records), tuple(one[1][split]), tuple(other[1][split])}) == 3
    assert len(all_of(plain)) == len(rows)
    if kind != "bytes":
        for split, records in one[1].items():
            path = sidecar_of(tmp_path / "one" / f"Split-{split}" / FILE_NAME)
            assert path is not None
            assert pa.Table.from_batches(list(read_batches(path, 0, 10))).to_pylist() == decode(records).to_pylist()


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
