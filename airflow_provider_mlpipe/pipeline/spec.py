"""How an operator declares its inputs and parameters: by the annotations of its `__init__`.

::

    class StatisticsGenOperator(ComponentOperator):
        OUTPUTS = {"statistics": ExampleStatistics}

        def __init__(self, *, examples: Input[Examples], schema: OptionalInput[Schema] = None,
                     exclude_splits: Value[Sequence[str]] = (), **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.examples = examples
            ...

`Input`, `Inputs` and `OptionalInput` mark channels. The other markers are for parameters and say how these count in the
fingerprint. `Setting` marks what is neither. Nothing is declared twice: `component_spec` and `argument_types` read the
signature, and the template fields follow from it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import InvalidValueError, PipelineError
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.declared import as_written, converted, described
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter, is_known_later
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec

A = TypeVar("A", bound=Artifact)
T = TypeVar("T")


@dataclass(frozen=True)
class InputRole:
    """Marks an annotation as an input."""

    optional: bool
    required_when_wired: bool = False
    ignored: bool = False
    several: bool = False


@dataclass(frozen=True)
class SettingRole:
    """Marks an annotation as a setting."""


Input: TypeAlias = Annotated[Channel[A], InputRole(optional=False)]
"""One artifact of type A; without one in this run the task is skipped. If there are several, the component runs once
for each of them, in one task (`parts.py`)."""

Inputs: TypeAlias = Annotated[Channel[A], InputRole(optional=False, several=True)]
"""One or more artifacts of type A, ordered by span, version and id; without one in this run the task is skipped."""

OptionalInput: TypeAlias = Annotated[Channel[A] | None, InputRole(optional=True)]
"""One artifact of type A, or None."""

GateInput: TypeAlias = Annotated[Channel[A] | None, InputRole(optional=True, required_when_wired=True)]
"""None, or a channel. If a channel is given but has no artifact in this run, the task is skipped: a missing blessing
does not count as BLESSED."""

GateInputs: TypeAlias = Annotated[Channel[A] | None, InputRole(optional=True, required_when_wired=True, several=True)]
"""As GateInput, but takes all artifacts of the channel together."""

IgnoredInput: TypeAlias = Annotated[Channel[A] | None, InputRole(optional=True, ignored=True)]
"""As OptionalInput, but not part of the fingerprint: it saves work and cannot change the output."""

Value: TypeAlias = Annotated[T | RuntimeParameter, ComponentSpec.VALUE]
"""A parameter whose value is part of the fingerprint."""

Config: TypeAlias = Annotated[T, ComponentSpec.VALUE]
"""As Value, for messages and dicts: a RuntimeParameter may stand inside them, but not in place of them."""

Content: TypeAlias = Annotated[T | RuntimeParameter, ComponentSpec.CONTENT]
"""A path. Its content is part of the fingerprint, the path is not. A `.py` file counts with its local imports."""

Function: TypeAlias = Annotated[T | RuntimeParameter, ComponentSpec.FUNCTION]
"""A dotted name of a function. The name and its module's source, with local imports, are part of the fingerprint."""

Ignored: TypeAlias = Annotated[T | RuntimeParameter, ComponentSpec.IGNORED]
"""A parameter that is not part of the fingerprint, since it cannot change the output."""

Setting: TypeAlias = Annotated[T, SettingRole()]
"""An argument that says how a task runs: it is checked when the DAG is parsed, but not recorded."""


@dataclass(frozen=True, kw_only=True)
class ArgumentType:
    """The declared type of a parameter or setting."""

    declared: Any
    takes_runtime_parameters: bool
    is_setting: bool

    def given(self, value: Any, name: str) -> Any:
        """What a DAG file gives, converted; what is known only later stays as it is.

        Raises InvalidValueError, which begins with `name`.
        """
        if self.is_setting:
            return converted(value, self.declared, name, as_written)
        if isinstance(value, RuntimeParameter) and not self.takes_runtime_parameters:
            raise InvalidValueError(
                f"{name} takes {described(self.declared)}; a RuntimeParameter may stand inside it, not in its place"
            )
        return converted(value, self.declared, name, is_known_later)

    def known(self, value: Any, name: str) -> Any:
        """A rendered value, converted; raises InvalidValueError, which begins with `name`."""
        return converted(converted(value, self.declared, name), Any, name)


