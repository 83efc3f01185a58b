"""Checks a DistributionValidatorConfig, as far as it is known without the statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_mlpipe.exceptions import InvalidValueError

_COMPARATORS = ("infinity_norm", "jensen_shannon_divergence", "normalized_abs_difference")
_UP_TO_ONE = _COMPARATORS[:2]


def check_config(config: Mapping[str, Any]) -> None:
    """Raises InvalidValueError for a config that compares nothing, or has a comparison that would never fail.

    A value that is known only later, such as a RuntimeParameter, is not looked at.
    """
    wanted = config.get("default_slice_config", {})
    features, fractions = wanted.get("feature", []), wanted.get("num_examples_comparator")
    if fractions == {}:
        raise InvalidValueError(
            "config.default_slice_config.num_examples_comparator needs a min_fraction_threshold or a "
            "max_fraction_threshold; without one it compares nothing"
        )
    if not features and not fractions:
        raise InvalidValueError(
            "config compares nothing; list features in default_slice_config.feature, or give a "
            "default_slice_config.num_examples_comparator"
        )
    seen: dict[str, int] = {}
    for place, feature in enumerate(features):
        where = f"config.default_slice_config.feature[{place}]"
        if (name := _name(feature, where)) is None:
            continue
        _check_comparators(feature.get("distribution_comparator", {}), f"{where} ({name!r})")
        first = seen.setdefault(name, place)
        if first != place:
            raise InvalidValueError(
                f"{where} is {name!r}, as is feature[{first}]; give both comparators in one of them"
            )


def _name(feature: Mapping[str, Any], where: str) -> str | None:
    steps = feature.get("path", {}).get("step", [])
    if not isinstance(steps, list):
        return None
    if len(steps) != 1:
        raise InvalidValueError(
            f"{where}.path.step needs one name, since the features of tf.Examples are not nested, but it is {steps}"
        )
    return str(steps[0])


def _check_comparators(given: Mapping[str, Any], where: str) -> None:
    if not given:
        raise InvalidValueError(f"{where} needs a distribution_comparator: {', '.join(_COMPARATORS)}")
    for name in given:
        if "threshold" not in given[name]:
            raise InvalidValueError(f"{where}: {name} needs a threshold; without one it compares nothing")
    for name, threshold in _known_thresholds(given):
        if threshold < 0 or (name in _UP_TO_ONE and threshold >= 1):
            raise InvalidValueError(
                f"{where}: {name} has the threshold {threshold:g}, but a distance is from 0 to 1, and it fails when it "
                "is above the threshold"
            )


def _known_thresholds(given: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, comparator in given.items():
        if isinstance(comparator["threshold"], (int, float)):
            yield name, comparator["threshold"]
