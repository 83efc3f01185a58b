"""Writes the anomalies file, in the format that TFX's components write."""

from __future__ import annotations

from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2

ANOMALIES_FILE = "SchemaDiff.pb"


def write_anomalies(folder: Path, found: anomalies_pb2.Anomalies) -> None:
    """Write a binary tensorflow.metadata.v0.Anomalies; equal anomalies give equal bytes."""
    (folder / ANOMALIES_FILE).write_bytes(found.SerializeToString(deterministic=True))
