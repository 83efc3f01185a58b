"""What TFX's components do with Beam, by the libraries that they use: to compare with, in tests and in benchmarks."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_transform.beam as tft_beam
from tensorflow_data_validation.skew import feature_skew_detector as detector
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import csv_decoder
from tfx_bsl.public.tfxio import TFExampleRecord

from airflow_provider_mlpipe.records.beam import pipeline


def write_examples(folder: Path, output: Path, buckets: Mapping[str, int]) -> None:
    """CsvExampleGen: `Split-<name>/data_tfrecord-*.gz` of the CSV files, none of which has a quoted newline."""
    first = min(folder.glob("*.csv*"))
    opened = gzip.open if first.suffix == ".gz" else open
    with opened(first, "rt", encoding="utf-8") as file:
        names = file.readline().rstrip().split(",")
    with pipeline() as run:
        rows = (
            run
            | beam.io.ReadFromText(str(folder / "*.csv*"), skip_header_lines=1)
            | beam.ParDo(csv_decoder.ParseCSVLine(delimiter=","))
            | beam.Keys()
        )
        columns = rows | beam.CombineGlobally(csv_decoder.ColumnTypeInferrer(names, skip_blank_lines=True))
        _write(rows | beam.FlatMap(serialized_rows, beam.pvalue.AsSingleton(columns)), output, buckets)


def write_splits(
    read: beam.PTransform, convert: Callable[[Any], bytes], output: Path, buckets: Mapping[str, int]
) -> None:
    """An ExampleGen whose reader yields rows that `convert` serializes."""
    with pipeline() as run:
        _write(run | read | beam.Map(convert), output, buckets)


def _write(records: beam.PCollection, output: Path, buckets: Mapping[str, int]) -> None:
    parts = records | beam.Partition(place, len(buckets), list(buckets.values()))
    for name, part in zip(buckets, parts, strict=True):
        prefix = str(output / f"Split-{name}" / "data_tfrecord")
        _ = (
            part
            | f"Shuffle[{name}]" >> beam.Reshuffle()
            | f"Write[{name}]" >> beam.io.WriteToTFRecord(prefix, file_name_suffix=".gz")
        )


def serialized_rows(row: Sequence[bytes], columns: Sequence[csv_decoder.ColumnInfo]) -> Iterator[bytes]:
    if row:
        yield example(row, columns).SerializeToString(deterministic=True)


def example(row: Sequence[bytes], columns: Sequence[csv_decoder.ColumnInfo]) -> tf.train.Example:
    """The tf.Example of a row: an empty cell is a list of its column's type without a value."""
    features = {column.name: feature(column.type.name, cell) for column, cell in zip(columns, row, strict=True)}
    return tf.train.Example(features=tf.train.Features(feature=features))


def feature(kind: str, cell: bytes) -> tf.train.Feature:
    if kind == "INT":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(cell)] if cell else []))
    if kind == "FLOAT":
        return tf.train.Feature(float_list=tf.train.FloatList(value=[float(cell)] if cell else []))
    if kind == "STRING":
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[cell] if cell else []))
    return tf.train.Feature()


def place(record: bytes, count: int, buckets: Sequence[int]) -> int:
    """The place of a record's split, by TFX's rule."""
    bucket = int(hashlib.sha256(record).hexdigest(), 16) % sum(buckets)
    return next(number for number in range(count) if bucket < sum(buckets[: number + 1]))


def write_statistics(
    files: Mapping[str, str], output: Path, options: tfdv.StatsOptions | None = None, args: Sequence[str] = ()
) -> dict[str, Path]:
    """StatisticsGen: the path of a binary DatasetFeatureStatisticsList for each of {name: pattern of record files}."""
    paths = {name: output / f"{name}.pb" for name in files}
    with pipeline(args) as run:
        for name, pattern in files.items():
            _ = (
                run
                | f"Read[{name}]" >> TFExampleRecord(pattern, telemetry_descriptors=["stock"]).BeamSource()
                | f"Compute[{name}]" >> tfdv.GenerateStatistics(options or tfdv.StatsOptions())
                | f"Write[{name}]" >> tfdv.WriteStatisticsToBinaryFile(str(paths[name]))
            )
    return paths


def write_transformed(
    function: Callable[[Any], Any], schema: schema_pb2.Schema, files: Mapping[str, str], analyzed: str, output: Path
) -> None:
    """Transform: `graph/`, from the split `analyzed`, and `Split-<name>/data_tfrecord-*.gz` of {name: pattern}."""
    with pipeline() as run, tft_beam.Context(temp_dir=str(output / "tmp")):
        raw = {}
        for name, pattern in files.items():
            tfxio = TFExampleRecord(pattern, schema=schema, telemetry_descriptors=["stock"])
            raw[name] = (run | f"Read[{name}]" >> tfxio.BeamSource(), tfxio.TensorAdapterConfig())
        transform_fn = raw[analyzed] | tft_beam.AnalyzeDataset(function)
        _ = transform_fn | tft_beam.WriteTransformFn(str(output / "graph"))
        for name, dataset in raw.items():
            transform = tft_beam.TransformDataset(output_record_batches=True)
            transformed = (dataset, transform_fn) | f"Transform[{name}]" >> transform
            encoded = transformed | f"Encode[{name}]" >> tft_beam.EncodeTransformedDataset()
            prefix = str(output / f"Split-{name}" / "data_tfrecord")
            _ = encoded | f"Write[{name}]" >> beam.io.WriteToTFRecord(prefix, file_name_suffix=".gz")


def write_example_diff(
    read_test: beam.PTransform, read_base: beam.PTransform, config: Mapping[str, Any], folder: Path
) -> None:
    """ExampleDiff: its files of one pair of splits, of serialized tf.Examples; `config` is of a PairedExampleSkew."""
    sinks = {
        "skew_stats": (detector.SKEW_RESULTS_KEY, detector.skew_results_sink),
        "sample_pairs": (detector.SKEW_PAIRS_KEY, detector.skew_pair_sink),
        "match_stats": (detector.MATCH_STATS_KEY, detector.match_stats_sink),
        "confusion": (detector.CONFUSION_KEY, detector.confusion_count_sink),
    }
    with pipeline() as run:
        sides = [
            run | f"Read{name}" >> read | f"Parse{name}" >> beam.Map(tf.train.Example.FromString)
            for name, read in (("Base", read_base), ("Test", read_test))
        ]
        results = tuple(sides) | detector.DetectFeatureSkewImpl(
            config["identifier_features"],
            list(config.get("ignore_features", [])),
            config.get("skew_sample_size", 0),
            config.get("float_round_ndigits"),
            config.get("allow_duplicate_identifiers", False),
            [detector.ConfusionConfig(each["feature_name"]) for each in config.get("confusion_config", [])],
        )
        for name, (key, sink) in sinks.items():
            if key in results:
                _ = results[key] | name >> sink(str(folder / name))
