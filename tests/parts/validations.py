"""What an ExampleValidator is given where a test says nothing else."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "examples": None,
    "serving_statistics": None,
    "previous_statistics": None,
    "exclude_splits": [],
    "environment": None,
    "sql_checks": [],
    "fail_on": None,
}
