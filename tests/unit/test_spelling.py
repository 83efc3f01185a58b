"""The question whether another name was meant."""

from __future__ import annotations

import pytest

from airflow_provider_mlpipe.spelling import by_likeness, did_you_mean, listed


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("modul_file", "did you mean module_file?"),
        ("auc", "did you mean AUC?"),
        ("BinaryAcuracy", "did you mean BinaryAccuracy?"),
        ("kind", None),
    ],
)
def test_the_name_that_is_most_like_it_is_asked_for(given: str, asked: str | None) -> None:
    assert did_you_mean(given, ["module_file", "AUC", "BinaryAccuracy", "island"]) == asked


def test_the_names_that_are_most_like_it_come_first() -> None:
    assert by_likeness("Agee", ["x", "word", "page", "age"]) == ["age", "page", "word", "x"]
    assert listed([f"x{number}" for number in range(22)]).endswith(", x18, x19 and 2 more")
    assert listed(["a", "b"]) == "a, b"
