"""Channels: how one component's output becomes another's input, and where parameters enter a DAG.

A `Channel` stands in a template field. At parse time it draws the edge from its producer (in `create_dag` and in plain
`with DAG(...)` code alike); at run time it resolves to what its producer published in this run, asked from the store
and not from XCom: skipped tasks push no XCom and cleared ones leave a stale one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow.sdk import DAG, Param
from airflow.sdk.definitions._internal.mixins import DependencyMixin, ResolveMixin

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Operator

    from airflow_provider_mlpipe.components.node import NodeOperator

A = TypeVar("A", bound=Artifact)


class Channel(ResolveMixin, DependencyMixin, Generic[A]):
    """The artifacts that `producer` publishes under `key` in a run. Resolves to a list of plain artifact dicts."""

    def __init__(self, producer: NodeOperator, key: str, artifact_type: type[A]) -> None:
        self.producer = producer
        self.key = key
        self.artifact_type = artifact_type

    def __repr__(self) -> str:
        return f"{self.producer.task_id}.outputs[{self.key!r}] ({self.artifact_type.TYPE_NAME})"

    def iter_references(self) -> Iterator[tuple[Operator, str]]:
        """Yields the producing operator: Airflow draws the edge from it."""
        yield self.producer, self.key

    def resolve(self, context: Context) -> list[dict[str, Any]]:
        """What the producer's newest complete or cached execution of this run published."""
        artifacts = self.producer.published_outputs(context, self.key)
        return [artifact.to_dict() for artifact in artifacts]

    def serialize(self) -> dict[str, str]:
        """Deterministic, since it feeds the DAG's version hash."""
        return {
            "channel": f"{self.producer.task_id}.{self.key}",
            "artifact_type": self.artifact_type.TYPE_NAME,
        }

    @property
    def roots(self) -> Sequence[Any]:
        """The producing operator, for `channel >> task`."""
        return [self.producer]

    @property
    def leaves(self) -> Sequence[Any]:
        """The producing operator, for `task >> channel`."""
        return [self.producer]

    def set_upstream(self, other: DependencyMixin | Sequence[DependencyMixin], edge_modifier: Any = None) -> None:
        """`channel << task`: the producer waits for `other`."""
        self.producer.set_upstream(other, edge_modifier)

    def set_downstream(self, other: DependencyMixin | Sequence[DependencyMixin], edge_modifier: Any = None) -> None:
        """`channel >> task`: `other` waits for the producer."""
        self.producer.set_downstream(other, edge_modifier)


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
        """A parameter draws no edge."""
        return ()

    def resolve(self, context: Context) -> Any:
        """This run's value, in the declared type."""
        value = context["params"].get(self.name, self.default)
        if value is None or type(value) is self.ptype:
            return value
        try:
            return _TRUTH[str(value).lower()] if self.ptype is bool else self.ptype(value)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"parameter {self.name!r} is {value!r}, which is no {self.ptype.__name__}"
            ) from error

    def serialize(self) -> dict[str, Any]:
        """Deterministic, since it feeds the DAG's version hash."""
        return {"runtime_parameter": self.name, "type": self.JSON_TYPES[self.ptype], "default": self.default}

    def json_schema(self) -> dict[str, Any]:
        """The schema of the Airflow Param; null is admitted when there is no default."""
        json_type = self.JSON_TYPES[self.ptype]
        return {"type": json_type if self.default is not None else [json_type, "null"]} | self.schema


def runtime_parameters(value: Any) -> Iterator[RuntimeParameter]:
    """Every RuntimeParameter in a value, in nested lists and dicts too."""
    if isinstance(value, RuntimeParameter):
        yield value
    elif isinstance(value, Mapping):
        yield from runtime_parameters(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from runtime_parameters(item)


def declare_params(dag: DAG, values: Sequence[Any]) -> None:
    """Makes an Airflow Param of every RuntimeParameter in `values`, so that the trigger form asks for it.

    A Param of that name that the DAG already has is kept: it is its author's own word on it.
    """
    for parameter in runtime_parameters(values):
        if parameter.name not in dag.params:
            dag.params[parameter.name] = Param(
                parameter.default, description=parameter.description, **parameter.json_schema()
            )
