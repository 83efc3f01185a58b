"""Computes, without Beam, the graph of nodes that TFT builds from a `preprocessing_fn`.

TFT traces the function and describes the analysis as a graph of nodes. In each phase, a SavedModel is applied to every
row, accumulators collect its outputs, and the merged accumulators become values. The next phase's model contains these
values as constants; the last model is the transform graph. `tensorflow_transform.beam` turns the nodes into a Beam
pipeline. `Analysis` computes them one after the other, and asks its caller for a pass over the data when a phase needs
one.

This is the only module that uses private parts of TFT; `tests/executors/test_tft_nodes.py` checks all of them against
the installed version.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform import analyzer_nodes, annotators, graph_tools, impl_helper, nodes, tf_utils
from tensorflow_transform.beam import analysis_graph_builder, analyzer_impls
from tensorflow_transform.tf_metadata import metadata_io
from tfx_bsl.public.tfxio import TensorAdapter, TensorAdapterConfig

from airflow_provider_mlpipe.components.transform.accumulators import (
    Accumulator,
    Analyzer,
    Combined,
    CombinedByKey,
    TokenCounts,
    TokenWeights,
)
from airflow_provider_mlpipe.components.transform.identity import analyzer_digest, called_functions, tensor_digests
from airflow_provider_mlpipe.components.transform.saved_graph import GraphPart
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.records.tfrecord import TFRecordWriter

to_arrow_converter = impl_helper.make_tensor_to_arrow_converter
"""From a transformed schema, makes a converter of a batch of tensors to an Arrow RecordBatch."""

NAMED_STATES: dict[str, type[tuple[Any, ...]]] = {
    "mean and variance": tft.analyzers.WeightedMeanAndVarCombiner.accumulator_class,
    "L-moments": tft.analyzers._LMomentsCombiner.accumulator_class,
}
"""The named tuples that combiners use as accumulators."""

_ORDERING = analyzer_impls._VocabOrderingType
_TOKENS: dict[int, Accumulator] = {_ORDERING.FREQUENCY: TokenCounts(), _ORDERING.WEIGHTED_FREQUENCY: TokenWeights()}
# Ops that call back into the process that traced them: no other process can run such a model.
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


Pass: TypeAlias = Callable[["str | GraphPart", Mapping[str, Analyzer]], Mapping[str, Any]]
"""Applies a SavedModel or a GraphPart to all rows. Takes this model and {label: analyzer}, returns {label: state}."""


def awaits_analyzers(graph: Any) -> bool:
    """Whether analyzers of a traced graph have no results yet: sizes that depend on them become known later."""
    return bool(graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS))


def nested_analyzers(graph: Any) -> Iterator[tf.Operation]:
    """Yield the op of each analyzer that was called in a function inside `graph`, such as a tf.function or a loop.

    TFT computes only the analyzers of the graph itself: any other keeps its placeholder's value.
    """
    found: dict[str, Any] = {}
    for _, inner in inner_graphs(graph):
        for sink in inner.get_collection(analyzer_nodes.ALL_REPLACEMENTS):
            if sink.tensor.graph is inner:  # not one of the caller, whose collections a function's graph may share
                found.setdefault(sink.tensor.name, sink.tensor.op)
    yield from found.values()


def traced(function: Callable[[Any], Any], inputs: TensorAdapterConfig, folder: str) -> tuple[Any, dict[str, Any]]:
    """Trace a preprocessing_fn. Return its graph, and its input features by name."""
    specs = TensorAdapter(inputs).OriginalTypeSpecs()
    graph, features, _ = impl_helper.trace_preprocessing_function(function, specs, False, folder)
    return graph, features


def inner_graphs(graph: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the ops of `graph` that call functions, with the graph of each function, and of those that it calls."""
    seen: set[str] = set()
    for operation in graph.get_operations():
        yield from ((operation, inner) for inner in _called(graph, operation, seen))


def _called(graph: Any, operation: Any, seen: set[str]) -> Iterator[Any]:
    called = itertools.chain.from_iterable(map(called_functions, operation.node_def.attr.values()))
    for name in {one.name for one in called} - seen:
        seen.add(name)
        inner = graph_tools.get_func_graph_for_name(graph, name)
        yield inner
        for below in inner.get_operations():
            yield from _called(inner, below, seen)


