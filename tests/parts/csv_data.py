"""Statistics of CSV text, in this process: as CsvExampleGen and StatisticsGen compute them in theirs."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from airflow_provider_mlpipe.artifacts import ExampleStatistics
from airflow_provider_mlpipe.records.csv import CsvSplit, infer, merged, typed
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.statistics import write_statistics
from airflow_provider_mlpipe.records.statistics_kernel import StatisticsKernel


def statistics_of(
    folder: Path, splits: Mapping[str, str], schema: schema_pb2.Schema | None = None
) -> ExampleStatistics:
    """The statistics of {split: text}, each split with a file of its own, with a row at least."""
    statistics = ExampleStatistics(uri=tempfile.mkdtemp(dir=folder), properties={"splits": list(splits), "span": 0})
    kernel = StatisticsKernel(tfdv.StatsOptions(schema=schema).to_json(), None, 1 << 30)
    for split, text in splits.items():
        path = folder / f"{split}.csv"
        path.write_text(text)
        source = CsvSplit([path])
        blocks = [block for file in source.files for block in file.chunks()]
        types = dict(zip(source.header, functools.reduce(merged, map(infer, blocks)).types, strict=True))
        records = [encode_examples(typed(block, types)).to_pylist() for block in blocks]
        batches = map(ExamplesToRecordBatchDecoder().DecodeBatch, records)
        found = functools.reduce(kernel.add, batches, kernel.create())
        write_statistics(statistics, split, kernel.extract(found))
    return statistics
