"""RuntimeParameters: values that the user chooses when triggering a DAG."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import DAG, Param
from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.nested import leaves, mapped

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Operator

_TRUTH = {"true": True, "false": False}


class RuntimeParameter(ResolveMixin):
    """A value chosen when the DAG is triggered: an Airflow Param of this name, type and default.

    `ptype` is str, int, float or bool, as in TFX.
    """

    JSON_TYPES: ClassVar[Mapping[type, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}

    def __init__(
        self, name: str, ptype: type = str, default: Any = None, description: str | None = None, **schema: Any
    ) -> None:
        if ptype not in self.JSON_TYPES:
            raise PipelineError(f"RuntimeParameter {name!r}: ptype must be str, int, float or bool, not {ptype!r}")
        self.name = name
        self.ptype = ptype
        self.default = default
        self.description = description
        self.schema = schema

    def __repr__(self) -> str:
        return f"RuntimeParameter({self.name!r}, {self.ptype.__name__}, default={self.default!r})"

    def iter_references(self) -> Iterable[tuple[Operator, str]]:
        """A parameter adds no edge to the DAG."""
        return ()

    def resolve(self, context: Context) -> Any:
        """This run's value, converted to the declared type."""
        value = context["params"].get(self.name, self.default)
        if value is None or type(value) is self.ptype:
            return value
        try:
            return _TRUTH[str(value).lower()] if self.ptype is bool else self.ptype(value)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"parameter {self.name!r} is {value!r}, but must be of type {self.ptype.__name__}"
            ) from error

    def serialize(self) -> dict[str, Any]:
        """Deterministic, since Airflow hashes it for the DAG's version."""
        return {"runtime_parameter": self.name, "type": self.JSON_TYPES[self.ptype], "default": self.default}

    def json_schema(self) -> dict[str, Any]:
        """The schema of the Airflow Param; null is valid when there is no default."""
        json_type = self.JSON_TYPES[self.ptype]
        return {"type": json_type if self.default is not None else [json_type, "null"]} | self.schema


def runtime_parameters(values: Any) -> Iterator[RuntimeParameter]:
    """Every RuntimeParameter in the values, in nested lists and dicts too."""
    return (value for value in leaves(values) if isinstance(value, RuntimeParameter))


def declare_params(dag: DAG, values: Sequence[Any]) -> None:
    """Adds an Airflow Param for every RuntimeParameter in `values`, so that the trigger form asks for it.

    If the DAG already has a Param of that name, it is kept: the DAG's author wrote it.
    """
    for parameter in runtime_parameters(values):
        if parameter.name not in dag.params:
            dag.params[parameter.name] = Param(
                parameter.default, description=parameter.description, **parameter.json_schema()
            )


def plain_value(value: Any) -> Any:
    """Turns tuples into lists and paths into text, so that a value is the same here and in the executor process."""
    return mapped(value, lambda leaf: os.fspath(leaf) if isinstance(leaf, os.PathLike) else leaf)
