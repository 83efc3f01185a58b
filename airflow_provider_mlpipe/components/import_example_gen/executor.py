"""Divides the records of TFRecord files into splits. tf.Examples are read twice: first for their features' types."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output
from airflow_provider_mlpipe.records.dealing import Encode, InputSplit, write_examples
from airflow_provider_mlpipe.records.engine import map_chunks
from airflow_provider_mlpipe.records.imported import (
    Content,
    ExampleRecords,
    ImportedFile,
    any_bytes,
    content_of,
    merged,
    sequence_examples,
)
from airflow_provider_mlpipe.records.inputs import PAYLOAD_FORMAT
from airflow_provider_mlpipe.records.tables import check_partition_feature
from airflow_provider_mlpipe.storage.sources import input_files

log = logging.getLogger(__name__)

_OTHERS: Mapping[str, Encode] = {"FORMAT_TF_SEQUENCE_EXAMPLE": sequence_examples, "FORMAT_PROTO": any_bytes}


def run(
    *,
    input_base: str,
    input_config: Mapping[str, Any] | None,
    output_config: Mapping[str, Any] | None,
    shuffle_seed: int | None,
    payload_format: str,
    examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write every record of every input split to one output split of `examples`.

    Raises InvalidInputError for what the operator names.
    """
    inputs = parse_config(Input, input_config, parameter="input_config").splits
    output = parse_config(Output, output_config, parameter="output_config")
    files = {
        split.name: [ImportedFile(path=path) for path in input_files(input_base, split.pattern)] for split in inputs
    }
    if payload_format == PAYLOAD_FORMAT:
        splits = _example_splits(files, output.split_config.partition_feature_name, context)
    else:
        encode = _OTHERS[payload_format]
        splits = [InputSplit(name=name, sources=some, encode=encode, rows=None) for name, some in files.items()]
    return write_examples(splits, output, examples, context, shuffle_seed=shuffle_seed, payload_format=payload_format)


def _example_splits(
    files: Mapping[str, Sequence[ImportedFile]], partition_feature: str, context: ExecutorContext
) -> list[InputSplit]:
    splits = []
    for name, some in files.items():
        nothing = Content(rows=0, types={}, where=name)
        content = functools.reduce(merged, map_chunks(content_of, some, context), nothing)
        check_partition_feature(partition_feature, content.types)
        log.info("split %s: %d file(s), %d features", name, len(some), len(content.types))
        encode = ExampleRecords(content.types)
        splits.append(InputSplit(name=name, sources=some, encode=encode, rows=content.rows))
    return splits
