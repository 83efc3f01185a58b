"""The verdict on a model: TFMA's ValidationResult in words.

The messages are those of validation_result.proto and config.proto. They have the type `Any`, because this module does
not import TFMA.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_provider_mlpipe.components.evaluator.summary import metric_name, number, slice_name, spec_name

_NAMED_IN_REASON = 10
_NO_EXAMPLE = "has a threshold, but no example"
_NO_SLICE = "has a threshold, but slicing_specs do not make this slice; add it there"
_FIRST_MODEL = "no baseline model in this run, so change thresholds were skipped"
_NOT_COMPUTED = "was not computed, but has a threshold; give it in metrics, with the threshold beside its class_name"
_LOWER_IS_BETTER = 1  # MetricDirection of config.proto


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A threshold that was not met. `bound` is its name, `threshold` its number; both are None if not known."""

    slice: str
    metric: str | None = None
    value: float | None = None
    bound: str | None = None
    threshold: float | None = None
    message: str = ""

    def __str__(self) -> str:
        if self.bound is None or self.value is None:
            return f"{self.slice}: {self.metric or ''} {self.message}".replace(":  ", ": ").rstrip()
        return f"{self.slice}: {self.metric} {self.value:.6g} fails {self.bound} {self.threshold:.6g}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model is blessed, why, and each threshold that it failed."""

    blessed: bool
    reason: str
    failures: list[Failure]

    @classmethod
    def of(cls, result: Any, slicing_specs: Sequence[Any] = (), *, skipped_change_thresholds: bool) -> Verdict:
        """Read the verdict from a ValidationResult of an evaluation by `slicing_specs`."""
        found = _failures(result, slicing_specs)
        failures = sorted(found, key=lambda one: (one.slice, one.metric or "", one.bound or ""))
        reason = _reason(result, failures)
        if skipped_change_thresholds:
            reason = f"{reason}; {_FIRST_MODEL}"
        return cls(blessed=result.validation_ok, reason=reason, failures=failures)

    def to_dict(self) -> dict[str, Any]:
        """Return the plain form for `summary.json`."""
        return asdict(self)


def _reason(result: Any, failures: list[Failure]) -> str:
    if result.missing_thresholds:
        return "eval_config has no threshold, so nothing was checked; add thresholds, or set rubber_stamp"
    if failures:
        more = len(failures) - _NAMED_IN_REASON
        named = [str(failure) for failure in failures[:_NAMED_IN_REASON]]
        return "; ".join([*named, *([f"and {more} more"] if more > 0 else [])])
    if not result.validation_ok:
        return "there was no example to evaluate"
    if not result.validation_details.slicing_details:
        return "there was no threshold to check"
    return "every threshold is met"


def _failures(result: Any, slicing_specs: Sequence[Any]) -> Iterator[Failure]:
    named = set()
    for validation in result.metric_validations_per_slice:
        name = slice_name(validation)
        named.add(name)
        for failure in validation.failures:
            yield from _failed_bounds(name, failure)
    missing = {spec_name(spec): _why_missing(spec, slicing_specs) for spec in result.missing_slices}
    missing |= {
        f"{spec_name(spec.baseline_spec)} against {spec_name(other)}": _NO_EXAMPLE
        for spec in result.missing_cross_slices
        for other in spec.slicing_specs
    }
    for name, why in missing.items():
        if name not in named:
            yield Failure(slice=name, message=why)


def _why_missing(wanted: Any, slicing_specs: Sequence[Any]) -> str:
    return _NO_EXAMPLE if any(_makes(spec, wanted) for spec in slicing_specs) else _NO_SLICE


def _makes(spec: Any, wanted: Any) -> bool:
    """Whether slicing by a spec makes the slices of a threshold's spec; one in SQL may make any."""
    if spec.slice_keys_sql:
        return True
    same = {*spec.feature_keys, *spec.feature_values} == {*wanted.feature_keys, *wanted.feature_values}
    return same and all(wanted.feature_values.get(key, value) == value for key, value in spec.feature_values.items())


def _failed_bounds(slice_of: str, failure: Any) -> Iterator[Failure]:
    name = metric_name(failure.metric_key)
    if not failure.HasField("metric_value"):
        yield Failure(slice=slice_of, metric=name, message=_NOT_COMPUTED)
        return
    value = failure.metric_value.double_value.value
    unclear = " ".join(failure.message.split())  # TFMA could not compare, and says why
    message = unclear or ("" if number(value) is not None else f"is {value}")
    failed = Failure(slice=slice_of, metric=name, value=number(value), message=message)
    bounds = [] if unclear else list(_violated(failure.metric_threshold, value))
    yield from [replace(failed, bound=bound, threshold=threshold) for bound, threshold in bounds] or [failed]


def _violated(threshold: Any, value: float) -> Iterator[tuple[str, float]]:
    """Name the bounds of a threshold that `value` does not meet (a NaN meets none)."""
    if threshold.HasField("value_threshold"):
        bounds = threshold.value_threshold
        if bounds.HasField("lower_bound") and not value >= bounds.lower_bound.value:
            yield "lower_bound", bounds.lower_bound.value
        if bounds.HasField("upper_bound") and not value <= bounds.upper_bound.value:
            yield "upper_bound", bounds.upper_bound.value
        return
    change = threshold.change_threshold
    limit = change.absolute.value
    absolute_met = value <= limit if change.direction == _LOWER_IS_BETTER else value >= limit
    if change.HasField("absolute") and not absolute_met:
        yield "absolute change", limit
    elif change.HasField("relative"):
        yield "relative change", change.relative.value