class Analysis:
    """A traced `preprocessing_fn`, and the analysis that its analyzers need.

    :param function: the preprocessing_fn
    :param inputs: the description of its input features
    :param folder: for temporary SavedModels and vocabularies

    `uncovered` names the first analyzer that cannot be computed here, or is None; `calls_python` says whether the graph
    calls back into this process, so that no other process can run it.

    Raises UserCodeError when the function has trainable variables.
    """

    def __init__(self, function: Callable[[Any], Any], inputs: TensorAdapterConfig, folder: Path) -> None:
        self._function, self._folder = function, folder
        self._specs = TensorAdapter(inputs).OriginalTypeSpecs()
        folder.mkdir(parents=True, exist_ok=True)
        graph, features, outputs = impl_helper.trace_preprocessing_function(function, self._specs, False, str(folder))
        _check_variables(graph)
        self._graph, self._features = graph, features
        self._sources = _sources(inputs, features)
        self._asset_map = annotators.get_asset_annotations(graph)
        annotators.clear_asset_annotations(graph)
        self._fingerprint = graph_tools.get_analyzers_fingerprint(graph, features)
        self._end, _, _ = analysis_graph_builder.build(graph, features, outputs)
        self._passes = _Inspection()
        nodes.Traverser(self._passes).visit_value_node(self._end)
        python = next(_python_calls(graph.as_graph_def()), None)
        self.calls_python = python is not None
        self.uncovered = python or self._passes.uncovered

    def run(self, over: Pass, output: Path) -> None:
        """Compute the graph, and write it to `output` as `tft.TFTransformOutput` reads it (without the raw schema)."""
        walk = _Walk(self, over)
        (path,) = nodes.Traverser(walk).visit_value_node(self._end)
        model = Path(path)
        inferred = impl_helper.METADATA_DIR_NAME
        metadata = metadata_io.read_metadata(str(model / inferred))
        shutil.copytree(model, output / tft.TFTransformOutput.TRANSFORM_FN_DIR, ignore=shutil.ignore_patterns(inferred))
        folder = output / tft.TFTransformOutput.TRANSFORMED_METADATA_DIR
        metadata_io.write_metadata(metadata, str(folder))
        if self._asset_map:
            (folder / tft.TFTransformOutput.ASSET_MAP).write_text(json.dumps(self._asset_map))


def _check_variables(graph: Any) -> None:
    variables = graph.get_collection(tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES)
    if variables:
        names = ", ".join(variable.name for variable in variables)
        raise UserCodeError(f"preprocessing_fn has trainable variables, but Transform does not train: {names}")


def _python_calls(graph: Any) -> Iterator[str]:
    operations = itertools.chain(graph.node, *(function.node_def for function in graph.library.function))
    return (f"{operation.op} {operation.name}" for operation in operations if operation.op in _PYTHON_OPS)


class _Inspection(nodes.Visitor):  # type: ignore[misc]
    """Finds the analyzers of each pass. A node's value is the label of its pass, and the names of its tensors."""

    def __init__(self) -> None:
        self.analyzers: dict[str, dict[str, Analyzer]] = defaultdict(dict)
        self.uncovered: str | None = None

    def validate_value(self, value: Any) -> None:
        """Any value is fine."""

    def visit(self, operation: Any, inputs: Sequence[Any]) -> Sequence[Any]:
        kind = type(operation).__name__
        if not _covers(operation, inputs):
            self.uncovered = self.uncovered or operation.label
        elif kind == "ApplySavedModel":
            return ((operation.label, ()),)
        elif kind == "ExtractFromDict" and inputs[0] is not None:
            return ((inputs[0][0], operation.keys),)
        elif kind.endswith("Accumulate"):
            self._accumulate(kind, operation, *inputs[0])
        return tuple(None for _ in range(operation.num_outputs))

    def _accumulate(self, kind: str, operation: Any, label: str, tensors: tuple[str, ...]) -> None:
        found = self.analyzers[label]
        if kind == "PackedCombineAccumulate":
            found |= {one.label: Analyzer(tuple(one.keys), Combined(one.combiner)) for one in operation.combiners}
        elif kind == "CacheableCombineAccumulate":
            found[operation.label] = Analyzer(tensors, Combined(operation.combiner))
        elif kind == "CacheableCombinePerKeyAccumulate":
            found[operation.label] = Analyzer(tensors, CombinedByKey(operation.combiner))
        else:
            found[operation.label] = Analyzer(tensors, _TOKENS[operation.vocab_ordering_type])


def _covers(operation: Any, inputs: Sequence[Any]) -> bool:
    """Whether a node can be computed here. One with a user's class or function cannot: only Beam can pickle those."""
    kind = type(operation).__name__
    combiners = [operation, *getattr(operation, "combiners", ())]
    combiners = [one.combiner for one in combiners if hasattr(one, "combiner")]
    return (
        hasattr(_Walk, kind)
        and not (kind.endswith("Accumulate") and inputs[0] is None)
        and getattr(operation, "vocab_ordering_type", _ORDERING.FREQUENCY) in _TOKENS
        and getattr(operation, "key_fn", None) is None
        and all(type(combiner).__module__.startswith(f"{tft.__name__}.") for combiner in combiners)
    )


