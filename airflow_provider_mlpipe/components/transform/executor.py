"""Transform's executor: analyzes the data, then applies the resulting graph to every record.

On one machine, forks do both, and `tft_nodes` does the analysis if it covers every analyzer. For other analyzers, and
on a Beam runner, TFT's own code does the analysis.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.records import keras3  # noqa: F401  (before tensorflow)
from airflow_provider_mlpipe.storage.layout import folder_of

# isort: split
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TensorAdapterConfig

from airflow_provider_mlpipe.artifacts import (
    ExampleAnomalies,
    Examples,
    ExampleStatistics,
    Schema,
    TransformCache,
    TransformGraph,
)
from airflow_provider_mlpipe.components.transform.accumulators import Analyzer
from airflow_provider_mlpipe.components.transform.analyzer_cache import AnalyzerCache
from airflow_provider_mlpipe.components.transform.beam_analysis import analyze_on_beam
from airflow_provider_mlpipe.components.transform.graph_errors import explained
from airflow_provider_mlpipe.components.transform.kernel import AnalyzersKernel
from airflow_provider_mlpipe.components.transform.materialize import Transformation, Written, write_pieces
from airflow_provider_mlpipe.components.transform.saved_graph import GraphPart, SavedGraph, UserModule, adapter_config
from airflow_provider_mlpipe.components.transform.statistics import UPDATER, OptionsUpdater, Outputs, Statistician
from airflow_provider_mlpipe.components.transform.tft_nodes import Analysis
from airflow_provider_mlpipe.components.transform.user_function import UserPreprocessing
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.execution.user_code import load_function, optional_functions
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SplitsConfig
from airflow_provider_mlpipe.records.beam import temporary_folder
from airflow_provider_mlpipe.records.engine import Chunk, Source, fork_aside, names_runner, run_kernels
from airflow_provider_mlpipe.records.inputs import read_schema, write_schema
from airflow_provider_mlpipe.records.pieces import Piece, pieces_of
from airflow_provider_mlpipe.records.saved_model import canonicalize
from airflow_provider_mlpipe.records.tfrecord import examples_digest, read_records

log = logging.getLogger(__name__)


def run(
    *,
    examples: Sequence[Examples],
    schema: Schema,
    analyzer_cache: TransformCache | None,
    module_file: str | None,
    preprocessing_fn: str | None,
    custom_config: Mapping[str, Any] | None,
    splits_config: Mapping[str, Any] | None,
    disable_analyzer_cache: bool,
    disable_statistics: bool,
    stats_options_updater_fn: str | None,
    transform_graph: TransformGraph,
    transformed_examples: Sequence[Examples],
    updated_analyzer_cache: TransformCache,
    pre_transform_stats: ExampleStatistics | None = None,
    pre_transform_schema: Schema | None = None,
    post_transform_stats: ExampleStatistics | None = None,
    post_transform_schema: Schema | None = None,
    post_transform_anomalies: ExampleAnomalies | None = None,
    context: ExecutorContext,
) -> dict[str, list[Produced]]:
    """Write the transform graph as `tft.TFTransformOutput` reads it, and the transformed splits in input order.

    With `disable_statistics`, the last five outputs are None. Equal input gives equal bytes. Raises InvalidInputError
    for an unknown or empty split, and UserCodeError for a preprocessing_fn that is missing, raises, or returns anything
    but tensors with a value for each row, and for errors of a stats_options_updater_fn.
    """
    config = parse_config(SplitsConfig, splits_config, parameter="splits_config")
    analyzed = pieces_of(examples, config.analyze or ["train"], parameter="splits_config.analyze")
    transformed = pieces_of(examples, config.transform, parameter="splits_config.transform")
    output_of = {id(one): output for one, output in zip(examples, transformed_examples, strict=True)}
    outputs = {piece.name: replace(piece, examples=output_of[id(piece.examples)]) for piece in transformed}
    raw = _RawExamples(read_schema(schema), UserModule(module_file, preprocessing_fn))
    cache = None if disable_analyzer_cache else AnalyzerCache(analyzer_cache, updated_analyzer_cache)

    with fork_aside(context) as aside:  # fork now: from here on, TensorFlow runs in this process
        function = UserPreprocessing(raw.user_module.load(), custom_config)
        updater = OptionsUpdater(_updater_function(raw.user_module, stats_options_updater_fn), custom_config)
        over = _Pass(raw, analyzed, cache, aside, context)
        with explained(function, raw.adapter_config):
            only_here = _analyze(over, function, folder_of(transform_graph))
            output = tft.TFTransformOutput(str(folder_of(transform_graph)))
            graph = raw.graph(output.transform_savedmodel_dir)
            transformation = Transformation(graph, output.transformed_metadata.schema.SerializeToString())
            sources = {piece.name: raw.sources([piece]) for piece in transformed}
            if only_here or names_runner(context.beam_pipeline_args):
                written = write_pieces(transformation, sources, outputs, context, in_this_process=only_here)
            else:
                written = aside(write_pieces, transformation, sources, outputs, context)

        for piece in transformed:
            _check_count(piece, written[piece.name].count)
        statistician = Statistician(updater, aside, context)
        if pre_transform_stats and pre_transform_schema:
            before = Outputs(pre_transform_stats, pre_transform_schema)
            statistician.before(analyzed, raw.schema, function, before)
        if post_transform_stats and post_transform_schema:
            after = Outputs(post_transform_stats, post_transform_schema, post_transform_anomalies)
            statistician.after(list(outputs.values()), transform_graph, after)

    for piece in transformed:
        if not written[piece.name].count:
            log.warning("The split %r of %s has no records", piece.split, folder_of(piece.examples))
    log.info("Transformed %s", ", ".join(f"{one.count:,} records of {name}" for name, one in written.items()))
    return {
        "transformed_examples": [
            _produced(one, {piece.split: written[piece.name] for piece in transformed if piece.examples is one})
            for one in examples
        ]
    }


def _produced(examples: Examples, written: Mapping[str, Written]) -> Produced:
    counts = {split: one.count for split, one in written.items()}
    return Produced(
        properties={**examples.properties, "splits": list(written), "record_counts": counts},
        digest=examples_digest({split: one.digest for split, one in written.items()}),
    )


def _updater_function(module: UserModule, name: str | None) -> Callable[..., Any] | None:
    """Return the user's function that updates the options of the statistics: the module's own, or the named one."""
    if name is not None:
        return load_function(None, name, UPDATER)
    return optional_functions(module.module_file, [UPDATER]).get(UPDATER) if module.module_file is not None else None


def _check_count(piece: Piece, count: int) -> None:
    """Check that a piece has as many records as its producer wrote."""
    expected = piece.examples.properties.get("record_counts", {}).get(piece.split, count)
    if expected != count:
        raise InvalidInputError(
            f"{piece.examples.uri}: {count:,} records of the split {piece.split!r} were read, of {expected:,} that its "
            f"producer wrote; create the examples again"
        )


@dataclass(frozen=True)
class _RawExamples:
    """The schema to read the examples with, and the user's module."""

    schema: schema_pb2.Schema
    user_module: UserModule

    @property
    def adapter_config(self) -> TensorAdapterConfig:
        return adapter_config(self.schema)

    def sources(self, pieces: Sequence[Piece]) -> list[Source[Chunk]]:
        schema = self.schema.SerializeToString()
        return [source for piece in pieces for source in piece.sources(schema=schema)]

    def graph(self, graph: str | GraphPart) -> SavedGraph:
        return SavedGraph(graph, self.schema.SerializeToString(), self.user_module)


