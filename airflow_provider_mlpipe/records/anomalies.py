"""Writes the anomalies file, in the format that TFX's components write, and adds anomalies to those of TFDV."""

from __future__ import annotations

from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2

ANOMALIES_FILE = "SchemaDiff.pb"
_SEVERAL = "Multiple errors"
"""What TFDV writes as the short description of several reasons."""


def write_anomalies(folder: Path, found: anomalies_pb2.Anomalies) -> None:
    """Write a binary tensorflow.metadata.v0.Anomalies; equal anomalies give equal bytes."""
    (folder / ANOMALIES_FILE).write_bytes(found.SerializeToString(deterministic=True))


def add_reason(
    found: anomalies_pb2.Anomalies, name: str | None, *, severity: str, kind: int, short: str, description: str
) -> None:
    """Add a reason to the anomaly of this name, a feature's or another; None is that of all examples together.

    It keeps the worst of the severities. `kind` is an AnomalyInfo.Type.
    """
    info = found.dataset_anomaly_info if name is None else found.anomaly_info[name]
    info.severity = max(info.severity, anomalies_pb2.AnomalyInfo.Severity.Value(severity))
    info.reason.add(type=kind, short_description=short, description=description)
    info.short_description = _SEVERAL if len(info.reason) > 1 else short
    info.description = " ".join(reason.description.strip() for reason in info.reason)
