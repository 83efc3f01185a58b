"""Converts CSV files to splits of gzipped tf.Examples with sidecars.

It streams the files twice: the first pass infers the types of the columns, the second one writes the examples.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output
from airflow_provider_mlpipe.records.batches import columns_of
from airflow_provider_mlpipe.records.csv import ColumnType, CsvSplit, Inferred, infer, merged, typed
from airflow_provider_mlpipe.records.csv_dialect import Dialect
from airflow_provider_mlpipe.records.csv_text import doubts
from airflow_provider_mlpipe.records.dealing import Encoded, InputSplit, write_examples
from airflow_provider_mlpipe.records.engine import map_chunks
from airflow_provider_mlpipe.records.examples import encode_examples, encode_features
from airflow_provider_mlpipe.records.stand_ins import described
from airflow_provider_mlpipe.storage.sources import input_files

log = logging.getLogger(__name__)


def run(
    *,
    input_base: str,
    input_config: Mapping[str, Any] | None,
    output_config: Mapping[str, Any] | None,
    shuffle_seed: int | None,
    null_values: Sequence[str],
    delimiter: str,
    quote: str | None,
    encoding: str,
    examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write every row of every input split to one output split of `examples`.

    Raises InvalidInputError for missing files, for files that are not valid CSV, and for a partition feature that
    cannot be used.
    """
    inputs = parse_config(Input, input_config, parameter="input_config").splits
    output = parse_config(Output, output_config, parameter="output_config")
    split_of = functools.partial(
        CsvSplit, null_values=null_values, dialect=Dialect(delimiter=delimiter, quote=quote or ""), encoding=encoding
    )
    sources = {split.name: split_of(input_files(input_base, split.pattern)) for split in inputs}
    for name, source in sources.items():
        for doubt in doubts(source.header, delimiter):
            log.warning("split %s: %s", name, doubt)
    tables = _with_floats_everywhere([_read(name, source, context) for name, source in sources.items()])
    if not any(table.rows for table in tables):
        files = ", ".join(str(file.text.file) for table in tables for file in table.source.files)
        raise InvalidInputError(f"{files}: no row follows the header; check what wrote them")
    if name := output.split_config.partition_feature_name:
        for table in tables:
            _check_partition_feature(name, table.types)
    splits = [
        InputSplit(name=table.split, sources=table.source.files, encode=_Encode(table.types), rows=table.rows)
        for table in tables
    ]
    return write_examples(splits, output, examples, context, shuffle_seed=shuffle_seed)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """An input split after the first pass."""

    split: str
    source: CsvSplit
    types: Mapping[str, ColumnType]
    rows: int


def _read(split: str, source: CsvSplit, context: ExecutorContext) -> _Table:
    log.info("split %s: %d file(s), %d columns", split, len(source.files), len(source.header))
    no_rows = Inferred(rows=0, others=(ColumnType.UNKNOWN,) * len(source.header))
    inferred = functools.reduce(merged, map_chunks(infer, source.files, context), no_rows)
    if not inferred.rows:
        log.warning("split %s has no rows: none follows the header", split)
    _warn_of_stand_ins(split, source.header, inferred)
    types = dict(zip(source.header, inferred.types, strict=True))
    return _Table(split=split, source=source, types=types, rows=inferred.rows)


def _warn_of_stand_ins(split: str, header: Sequence[str], inferred: Inferred) -> None:
    for place, counts in sorted(inferred.stand_ins.items()):
        if inferred.others[place] is not ColumnType.UNKNOWN:
            log.warning("split %s: column %r %s", split, header[place], described(counts, inferred.rows))


def _with_floats_everywhere(tables: Sequence[_Table]) -> list[_Table]:
    """Make a column FLOAT where it is INT, if it is FLOAT in another split: no schema fits both."""
    floats = {name for table in tables for name, kind in table.types.items() if kind is ColumnType.FLOAT}
    return [
        dataclasses.replace(
            table,
            types={
                name: ColumnType.FLOAT if kind is ColumnType.INT and name in floats else kind
                for name, kind in table.types.items()
            },
        )
        for table in tables
    ]


@dataclass(frozen=True)
class _Encode:
    """Serializes the rows of a block of cells."""

    types: Mapping[str, ColumnType]

    def __call__(self, block: pa.RecordBatch, partition_feature: str) -> Encoded:
        rows = typed(block, self.types)
        keys = None
        if partition_feature:
            keys = encode_features(partition_feature, columns_of(rows)[partition_feature])
        return Encoded(records=encode_examples(rows), rows=rows, keys=keys)


def _check_partition_feature(name: str, kinds: Mapping[str, ColumnType]) -> None:
    if name not in kinds:
        raise InvalidInputError(f"partition_feature_name {name!r} is not a column; the columns are {', '.join(kinds)}")
    if kinds[name] not in (ColumnType.INT, ColumnType.STRING):
        found = "holds floats" if kinds[name] is ColumnType.FLOAT else "has no values"
        raise InvalidInputError(f"partition_feature_name {name!r} {found}; an INT or STRING column is needed")
