"""What an executor gets and what it returns.

An executor is a plain function in `components/<name>/executor.py`:

    def run(*, examples: Examples, schema: Schema | None, exclude_splits: list[str],
            statistics: ExampleStatistics, context: ExecutorContext) -> dict[str, Produced]

Its keyword arguments are the operator's inputs, its parameters, its outputs (artifacts whose `uri` is an existing,
empty directory to write to), and `context`. An input that the operator declares as `Inputs` is a list; so is an output
that has one artifact for each artifact of an input (`OUTPUTS_PER`). It returns a `Produced` for each output, by output
key, or a list of them; without one, an output has no properties but its span. It may raise the errors of
`exceptions.py` or any error of a library. It must not use Airflow or the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_mlpipe.artifacts import PropertyValue


@dataclass(frozen=True, kw_only=True)
class ExecutorContext:
    """Information about the run for the executor.

    `tmp_dir` exists, is empty, and is removed afterwards. `checkpoint_dir` is there if the operator declares
    `KEEPS_CHECKPOINTS`: a folder with the whole checkpoints of the newest failed try of this work, or an empty one. It
    is removed when the execution is complete (`checkpoints.py` says how to write to it). `max_memory_mb` is how much
    memory, in MiB, the executor and the processes that it starts may use together; with None they decide themselves.
    """

    component_id: str
    execution_id: int
    tmp_dir: str
    checkpoint_dir: str | None = None
    beam_pipeline_args: tuple[str, ...] = ()
    max_memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class Produced:
    """What an executor returns for one output. Without a `digest`, its files are hashed when the executor has ended."""

    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    custom_properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    digest: str | None = None
