"""Identifies an analyzer by a digest of its settings and of the part of the traced graph that computes its inputs.

Analyzers with equal digests compute equal states from equal rows. An analyzer for which this is not certain has no
digest. Names of ops do not count: TensorFlow numbers them, and an edit elsewhere changes the numbers. The bodies of
functions count.
"""

from __future__ import annotations

import functools
import graphlib
import json
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from airflow_provider_mlpipe.components.transform.accumulators import Analyzer
from airflow_provider_mlpipe.storage.digests import text_digest

# Ops that TensorFlow declares stateless, although they read files or draw random numbers.
_NOT_PURE = re.compile("Dataset|File|Proto|Vocab|Fractional")
# Attributes that say where an op comes from, not what it does.
_LABELS = {"_class", "_gradient_op_type", "_output_shapes", "_user_specified_name"}
_KNOWN = {"airflow_provider_mlpipe", "builtins", "numpy", "tensorflow_transform"}

Digests: TypeAlias = dict[str, str | None]


def tensor_digests(graph: tf.Graph, sources: Mapping[str, Any]) -> Callable[[str], str | None]:
    """Return a function from a tensor's name, as TFT writes it, to the tensor's digest, or None if it has no digest.

    `sources` describes the inputs of the graph as JSON values, by op. An op has a digest if it, and every op before it,
    is one of TensorFlow's own ops, is stateless and is deterministic. Variables and tables have no digest.
    """
    definition = graph.as_graph_def()
    functions = _Functions(definition.library.function)
    given: Digests = {op: _digest("source", source) for op, source in sources.items()}
    digests = _node_digests(definition.node, given, functions)
    return lambda name: _input_digest(name, digests)


def analyzer_digest(analyzer: Analyzer, tensor_digest: Callable[[str], str | None]) -> str | None:
    """Return the digest of an analyzer; None if a tensor has no digest, or a setting has an unsupported type."""
    tensors = [tensor_digest(name) for name in analyzer.tensors]
    try:
        return None if None in tensors else _digest("analyzer", tensors, _described(analyzer.accumulator))
    except TypeError:
        return None


def called_functions(attribute: Any) -> list[Any]:
    """Return the functions that an op's attribute names, as NameAttrLists."""
    return [*([attribute.func] if attribute.HasField("func") else []), *attribute.list.func]


class _Functions:
    """The digests of the functions that a graph calls."""

    def __init__(self, definitions: Iterable[Any]) -> None:
        self._definitions = {one.signature.name: one for one in definitions}
        self.digest = functools.cache(self._digest)

    def _digest(self, name: str) -> str | None:
        if name not in self._definitions:
            return None
        function = self._definitions[name]
        signature = function.signature
        arguments: Digests = {one.name: _digest("argument", place) for place, one in enumerate(signature.input_arg)}
        nodes = _node_digests(function.node_def, arguments, self)
        returned = [_input_digest(function.ret[one.name], nodes) for one in signature.output_arg]
        returned += _sorted(nodes.get(function.control_ret[one]) for one in signature.control_output)
        kinds = [[one.type for one in both] for both in (signature.input_arg, signature.output_arg)]
        attributes = _attributes(function.attr, self)
        return None if None in (*returned, attributes) else _digest("function", kinds, attributes, returned)


def _node_digests(nodes: Iterable[Any], given: Digests, functions: _Functions) -> Digests:
    """Return digests by name of node; the nodes can be in any order."""
    by_name = {node.name: node for node in nodes if node.name not in given}
    before = {name: [_op(one) for one in node.input] for name, node in by_name.items()}
    digests = dict(given)
    try:
        for name in graphlib.TopologicalSorter(before).static_order():
            if name in by_name:
                digests[name] = _node_digest(by_name[name], digests, functions)
    except graphlib.CycleError:  # a loop of TensorFlow 1
        return {}
    return digests


def _node_digest(node: Any, digests: Digests, functions: _Functions) -> str | None:
    inputs = [_input_digest(name, digests) for name in node.input if not name.startswith("^")]
    inputs += _sorted(digests.get(_op(name)) for name in node.input if name.startswith("^"))
    attributes = _attributes(node.attr, functions)
    if not _is_pure(node.op) or None in (*inputs, attributes):
        return None
    return _digest("node", node.op, node.device, attributes, inputs)


def _sorted(digests: Iterable[str | None]) -> list[str | None]:
    return sorted(digests, key=str)


def _op(name: str) -> str:
    return name.removeprefix("^").partition(":")[0]


def _input_digest(name: str, digests: Digests) -> str | None:
    """Return the digest of `op` or `op:1`; in a function, of `argument` or `op:output:0`."""
    digest = digests.get(_op(name))
    return digest and f"{digest}:{name.partition(':')[2] or 0}"


def _is_pure(op: str) -> bool:
    registered = op_def_registry.get(op)
    is_own = registered is not None and hasattr(tf.raw_ops, op)
    return is_own and not (registered.is_stateful or op.startswith("Placeholder") or _NOT_PURE.search(op))


def _attributes(attributes: Mapping[str, Any], functions: _Functions) -> list[Any] | None:
    """Return names and values, with digests in place of functions; None if a function has no digest."""
    found = []
    for name in sorted(set(attributes) - _LABELS):
        value = type(attributes[name])()
        value.CopyFrom(attributes[name])
        for called in called_functions(value):
            digest = functions.digest(called.name)
            if digest is None:
                return None
            called.name = digest
        found.append([name, value.SerializeToString(deterministic=True).hex()])
    return found


def _described(value: Any, owner: Any = None) -> Any:
    """Return a JSON form, which differs for different values; raises TypeError for a value of an unsupported type."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise TypeError(f"an array of objects: {value}")
        return ["array", value.dtype.str, list(value.shape), value.tobytes().hex()]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [type(value).__name__, *(_described(one) for one in value)]
    if isinstance(value, dict):
        return ["dict", *([_described(key), _described(one, owner)] for key, one in value.items())]
    if isinstance(value, functools.partial):
        return ["partial", _described(value.func), _described(value.args), _described(value.keywords)]
    if isinstance(value, types.MethodType) and value.__self__ is owner:
        return ["method", _known_name(value.__func__)]
    if hasattr(value, "__qualname__"):  # a class, or a function
        return ["name", _known_name(value)]
    return ["object", _known_name(type(value)), _described(vars(value), value)]


def _known_name(value: Any) -> str:
    """Return the import path of a class or function; raises TypeError unless one of the known libraries defines it."""
    module, name = value.__module__, value.__qualname__
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value or module.partition(".")[0] not in _KNOWN:
        raise TypeError(f"{value} is not defined by a known library")
    return f"{module}.{name}"


def _digest(*parts: Any) -> str:
    return text_digest(json.dumps(parts))
