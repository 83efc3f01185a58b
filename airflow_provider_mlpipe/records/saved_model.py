"""Checks that a model has a SavedModel, and rewrites SavedModels so that equal models have equal bytes.

Three things differ between runs of the same code on the same data. TFT uses the path of a vocabulary in the temporary
folder as the name of its lookup table, or as a constant. TensorFlow lists the nodes of some functions in the order of
memory addresses. TensorFlow 2.21 draws a uuid for each model that it saves. None of them changes the model: a loaded
table gets its own name, and reads the vocabulary that is saved with the model; a node refers to others by name; nobody
looks for the uuid.
Format: tensorflow/core/protobuf/saved_model.proto, tensorflow/core/protobuf/fingerprint.proto and
tensorflow/core/framework/function.proto.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from tensorflow.core.framework import attr_value_pb2, node_def_pb2
from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.layout import folder_of, serving_model

_FILES = ("saved_model.pb", "saved_model.pbtxt")
_FINGERPRINT = "fingerprint.pb"


def check_serving_model(model: Model) -> None:
    """Raise InvalidInputError, with the remedy, unless a model has a SavedModel to serve."""
    folder = serving_model(model)
    if any((folder / name).is_file() for name in _FILES):
        return
    elsewhere = sorted(path.parent for name in _FILES for path in folder_of(model).rglob(name))
    found = f"; there is one in {elsewhere[0]}, from where it can be copied" if elsewhere else ""
    raise InvalidInputError(
        f"Model {model.uri} has no SavedModel in {folder.name}/{found}. Trainer's run_fn saves it to "
        f"fn_args.serving_model_dir itself, not to a folder below; a model for Importer has it in {folder.name}/"
    )


def canonicalize(saved_model: Path, *, temporary: str) -> None:
    """Rewrite `saved_model.pb` in canonical form: ordered functions and nodes, and no mention of `temporary`.

    Removes `fingerprint.pb`, an optional checksum of the former bytes.
    """
    path = saved_model / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in model.meta_graphs:
        graph = meta_graph.graph_def
        _forget(graph.node, temporary.encode())
        for function in graph.library.function:
            _forget(function.node_def, temporary.encode())
            function.node_def.sort(key=lambda node: node.name)
        graph.library.function.sort(key=lambda function: function.signature.name)
    path.write_bytes(model.SerializeToString(deterministic=True))
    (saved_model / _FINGERPRINT).unlink(missing_ok=True)


def settle_uuid(saved_model: Path) -> None:
    """Make the uuid in `fingerprint.pb` one that depends on the model's checksums; TensorFlow 2.16 writes none."""
    path = saved_model / _FINGERPRINT
    if not path.is_file() or "uuid" not in fingerprint_pb2.FingerprintDef.DESCRIPTOR.fields_by_name:
        return
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    fingerprint.ClearField("uuid")
    checksums = fingerprint.SerializeToString(deterministic=True)
    fingerprint.uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, checksums.hex()))
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))


def _forget(nodes: Iterable[node_def_pb2.NodeDef], temporary: bytes) -> None:
    for value in _attributes(nodes):
        if temporary in value.s:
            value.s = value.s.replace(temporary, b"tmp")
        for place, text in enumerate(value.tensor.string_val):
            if temporary in text:
                value.tensor.string_val[place] = text.replace(temporary, b"tmp")


def _attributes(nodes: Iterable[node_def_pb2.NodeDef]) -> Iterator[attr_value_pb2.AttrValue]:
    for node in nodes:
        yield from node.attr.values()
