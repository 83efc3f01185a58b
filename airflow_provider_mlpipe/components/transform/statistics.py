"""The statistics of the rows before and after the transformation, as TFX's Transform publishes them.

They are one dataset each, over all analyzed or all transformed splits. So the files are in the artifact's folder
itself, not in one folder per split.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx_bsl.public.tfxio import TensorAdapter

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, ExampleStatistics, Schema, TransformGraph
from airflow_provider_mlpipe.components.transform.saved_graph import described
from airflow_provider_mlpipe.components.transform.stats_type import StatsType
from airflow_provider_mlpipe.components.transform.user_function import config_keywords
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.execution.user_code import call
from airflow_provider_mlpipe.records.anomalies import write_anomalies
from airflow_provider_mlpipe.records.inputs import write_schema
from airflow_provider_mlpipe.records.pieces import Piece
from airflow_provider_mlpipe.records.statistics import write_whole
from airflow_provider_mlpipe.records.statistics_engine import Rows, compute
from airflow_provider_mlpipe.storage.layout import folder_of

UPDATER = "stats_options_updater_fn"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """Where the statistics of one type and the schema of their rows go; and the anomalies, after the transformation."""

    statistics: ExampleStatistics
    schema: Schema
    anomalies: ExampleAnomalies | None = None


@dataclass(frozen=True)
class OptionsUpdater:
    """The user's `stats_options_updater_fn(stats_type, stats_options)`, or None. It may take `custom_config`, too."""

    function: Callable[..., Any] | None
    custom_config: Mapping[str, Any] | None

    def __call__(self, kind: StatsType, given: tfdv.StatsOptions) -> tfdv.StatsOptions:
        """Return the options that the function makes of those given; raises UserCodeError."""
        if self.function is None:
            return given
        options = call(self.function, UPDATER, kind, given, **config_keywords(self.function, self.custom_config))
        if not isinstance(options, tfdv.StatsOptions):
            raise UserCodeError(f"{UPDATER} returned {options!r} for {kind}; it must return a tfdv.StatsOptions")
        return options


@dataclass(frozen=True)
class Statistician:
    """Computes statistics and writes them.

    `apart` calls a function in a process where TensorFlow has not run.
    """

    updater: OptionsUpdater
    apart: Callable[..., Any]
    context: ExecutorContext

    def before(
        self,
        pieces: Sequence[Piece],
        schema: schema_pb2.Schema,
        function: Callable[..., Any],
        outputs: Outputs,
    ) -> None:
        """Write the statistics of the features that the `preprocessing_fn` reads. Raises what `compute` raises."""
        read_as = _columns_of(function, schema)
        self._write(StatsType.PRE_TRANSFORM, pieces, read_as, outputs, {"schema": _copy(schema)})

    def after(self, pieces: Sequence[Piece], graph: TransformGraph, outputs: Outputs) -> None:
        """Write the statistics of the transformed rows, and how they deviate from the schema of the options."""
        schema = tft.TFTransformOutput(str(folder_of(graph))).transformed_metadata.schema
        given = {"schema": _copy(schema), "vocab_paths": _vocabularies(folder_of(graph)) or None}
        self._write(StatsType.POST_TRANSFORM, pieces, schema, outputs, given)

    def _write(
        self,
        kind: StatsType,
        pieces: Sequence[Piece],
        read_as: schema_pb2.Schema,
        outputs: Outputs,
        given: Mapping[str, Any],
    ) -> None:
        options = self.updater(kind, tfdv.StatsOptions(**given))
        rate, options.sample_rate = options.sample_rate, None  # TFDV would sample whole batches
        rows = Rows(pieces=pieces, options=options, rate=rate, schema=read_as)
        found = compute({kind.name.lower(): rows}, self.context, apart=self.apart)[kind.name.lower()]
        expected = options.schema or given["schema"]
        write_whole(outputs.statistics, found)
        write_schema(outputs.schema, expected)
        if outputs.anomalies is not None:
            _validate(found, expected, outputs.anomalies)


def _validate(
    found: statistics_pb2.DatasetFeatureStatisticsList, schema: schema_pb2.Schema, anomalies: ExampleAnomalies
) -> None:
    deviations = tfdv.validate_statistics(found, schema)
    for feature in sorted(deviations.anomaly_info):
        log.warning("transformed feature %r: %s", feature, deviations.anomaly_info[feature].description)
    write_anomalies(folder_of(anomalies), deviations)


def _columns_of(function: Callable[..., Any], schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """Return the part of the schema that `function` reads, be it for an analyzer or for an output."""
    rows = described(schema)
    specs = TensorAdapter(rows.TensorAdapterConfig()).OriginalTypeSpecs()
    tensors = {*tft.get_analyze_input_columns(function, specs), *tft.get_transform_input_columns(function, specs)}
    columns = set(rows.Project(sorted(tensors)).ArrowSchema().names)
    part = _copy(schema)
    del part.feature[:]
    part.feature.extend(feature for feature in schema.feature if feature.name in columns)
    return part


def _copy(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """Return a copy: an updater may change it."""
    copy = schema_pb2.Schema()
    copy.CopyFrom(schema)
    return copy


def _vocabularies(graph: Path) -> dict[str, str]:
    """Return the paths of the vocabularies by their names, for features whose values are places in one."""
    names = graph / tft.TFTransformOutput.TRANSFORMED_METADATA_DIR / tft.TFTransformOutput.ASSET_MAP
    assets = graph / tft.TFTransformOutput.TRANSFORM_FN_DIR / tf.saved_model.ASSETS_DIRECTORY
    files: dict[str, str] = json.loads(names.read_text(encoding="utf-8")) if names.exists() else {}
    return {name: str(assets / file) for name, file in files.items()}
