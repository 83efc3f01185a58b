"""Writes the anomalies file, in the format that TFX's components write; adds anomalies to TFDV's; describes them."""

from __future__ import annotations

import logging
from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2

log = logging.getLogger(__name__)

ANOMALIES_FILE = "SchemaDiff.pb"
_SEVERAL = "Multiple errors"
"""What TFDV writes as the short description of several reasons."""

WHOLE_SPLIT = "(whole split)"
"""Replaces the feature's name for an anomaly of the whole split, such as too few examples."""

Described = dict[str, list[dict[str, str]]]
"""The `severity`, `short` and `description` of each anomaly, by feature."""


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


def add_not_compared(found: anomalies_pb2.Anomalies, feature: str | None, problem: str) -> None:
    """Add the anomaly that a feature, or for None all examples together, could not be compared."""
    keys = (key for key, each in found.anomaly_info.items() if list(each.path.step) == [feature])
    key, kind = next(keys, feature), anomalies_pb2.AnomalyInfo.STATS_NOT_AVAILABLE
    add_reason(found, key, severity="ERROR", kind=kind, short="Not compared", description=f"{problem}.")
    if key is not None and feature is not None:
        found.anomaly_info[key].path.step[:] = [feature]


def describe(anomalies: anomalies_pb2.Anomalies) -> Described:
    """Return the anomalies by feature, in the order of their names; that of the whole split comes last."""
    described = {feature: _reasons(anomalies.anomaly_info[feature]) for feature in sorted(anomalies.anomaly_info)}
    if anomalies.HasField("dataset_anomaly_info"):
        described[WHOLE_SPLIT] = _reasons(anomalies.dataset_anomaly_info)
    return described


def log_anomalies(where: str, described: Described) -> None:
    """Log a warning of each anomaly; `where` is what has them, such as `split train`."""
    log.info("%s: %s", where, f"anomalies in {len(described)} features" if described else "no anomalies")
    for feature, reasons in described.items():
        for reason in reasons:
            log.warning("%s, %s: %s: %s", where, feature, reason["short"], reason["description"])


def _reasons(info: anomalies_pb2.AnomalyInfo) -> list[dict[str, str]]:
    severity = anomalies_pb2.AnomalyInfo.Severity.Name(info.severity)
    return [
        {"severity": severity, "short": reason.short_description, "description": reason.description}
        for reason in info.reason or [info]
    ]
