"""TFMA's metrics as plain values, for each slice in `summary.json`.

The messages are those of metrics_for_slice.proto. They have the type `Any`, because this module does not import TFMA.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

OVERALL = "Overall"

Slice = dict[str, Any]
"""`{"slice": name, "metrics": {metric: number or None}}`; None stands for NaN and infinities, which JSON lacks."""


def slices(metrics: Iterable[Any], *, model_name: str) -> list[Slice]:
    """List the numeric metrics of a model by slice, from MetricsForSlice messages; the overall slice comes first."""
    named = [{"slice": slice_name(one), "metrics": _metrics_of(one, model_name)} for one in metrics]
    return sorted(named, key=lambda one: (one["slice"] != OVERALL, one["slice"]))


def slice_name(message: Any) -> str:
    """Name the slice of a message that has `slice_key` or `cross_slice_key`, e.g. `Overall` or `origin=JFK`."""
    if message.HasField("cross_slice_key"):
        pair = message.cross_slice_key
        return f"{_key_name(pair.baseline_slice_key)} against {_key_name(pair.comparison_slice_key)}"
    return _key_name(message.slice_key)


def spec_name(spec: Any) -> str:
    """Name the slices that a SlicingSpec selects, in the same way."""
    parts = [f"{name}={value}" for name, value in sorted(spec.feature_values.items())]
    return ", ".join([*parts, *spec.feature_keys]) or OVERALL


def metric_name(key: Any) -> str:
    """Name a metric: its output, if it has one, its name, and its class or rank, if it has one."""
    of = [f"{field.name}={value.value}" for field, value in key.sub_key.ListFields()]
    output = [key.output_name] if key.output_name else []
    return "/".join([*output, key.name, *of])


def number(value: float) -> float | None:
    """Return a finite number, or None for NaN and infinities."""
    return float(value) if math.isfinite(value) else None


def _metrics_of(message: Any, model_name: str) -> dict[str, float | None]:
    pairs = [one for one in message.metric_keys_and_values if one.key.model_name == model_name and not one.key.is_diff]
    found = {metric_name(one.key): _numeric(one.value) for one in pairs if _is_numeric(one.value)}
    return dict(sorted(found.items()))


def _is_numeric(value: Any) -> bool:
    return value.WhichOneof("type") in ("double_value", "bounded_value")


def _numeric(value: Any) -> float | None:
    if value.WhichOneof("type") == "bounded_value":
        return number(value.bounded_value.value.value)
    return number(value.double_value.value)


def _key_name(slice_key: Any) -> str:
    parts = [f"{part.column}={_feature_value(part)}" for part in slice_key.single_slice_keys]
    return ", ".join(parts) or OVERALL


def _feature_value(part: Any) -> str:
    value = getattr(part, part.WhichOneof("kind"))
    return value.decode("utf-8", errors="backslashreplace") if isinstance(value, bytes) else f"{value:g}"
