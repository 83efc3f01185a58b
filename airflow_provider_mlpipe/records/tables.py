"""What Parquet and Avro files have in common as sources of examples: the same features in all files, and encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output
from airflow_provider_mlpipe.records.batches import columns_of
from airflow_provider_mlpipe.records.dealing import Encoded, InputSplit, write_examples
from airflow_provider_mlpipe.records.examples import encode_examples, encode_features
from airflow_provider_mlpipe.records.table_columns import as_lists, feature_columns
from airflow_provider_mlpipe.storage.disk_errors import translated
from airflow_provider_mlpipe.storage.sources import input_files


class TableRows(Protocol):
    """Some rows of a file. It is picklable."""

    @property
    def rows(self) -> pa.RecordBatch:
        """The rows; raises InvalidInputError where they are corrupt."""
        ...

    @property
    def where(self) -> str:
        """The file."""
        ...

    @property
    def rows_before(self) -> int:
        """How many rows of the file come before these."""
        ...


@dataclass(frozen=True, kw_only=True)
class ReadRows:
    """TableRows that are there already."""

    rows: pa.RecordBatch
    where: str
    rows_before: int


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a file says before its rows are read: the features' types by name; `rows`, None if it does not say."""

    types: Mapping[str, str]
    rows: int | None


class TableFile(Protocol):
    """A file with rows, as a source of TableRows. It is hashable and picklable."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    def describe(self) -> Described:
        """Read what comes before the rows; raises InvalidInputError for a file of another kind."""
        ...

    def chunks(self) -> Iterator[TableRows]:
        """Yield the rows in order; raises InvalidInputError where the file is cut off or corrupt."""
        ...


def unreadable(error: BaseException, path: str | Path, what: str) -> MlpipeError:
    """The error for a file that the file system does not give, or in which `what` is corrupt."""
    if isinstance(error, OSError) and error.errno:
        return translated(error, f"{path} cannot be read", "Let the Airflow worker's user read it")
    said = str(error).strip().rstrip(".") or type(error).__name__
    return InvalidInputError(f"{what}: {said}; create the file again from its source")


def write_tables(
    kind: Callable[..., TableFile],
    *,
    input_base: str,
    input_config: Mapping[str, Any] | None,
    output_config: Mapping[str, Any] | None,
    shuffle_seed: int | None,
    examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write every row of every input split's files to one output split of `examples`.

    Raises InvalidInputError for missing files, columns that differ between files, values that a tf.Example cannot hold,
    and a partition feature that cannot be used.
    """
    inputs = parse_config(Input, input_config, parameter="input_config").splits
    output = parse_config(Output, output_config, parameter="output_config")
    files = {split.name: [kind(path=path) for path in input_files(input_base, split.pattern)] for split in inputs}
    found = {file: file.describe() for some in files.values() for file in some}
    types = _common_types({file.path: each.types for file, each in found.items()})
    check_partition_feature(output.split_config.partition_feature_name, types)
    splits = [
        InputSplit(name=name, sources=some, encode=EncodeTable(), rows=_total(found[file].rows for file in some))
        for name, some in files.items()
    ]
    return write_examples(splits, output, examples, context, shuffle_seed=shuffle_seed)


def _total(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(filter(None, known))


def _common_types(types: Mapping[Path, Mapping[str, str]]) -> Mapping[str, str]:
    """Return the features' types of the first file, by name.

    Raises InvalidInputError, with the feature and both files, when another file's features differ. Their order may.
    """
    (first, wanted), *others = types.items()
    for path, found in others:
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise InvalidInputError(
                    f"{path}: column {name!r} is {found.get(name, 'missing')}, but in {first} it is "
                    f"{wanted.get(name, 'missing')}; give all files the same columns"
                )
    return wanted


def check_partition_feature(name: str, types: Mapping[str, str]) -> None:
    """Raise InvalidInputError when rows cannot be dealt by this feature; "" is none."""
    if name and name not in types:
        raise InvalidInputError(f"partition_feature_name {name!r} is not a column; the columns are {', '.join(types)}")
    if name and types[name] not in ("INT", "BYTES"):
        raise InvalidInputError(f"partition_feature_name {name!r} is {types[name]}; an INT or BYTES column is needed")


@dataclass(frozen=True)
class EncodeTable:
    """Encodes TableRows as tf.Examples: null is a feature without a kind, as in TFX."""

    def __call__(self, chunk: TableRows, partition_feature: str) -> Encoded:
        """Encode rows; raises InvalidInputError for a value that a tf.Example cannot hold."""
        rows = feature_columns(chunk.rows, chunk.where, chunk.rows_before)
        keys = None
        if partition_feature:
            keys = encode_features(partition_feature, columns_of(rows)[partition_feature], kindless=True)
            _check_keys(keys, partition_feature, chunk)
        return Encoded(records=encode_examples(rows, kindless=True), rows=as_lists(rows), keys=keys)


def _check_keys(keys: pa.BinaryArray, name: str, chunk: TableRows) -> None:
    missing: Sequence[bool] = pc.equal(pc.binary_length(keys), 0).to_pylist()
    if True in missing:
        raise InvalidInputError(
            f"{chunk.where}, row {chunk.rows_before + missing.index(True) + 1:,}: partition_feature_name {name!r} has "
            "no value; fill it in, or deal by another feature"
        )