class _Walk(nodes.Visitor):  # type: ignore[misc]
    """Computes the graph. Each kind of node has a method of the same name, from its input values to its output values.

    A value is a list, where Beam has a collection: of paths, states or merged outputs. A vocabulary is a list with one
    element, which is a list of (count or weight, token).
    """

    def __init__(self, analysis: Analysis, over: Pass) -> None:
        self._of, self._over = analysis, over
        self._models = itertools.count()

    def validate_value(self, value: Any) -> None:
        """Check that the value is a list."""
        assert isinstance(value, list), value

    def visit(self, operation: Any, inputs: Sequence[Any]) -> Sequence[Any]:
        values = getattr(self, type(operation).__name__)(operation, *inputs)
        return values if isinstance(values, tuple) else (values,)

    # ---- the models, and the passes over the data

    def CreateTensorBinding(self, op: Any, value: list[Any]) -> list[Any]:
        return [(op.tensor_name, tf.constant(value[0], tf.dtypes.as_dtype(op.dtype_enum)))]

    def CreateSavedModel(self, op: Any, *bindings: list[Any]) -> list[Any]:
        outputs = op.output_signature
        if not bindings and op.label.startswith("CreateSavedModelForAnalyzerInputs"):
            part = _part(self._of._graph, self._of._features, outputs)
            if part is not None:  # saves a second trace, and writing files
                return [part]
        path = self._of._folder / f"model-{next(self._models)}"
        plain = all(isinstance(tensor, tf.Tensor) for tensor in outputs.values())
        impl_helper.trace_and_write_v2_saved_model(
            str(path),
            self._of._function,
            self._of._specs,
            str(self._of._folder),
            self._of._fingerprint,
            dict(binding for (binding,) in bindings) if bindings else None,
            {key: tensor.name for key, tensor in outputs.items()} if plain else {},
            None,
        )
        return [str(path)]

    def ExtractInputForSavedModel(self, op: Any) -> list[Any]:
        return []

    def ApplySavedModel(self, op: Any, model: list[Any], data: list[Any]) -> list[Any]:
        analyzers = self._of._passes.analyzers[op.label]
        if isinstance(model[0], GraphPart):  # a second trace, for a SavedModel, might give another graph
            analyzers = self._with_digests(analyzers)
        return [self._over(model[0], analyzers)]

    def _with_digests(self, analyzers: Mapping[str, Analyzer]) -> dict[str, Analyzer]:
        tensor_digest = tensor_digests(self._of._graph, self._of._sources)
        return {label: replace(one, digest=analyzer_digest(one, tensor_digest)) for label, one in analyzers.items()}

    def ExtractFromDict(self, op: Any, value: list[Any]) -> list[Any]:
        """After a pass, return all states: an analyzer takes its own. After a packed combine, return one entry."""
        return value if isinstance(op.keys, tuple) else [value[0][op.keys]]

    # ---- accumulated by the pass

    def PackedCombineAccumulate(self, op: Any, states: list[Any]) -> list[Any]:
        return states

    def CacheableCombineAccumulate(self, op: Any, states: list[Any]) -> list[Any]:
        return [states[0][op.label]]

    CacheableCombinePerKeyAccumulate = CacheableCombineAccumulate
    VocabularyAccumulate = CacheableCombineAccumulate

    # ---- merged

    def AddKey(self, op: Any, value: list[Any]) -> list[Any]:
        return [(op.key, one) for one in value]

    def Flatten(self, op: Any, *values: list[Any]) -> list[Any]:
        return [one for value in values for one in value]

    def PackedCombineMerge(self, op: Any, keyed: list[Any]) -> list[Any]:
        states = defaultdict(list)
        for key, state in keyed:
            states[key].append(state)
        return [{one.label: _merged(one.combiner, states[one.keys[0]]) for one in op.combiners}]

    def CacheableCombineMerge(self, op: Any, states: list[Any]) -> list[Any]:
        return [_merged(op.combiner, states)]

    def _outputs(self, op: Any, value: list[Any]) -> tuple[list[Any], ...]:
        assert len(value[0]) == op.num_outputs, (op.label, len(value[0]))
        return tuple([output] for output in value[0])

    ExtractCombineMergeOutputs = _outputs
    ExtractPackedCombineMergeOutputs = _outputs

    def CacheableCombinePerKeyMerge(self, op: Any, states: list[Any]) -> list[Any]:
        merged = CombinedByKey(op.combiner).merge(states)
        return [{key: op.combiner.extract_output(state) for key, state in merged.items()}]

    def CacheableCombinePerKeyFormatKeys(self, op: Any, outputs: list[Any]) -> tuple[list[Any], ...]:
        dtypes = [info.dtype for info in op.combiner.output_tensor_infos()]
        return tuple([tagged.value] for tagged in analyzer_impls._merge_outputs_by_key(outputs[0].items(), dtypes))

    def CacheableCombinePerKeyFormatLarge(self, op: Any, outputs: list[Any]) -> list[Any]:
        text = tf.compat.as_str_any
        return [[(text(",".join(map(text, output))), key) for key, output in outputs[0].items()]]

    def ScaleAndFlattenPerKeyBucketBouandaries(self, op: Any, boundaries: list[Any]) -> tuple[list[Any], ...]:
        return tuple([joined] for joined in analyzer_impls._join_boundary_rows(boundaries[0]))

    # ---- vocabularies

    def VocabularyMerge(self, op: Any, states: list[Any]) -> list[Any]:
        merged = _TOKENS[op.vocab_ordering_type].merge(states)
        return [[(number, token) for token, number in merged.items()]]

    def VocabularyCount(self, op: Any, vocabulary: list[Any]) -> list[Any]:
        return [max(len(vocabulary[0]), 1)]  # an empty vocabulary gets a dummy token

    def VocabularyPrune(self, op: Any, vocabulary: list[Any]) -> list[Any]:
        (entries,) = vocabulary
        if op.frequency_threshold:
            entries = [(number, token) for number, token in entries if number >= op.frequency_threshold]
        if op.input_dtype != tf.string.name:
            entries = [(number, tf.compat.as_bytes(tf.compat.as_str_any(token))) for number, token in entries]
        if op.top_k is not None:
            entries = heapq.nlargest(op.top_k, entries)
            entries = analyzer_impls.maybe_add_empty_vocabulary_dummy(entries, op.input_dtype)
        return [entries]

    def ExtractVocabularyReservedTokens(self, op: Any) -> list[Any]:
        return list(tf_utils.fetch_vocabulary_reserved_tokens(self._of._graph, op.name))

    def VocabularyOrderAndWrite(self, op: Any, vocabulary: list[Any], reserved: Sequence[bytes] = ()) -> list[Any]:
        taken = set(reserved)
        entries = [entry for entry in vocabulary[0] if entry[1] not in taken]
        if op.fingerprint_shuffle:
            entries.sort(key=lambda entry: hashlib.sha1(entry[1], usedforsecurity=False).digest())
        else:
            entries.sort(reverse=True)
        entries = [*((-1, token) for token in reserved), *entries]
        entries = analyzer_impls.maybe_add_empty_vocabulary_dummy(entries, op.input_dtype)
        if op.store_frequency:
            lines = [f"{number} ".encode() + token for number, token in entries]
        else:
            lines = [token for _, token in entries]
        return [str(_write_vocabulary(self._of._folder / op.vocab_filename, lines, op.file_format))]


