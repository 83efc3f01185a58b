"""What an executor is given and what it gives back.

An executor is a plain function in `components/<name>/executor.py`:

    def run(*, examples: Examples, schema: Schema | None, exclude_splits: list[str],
            statistics: ExampleStatistics, context: ExecutorContext) -> dict[str, Produced]

Its keywords are the operator's inputs, then its parameters, then its outputs (artifacts whose `uri` is an existing,
empty directory to write to), then `context`. It returns what it knows of each output, by output key; an output it does
not name has no properties. It raises the errors of `exceptions.py`, or whatever a library raises. It knows neither
Airflow nor the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_mlpipe.artifacts import PropertyValue


@dataclass(frozen=True, kw_only=True)
class ExecutorContext:
    """What an executor may know of its run.

    `tmp_dir` exists, is empty, and is removed afterwards. `max_memory_mb` is how much memory, in MiB, the executor and
    the processes that it starts may use together; None leaves it to them.
    """

    component_id: str
    execution_id: int
    tmp_dir: str
    beam_pipeline_args: tuple[str, ...] = ()
    max_memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Produced:
    """What an executor says of one output. With no `digest`, the files are hashed after the executor returned."""

    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    custom_properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    digest: str | None = None