@dataclass(frozen=True)
class _Pass:
    """A pass over the analyzed pieces: takes each analyzer's state of a piece from the cache or computes it.

    The states of whole pieces are merged in the order of the pieces, no matter where a state comes from.
    """

    raw: _RawExamples
    pieces: Sequence[Piece]
    cache: AnalyzerCache | None
    aside: Callable[..., Any]
    context: ExecutorContext

    def __call__(self, graph: str | GraphPart, analyzers: Mapping[str, Analyzer]) -> Mapping[str, Any]:
        known = {piece: self.cache.find(piece, analyzers) if self.cache else {} for piece in self.pieces}
        missing = {
            piece: {label: one for label, one in analyzers.items() if label not in states}
            for piece, states in known.items()
        }
        computed = self._computed(graph, {piece: some for piece, some in missing.items() if some})
        if self.cache:
            for piece in missing:
                self.cache.keep(piece, analyzers, computed.get(piece.name, {}))
        whole = AnalyzersKernel(self.raw.graph(graph), analyzers)
        return whole.merge({**known[piece], **computed.get(piece.name, {})} for piece in self.pieces)

    def _computed(self, graph: str | GraphPart, missing: Mapping[Piece, Mapping[str, Analyzer]]) -> dict[str, Any]:
        """The states that are missing, by the names of the pieces."""
        kernels = {
            piece.name: AnalyzersKernel(self._part(graph, some), some, piece.name) for piece, some in missing.items()
        }
        sources = {piece.name: self.raw.sources([piece]) for piece in missing}
        computed: dict[str, Any] = self.aside(run_kernels, kernels, sources, self.context)
        return computed

    def _part(self, graph: str | GraphPart, analyzers: Mapping[str, Analyzer]) -> SavedGraph:
        tensors = {name for analyzer in analyzers.values() for name in analyzer.tensors}
        return self.raw.graph(graph.only(tensors) if isinstance(graph, GraphPart) else graph)


