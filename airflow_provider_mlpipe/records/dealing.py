"""Deals the records of input splits to the output splits of an Examples artifact, and writes them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Output, SplitConfig
from airflow_provider_mlpipe.records.batches import columns_of, taken
from airflow_provider_mlpipe.records.binary import bytes_list
from airflow_provider_mlpipe.records.engine import Source, map_chunks
from airflow_provider_mlpipe.records.inputs import PAYLOAD_FORMAT
from airflow_provider_mlpipe.records.shuffle import Writer, shuffled
from airflow_provider_mlpipe.records.sidecar import stored
from airflow_provider_mlpipe.records.split_writer import SplitWriter
from airflow_provider_mlpipe.records.splits import HashSplit, ValueSplit, splitter
from airflow_provider_mlpipe.records.tfrecord import examples_digest, frame

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Some rows of an input split.

    `records` are the serialized rows. `rows` are the same as columns for the sidecar; None if there is no sidecar.
    `keys` are what the rows are dealt by: each row's serialized Feature, if a partition feature is named.
    """

    records: pa.BinaryArray
    rows: pa.RecordBatch | None
    keys: pa.BinaryArray | None = None


class Encode(Protocol):
    """Makes records of a chunk. It is picklable, so that another process can work."""

    def __call__(self, chunk: Any, partition_feature: str, /) -> Encoded:
        """Encode a chunk; `partition_feature` is "" unless rows are dealt by a feature's value.

        Raises InvalidInputError for a partition feature that cannot be used.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class InputSplit:
    """An input split that is ready to be read; `rows` is how many rows it has, None if that is not known before."""

    name: str
    sources: Sequence[Source[Any]]
    encode: Encode
    rows: int | None


def write_examples(
    splits: Sequence[InputSplit],
    output_config: Output,
    examples: Examples,
    context: ExecutorContext,
    *,
    shuffle_seed: int | None,
    payload_format: str = PAYLOAD_FORMAT,
) -> dict[str, Produced]:
    """Write every row of every input split to one output split of `examples`; without output splits, to its own name.

    The rows keep their order; with a `shuffle_seed` each output split has the order of its rows that belongs to it.

    Raises InvalidInputError when the input changed since its rows were counted, and the errors of `encode`.
    """
    deal = output_config.split_config
    writers: dict[str, SplitWriter] = {}
    for split in splits:
        outputs = deal if deal.splits else _pass_through(split.name)
        writers |= _write(split, outputs, examples, context, shuffle_seed)
    counts = {name: writer.count for name, writer in writers.items()}
    if not any(counts.values()):
        raise InvalidInputError(
            f"no input split has a row ({', '.join(split.name for split in splits)}); check the data"
        )
    properties = {
        "splits": list(writers),
        "payload_format": payload_format,
        "file_format": "tfrecords_gzip",
        "record_counts": counts,
    }
    digest = examples_digest({name: writer.digest for name, writer in writers.items()})
    return {"examples": Produced(properties=properties, digest=digest)}


def _pass_through(name: str) -> SplitConfig:
    return SplitConfig(splits=[SplitConfig.Split(name=name, hash_buckets=1)])


def _write(
    split: InputSplit, deal: SplitConfig, examples: Examples, context: ExecutorContext, shuffle_seed: int | None
) -> dict[str, SplitWriter]:
    places = splitter(deal)
    work = _Deal(split.encode, places, deal.partition_feature_name)
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(SplitWriter(examples, name)) for name in places.names}
        sinks: Mapping[str, Writer] = writers
        if shuffle_seed is not None:
            sinks = {
                name: stack.enter_context(shuffled(writer, context.tmp_dir, shuffle_seed, name))
                for name, writer in writers.items()
            }
        rows = 0
        for dealt in map_chunks(work, split.sources, context):
            for name, some in dealt.items():
                sinks[name].write(some.frames, some.rows)
                rows += len(some.frames)
    written = {name: writer.count for name, writer in writers.items()}
    log.info("split %s: %d rows in, records out: %s", split.name, rows if split.rows is None else split.rows, written)
    if split.rows not in (None, rows) or sum(written.values()) != rows:
        raise InvalidInputError(
            f"split {split.name} had {split.rows} rows and {rows} when it was read again; the input files changed "
            "meanwhile, so run the task again"
        )
    return writers


@dataclass(frozen=True)
class _Dealt:
    """The rows of one output split in two forms: framed records, and the batch for the sidecar."""

    frames: pa.BinaryArray
    rows: pa.RecordBatch | None


@dataclass(frozen=True)
class _Deal:
    """Encodes the rows of a chunk and assigns them to the output splits."""

    encode: Callable[[Any, str], Encoded]
    split: HashSplit | ValueSplit
    partition_feature: str

    def __call__(self, chunk: Any) -> dict[str, _Dealt]:
        some = self.encode(chunk, self.partition_feature)
        values = bytes_list(some.records)
        frames = frame(some.records, values)
        places = self._places(some, values)
        dealt = {}
        for place, name in enumerate(self.split.names):
            those = pa.array(np.flatnonzero(places == place))
            dealt[name] = _Dealt(frames.take(those), None if some.rows is None else stored(taken(some.rows, those)))
        return dealt

    def _places(self, some: Encoded, records: Sequence[bytes]) -> npt.NDArray[np.intp]:
        if isinstance(self.split, HashSplit):
            return self.split.assign(records if some.keys is None else bytes_list(some.keys))
        assert some.rows is not None  # only tf.Examples and tables, which have rows, can name a partition feature
        return self.split.assign(columns_of(some.rows)[self.partition_feature])
