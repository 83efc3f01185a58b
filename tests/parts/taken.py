"""Calls executors with one artifact, where they take or make several."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.execution.contract import Produced


def call_with_one(executor: Callable[..., Any], **given: Any) -> dict[str, Produced]:
    """What the executor returns, each artifact in a list for a parameter that takes several."""
    parameters = inspect.signature(executor).parameters
    lists = {name for name in given if name in parameters and "Sequence[" in str(parameters[name].annotation)}
    arguments = {
        name: [value] if name in lists and isinstance(value, Artifact) else value for name, value in given.items()
    }
    produced = executor(**arguments) or {}
    return {key: made[0] if isinstance(made, list) and len(made) == 1 else made for key, made in produced.items()}
