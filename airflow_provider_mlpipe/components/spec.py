"""How an operator declares itself: the annotations of its `__init__` are its spec.

::

    class StatisticsGenOperator(ComponentOperator):
        OUTPUTS = {"statistics": ExampleStatistics}

        def __init__(self, *, examples: Input[Examples], schema: OptionalInput[Schema] = None,
                     exclude_splits: Value[Sequence[str]] = (), **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.examples = examples
            ...

`Input` and `OptionalInput` are channels; `Value`, `Content` and `Ignored` are parameters and say what they mean for the
fingerprint. Nothing is declared twice: `component_spec` reads the signature, and the template fields follow from it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.channels import Channel, RuntimeParameter
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec

if TYPE_CHECKING:
    from airflow_provider_mlpipe.components.base import NodeOperator

A = TypeVar("A", bound=Artifact)
T = TypeVar("T")


class _InputRole:
    def __init__(self, optional: bool) -> None:
        self.optional = optional


Input = Annotated[Channel[A], _InputRole(optional=False)]
"""Exactly one artifact of type A; without one in this run the task is skipped."""

OptionalInput = Annotated[Channel[A] | None, _InputRole(optional=True)]
"""One artifact of type A, or None."""

Value = Annotated[T | RuntimeParameter, ComponentSpec.VALUE]
"""A parameter whose value is part of the fingerprint."""

Content = Annotated[T | RuntimeParameter, ComponentSpec.CONTENT]
"""A path whose content is part of the fingerprint, and the path itself is not."""

Ignored = Annotated[T | RuntimeParameter, ComponentSpec.IGNORED]
"""A parameter that cannot change the output."""