def component_spec(operator: type, *, executor: str, outputs: Mapping[str, type[Artifact]]) -> ComponentSpec:
    """Reads the spec of an operator class from its `__init__` and from the inherited ones.

    Arguments without a marker are Airflow's.
    """
    _check_outputs(operator, outputs)
    spec = ComponentSpec(
        component_type=operator.__name__.removesuffix("Operator"),
        executor=executor,
        outputs={key: artifact.TYPE_NAME for key, artifact in outputs.items()},
    )
    for name, hint, is_required in _arguments(operator):
        _add_argument(spec, name, hint, is_required)
    return spec


def argument_types(operator: type) -> dict[str, ArgumentType]:
    """The types of an operator's parameters and settings by name, from its `__init__` and from the inherited ones."""
    types: dict[str, ArgumentType] = {}
    for name, hint, _ in _arguments(operator):
        if get_origin(hint) is Annotated and not isinstance(get_args(hint)[1], InputRole):
            declared, marker = get_args(hint)[:2]
            kinds = get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
            others = tuple(kind for kind in kinds if kind is not RuntimeParameter)
            types[name] = ArgumentType(
                declared=Union[others],  # noqa: UP007
                takes_runtime_parameters=len(others) < len(kinds),
                is_setting=isinstance(marker, SettingRole),
            )
    return types


def _arguments(operator: type) -> Iterator[tuple[str, Any, bool]]:
    """Name, annotation, and whether it is required, of each argument of the `__init__`s; the inherited ones first."""
    for cls in reversed(operator.__mro__):
        init = cls.__dict__.get("__init__")
        if init is not None and hasattr(cls, "OUTPUTS"):
            hints = get_type_hints(init, include_extras=True)
            for name, argument in inspect.signature(init).parameters.items():
                yield name, hints.get(name), argument.default is inspect.Parameter.empty


def _check_outputs(operator: type, outputs: Mapping[str, type[Artifact]]) -> None:
    for key, artifact in outputs.items():
        if not key.isidentifier() or key == "context":
            raise PipelineError(f"{operator.__name__}.OUTPUTS: {key!r} cannot be the name of an output")
        if not (isinstance(artifact, type) and issubclass(artifact, Artifact)):
            raise PipelineError(f"{operator.__name__}.OUTPUTS: {key!r} needs an artifact class, but got {artifact!r}")


def module_beside(operator: type) -> str:
    """`executor.py` in the operator's folder: its module's name, or its path where the operator is not in a package.

    A DAG file is not in a package, and its folder need not be on the import path.
    """
    package = operator.__module__.rpartition(".")[0]
    file = getattr(sys.modules.get(operator.__module__), "__file__", None)
    if package or file is None:
        return f"{package}.executor".removeprefix(".")
    return str(Path(file).absolute().with_name("executor.py"))


def _add_argument(spec: ComponentSpec, name: str, hint: Any, required: bool) -> None:
    if get_origin(hint) is not Annotated:
        return
    if name in spec.outputs or name == "context":
        raise PipelineError(f"{spec.component_type}: {name!r} is both an argument and an output, or is `context`")
    declared, marker = get_args(hint)[:2]
    if isinstance(marker, SettingRole):
        return
    if isinstance(marker, InputRole):
        spec.inputs[name].CopyFrom(
            ComponentSpec.Input(
                artifact_type=_channel_type(declared, f"{spec.component_type}.{name}").TYPE_NAME,
                optional=marker.optional,
                required_when_wired=marker.required_when_wired,
                ignored=marker.ignored,
                several=marker.several,
            )
        )
    else:
        spec.parameters[name].CopyFrom(ComponentSpec.Parameter(kind=marker, required=required))


def _channel_type(declared: Any, where: str) -> type[Artifact]:
    """The artifact type A of `Channel[A]` or `Channel[A] | None`."""
    channel = declared if get_origin(declared) is Channel else get_args(declared)[0]
    artifact_type = get_args(channel)[0]
    if not (isinstance(artifact_type, type) and issubclass(artifact_type, Artifact)):
        raise PipelineError(f"{where}: name the artifact type, such as Input[Examples], not {artifact_type!r}")
    return artifact_type