def _sources(inputs: TensorAdapterConfig, features: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Describe the inputs of a traced graph by op: the feature, its component, and how the feature is read."""
    sources = {}
    for name, feature in features.items():
        representation = inputs.tensor_representations[name].SerializeToString(deterministic=True)
        columns = [[one.name, str(one.type)] for one in inputs.arrow_schema if one.name.encode() in representation]
        for number, tensor in enumerate(tf.nest.flatten(feature, expand_composites=True)):
            sources[tensor.op.name] = [name, number, representation.hex(), columns]
    return sources


def _part(graph: Any, features: Mapping[str, Any], outputs: Mapping[str, tf.Tensor]) -> GraphPart | None:
    """Return the part of a traced graph from `features` to `outputs`; None if it needs a variable or other state."""
    components = {name: tf.nest.flatten(feature, expand_composites=True) for name, feature in features.items()}
    fed = {tensor.op for tensors in components.values() for tensor in tensors}
    seen, waiting = set(fed), [tensor.op for tensor in outputs.values()]
    while waiting:
        operation = waiting.pop()
        if operation in seen:
            continue
        if operation.type.startswith("Placeholder") or operation.op_def is None or operation.op_def.is_stateful:
            return None
        seen.add(operation)
        waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return GraphPart(
        graph.as_graph_def().SerializeToString(),
        tuple((name, tuple(tensor.name for tensor in tensors)) for name, tensors in components.items()),
        tuple((key, tensor.name) for key, tensor in outputs.items()),
    )


def _merged(combiner: Any, states: Sequence[Any]) -> Any:
    return combiner.extract_output(combiner.merge_accumulators(list(states)))


def _write_vocabulary(path: Path, lines: Sequence[bytes], file_format: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if file_format == "tfrecord_gzip":
        path = path.with_name(f"{path.name}.tfrecord.gz")
        with TFRecordWriter(path) as writer:
            writer.write(lines)
    else:
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path
