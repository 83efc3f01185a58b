"""RuntimeParameters, values that the user chooses when triggering a DAG, and what else is known only then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import DAG, Param
from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError, PipelineError
from airflow_provider_mlpipe.nested import leaves
from airflow_provider_mlpipe.pipeline.authoring import names_its_line
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.declared import converted

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Operator

_TEMPLATE_MARKS = ("{{", "{%", "{#")


class RuntimeParameter(ResolveMixin):
    """A value chosen when the DAG is triggered: an Airflow Param of this name, type and default.

    `ptype` is str, int, float or bool, as in TFX. Raises PipelineError for another one, and for a default that does not
    fit it.
    """

    JSON_TYPES: ClassVar[Mapping[type, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}

    @names_its_line
    def __init__(
        self, name: str, ptype: type = str, default: Any = None, description: str | None = None, **schema: Any
    ) -> None:
        if ptype not in self.JSON_TYPES:
            raise PipelineError(f"RuntimeParameter {name!r}: ptype must be str, int, float or bool, not {ptype!r}")
        self.name = name
        self.ptype = ptype
        self.description = description
        try:
            self.default = converted(default, ptype | None, "default")
            self.schema = {key: converted(value, Any, key) for key, value in schema.items()}
        except InvalidValueError as error:
            raise PipelineError(f"RuntimeParameter {name!r}: {error}") from None

    def __repr__(self) -> str:
        return f"RuntimeParameter({self.name!r}, {self.ptype.__name__}, default={self.default!r})"

    def iter_references(self) -> Iterable[tuple[Operator, str]]:
        """A parameter adds no edge to the DAG."""
        return ()

    def resolve(self, context: Context) -> Any:
        """This run's value, converted to the declared type; raises InvalidInputError for one that does not fit."""
        value = context["params"].get(self.name, self.default)
        try:
            return converted(value, self.ptype | None, f"parameter {self.name!r}")
        except InvalidValueError as error:
            raise InvalidInputError(str(error)) from None

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


def is_template(text: str) -> bool:
    """Whether Jinja would render the text."""
    return any(mark in text for mark in _TEMPLATE_MARKS)


def is_known_later(value: Any, declared: Any, path: str) -> bool:
    """Whether a value is a template, a RuntimeParameter or a task's result, so that only a run knows it.

    Raises InvalidValueError when a RuntimeParameter's default is not of the declared type.
    """
    if isinstance(value, RuntimeParameter):
        if value.default is not None:
            converted(value.default, declared, f"{path}, the default of {value!r},")
        return True
    if isinstance(value, str):
        return is_template(value)
    return isinstance(value, ResolveMixin) and not isinstance(value, Channel)
