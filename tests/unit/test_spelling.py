"""The question whether another name was meant."""

from __future__ import annotations

import pytest

from airflow_provider_mlpipe.spelling import did_you_mean


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("modul_file", "did you mean module_file?"),
        ("auc", "did you mean AUC?"),
        ("BinaryAcuracy", "did you mean BinaryAccuracy?"),
        ("push", None),
    ],
)
def test_the_name_that_is_most_like_it_is_asked_for(given: str, asked: str | None) -> None:
    assert did_you_mean(given, ["module_file", "AUC", "BinaryAccuracy", "Accuracy"]) == asked
