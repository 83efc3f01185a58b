"""Cells such as `NA`, which stand for a missing value elsewhere, but are text here."""

from __future__ import annotations

from collections.abc import Mapping

STAND_INS = frozenset(
    {"NA", "N/A", "n/a", "na", "<NA>", "#N/A", "null", "NULL", "Null", "None", "none", "-", "--", "?", "."}
)


def described(counts: Mapping[str, int], total: int) -> str:
    """Say that a column is text because of so many of its `total` cells, and what the remedy is."""
    cells = ", ".join(f"{count:,} of {total:,} cells are {text!r}" for text, count in sorted(counts.items()))
    return (
        f"holds numbers, but is text: {cells}; only empty cells are missing, CsvExampleGen's null_values names others"
    )