def _analyze(over: _Pass, function: UserPreprocessing, output: Path) -> bool:
    """Write the transform graph of the pieces to `output`, and return whether only this process can run it."""
    _check_not_empty(over.pieces)
    with temporary_folder(over.context) as folder:
        only_here = _write_graph(over, function, folder, output)
        canonicalize(output / tft.TFTransformOutput.TRANSFORM_FN_DIR, temporary=folder)
    raw_metadata = output / tft.TFTransformOutput.RAW_METADATA_DIR
    raw_metadata.mkdir()
    write_schema(Schema(uri=str(raw_metadata)), over.raw.schema)  # for `TFTransformOutput.raw_feature_spec`
    return only_here


def _check_not_empty(pieces: Sequence[Piece]) -> None:
    files = [path for piece in pieces for path in piece.files]
    if not any(True for path in files for _ in read_records(path)):
        raise InvalidInputError(
            f"splits_config.analyze: {files[0].parent} has no records, so nothing can be analyzed; name a split "
            f"that has some"
        )


def _write_graph(over: _Pass, function: UserPreprocessing, folder: str, output: Path) -> bool:
    raw, beam_pipeline_args = over.raw, over.context.beam_pipeline_args

    def by_tft() -> None:
        log.info("Analyzer cache: not used, because TFT does the analysis")
        if over.cache:
            over.cache.pass_on()
        analyze_on_beam(function, raw.sources(over.pieces), raw.adapter_config, folder, output, beam_pipeline_args)

    if names_runner(beam_pipeline_args):
        log.info("TFT analyzes on Beam, because beam_pipeline_args name a runner")
        by_tft()
        return False
    analysis = Analysis(function, raw.adapter_config, Path(folder))
    if analysis.uncovered:
        log.info("TFT analyzes on Beam in this process, because only TFT computes %s", analysis.uncovered)
        by_tft()
        return analysis.calls_python
    analysis.run(over, output)
    log.info("Analyzer cache: %s", over.cache or "not used, because disable_analyzer_cache is set")
    return False
