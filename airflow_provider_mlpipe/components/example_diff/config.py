"""Checks an ExampleDiffConfig, as far as it is known without the examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mlpipe.exceptions import InvalidValueError


def check_config(config: Mapping[str, Any]) -> None:
    """Raises InvalidValueError for a config without identifiers, or with a confusion_config that names no feature.

    A value that is known only later, such as a RuntimeParameter, is not looked at.
    """
    wanted = config.get("paired_example_skew", {})
    if not wanted.get("identifier_features"):
        raise InvalidValueError(
            "config.paired_example_skew.identifier_features is empty; name the features whose values say which two "
            "examples belong together"
        )
    for place, confusion in enumerate(wanted.get("confusion_config", [])):
        if not confusion.get("feature_name"):
            raise InvalidValueError(f"config.paired_example_skew.confusion_config[{place}] needs a feature_name")


def check_share(max_diff_share: object) -> None:
    """Raises InvalidValueError for a number that is no share; None, and what is known later, are all right."""
    if isinstance(max_diff_share, (int, float)) and not 0 <= max_diff_share <= 1:
        raise InvalidValueError(f"max_diff_share is a share from 0 to 1, but it is {max_diff_share:g}")
