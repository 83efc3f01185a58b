"""How a node is connected in its pipeline: its inputs and outputs, its edges, and the Params that it declares."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError, PermanentError, PipelineError
from airflow_provider_mlpipe.pipeline.authoring import AuthoredMeta, names_its_line
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter, declare_params, runtime_parameters
from airflow_provider_mlpipe.pipeline.spec import ArgumentType, Setting, argument_types, component_spec
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial


class WiredOperator(BaseOperator, metaclass=AuthoredMeta):
    """A task with artifacts as inputs and outputs. `task_id` is the component's id (default: its type).

    :param pipeline_root: folder below which outputs are written (default: the DAG's, else `[mlpipe] pipeline_root`)
    :param metadata_conn_id: Airflow connection of type `mlpipe` (default: the DAG's, else `mlpipe_default`)
    """

    OUTPUTS: ClassVar[Mapping[str, type[Artifact]]] = {}
    OUTPUTS_PER: ClassVar[Mapping[str, str]] = {}
    """The outputs that have one artifact for each artifact of an input: {output key: input name}."""

    EXECUTOR: ClassVar[str] = ""
    SPEC: ClassVar[pb.ComponentSpec]
    ARGUMENT_TYPES: ClassVar[Mapping[str, ArgumentType]]

    given_arguments: Mapping[str, Any]
    """What it was constructed with."""

    as_constructed: Mapping[str, Any]
    """Its attributes then."""

    previous_inputs: dict[str, str]
    """The inputs that read what was published before (`Channel.previous`), and the ids of their producers."""

    ui_color = "#e8f0fe"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.SPEC = component_spec(cls, executor=cls.EXECUTOR, outputs=cls.OUTPUTS)
        cls.ARGUMENT_TYPES = argument_types(cls)
        # Sorted: a protobuf map has no order, and Airflow hashes the template fields' order for the DAG's version.
        cls.template_fields = (*sorted(cls.SPEC.inputs), *sorted(cls.SPEC.parameters), "pipeline_root")

    def __init__(
        self,
        *,
        task_id: str | None = None,
        pipeline_root: Setting[str | None] = None,
        metadata_conn_id: Setting[str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(task_id=task_id or self.SPEC.component_type, **kwargs)
        self.pipeline_root = pipeline_root
        self.metadata_conn_id = metadata_conn_id
        self._is_wired = False
        self.previous_inputs: dict[str, str] = {}

    def _hook_apply_defaults(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Airflow calls this before each `__init__` with what it gets: parameters have their declared types there."""
        return args, kwargs | self._converted(kwargs)

    @classmethod
    @names_its_line
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """As in Airflow: a mapped task, whose parameters are converted as those of any other."""
        return super().partial(**kwargs | cls._converted(kwargs))

    @classmethod
    def _converted(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        with misfits(given.get("task_id") or cls.SPEC.component_type, PipelineError):
            return {name: kind.given(given[name], name) for name, kind in cls.ARGUMENT_TYPES.items() if name in given}

    @functools.cached_property
    def outputs(self) -> Mapping[str, Channel[Any]]:
        """A channel per output; an unknown key is a PipelineError that lists the known ones."""
        return _Outputs(self, {key: Channel(self, key, artifact) for key, artifact in self.output_types().items()})

    def output_types(self) -> Mapping[str, type[Artifact]]:
        """The artifact type per output key."""
        return self.OUTPUTS

    def input_channels(self) -> dict[str, Channel[Any]]:
        """The channels given as inputs, by input name; raises PipelineError when one does not fit."""
        given = {name: getattr(self, name, None) for name in sorted(self.SPEC.inputs)}
        for name, channel in given.items():
            self._check_input(name, channel)
        return {name: channel for name, channel in given.items() if channel is not None}

    def gated_channels(self) -> list[Channel[Any]]:
        """The channels that this node's `check_gate` judges; other readers of them must wait for this node."""
        return []

    def wire(self) -> None:
        """Checks the inputs, draws this task's edges and declares its parameters on the DAG.

        Called once, after its producers were wired: in `with DAG(...)` by Airflow, else by `create_dag`.
        """
        for name, channel in self.input_channels().items():
            self._check_store(name, channel)
            if channel.is_previous:
                self._check_previous(name, channel)
                self.previous_inputs[name] = channel.producer.task_id
        self._check_parameters()
        super()._set_xcomargs_dependencies()
        declare_params(self.dag, list(self.runtime_parameters()))
        self._is_wired = True
        wired = [task for task in self.dag.tasks if isinstance(task, WiredOperator) and task._is_wired]
        _check_one_meaning(self, wired)
        _order_by_gates(wired)

    def runtime_parameters(self) -> Iterator[RuntimeParameter]:
        """The RuntimeParameters among this task's parameters, including nested ones."""
        return runtime_parameters([getattr(self, name) for name in self.template_fields])

    def _set_xcomargs_dependencies(self) -> None:
        """Airflow calls this when it has constructed an operator. If it has no DAG yet, `create_dag` wires it later."""
        self._check_attributes()
        self.output_types()
        for name in self.SPEC.inputs:
            if getattr(self, name) is not None:
                self._check_input(name, getattr(self, name))
        if self.has_dag():  # type: ignore[no-untyped-call]
            self.wire()

    def _set_xcomargs_dependency(self, field: str, newvalue: Any) -> None:
        """Airflow calls this when a field of the operator is set later."""
        if self.has_dag():  # type: ignore[no-untyped-call]
            super()._set_xcomargs_dependency(field, newvalue)

    def _check_attributes(self) -> None:
        for name in (*self.SPEC.inputs, *self.ARGUMENT_TYPES):
            if not hasattr(self, name):
                raise PipelineError(f"{self.task_id}: its __init__ does not keep {name}; add `self.{name} = {name}`")

    def _check_input(self, name: str, channel: Any) -> None:
        declared = self.SPEC.inputs[name]
        end = f"{self.task_id}.{name} ({declared.artifact_type})"
        if channel is None:
            if declared.optional:
                return
            raise PipelineError(f"{end} needs a channel, but got None; pass e.g. {name}=producer.outputs[...]")
        if not isinstance(channel, Channel):
            raise PipelineError(f"{end} needs a channel, but got {channel!r}; pass e.g. {name}=producer.outputs[...]")
        if declared.artifact_type not in channel.artifact_type.type_names():
            raise PipelineError(f"{end} cannot take {channel!r}; pass a channel of {declared.artifact_type}")

    def _check_store(self, name: str, channel: Channel[Any]) -> None:
        theirs = getattr(channel.producer, "metadata_conn_id", None)
        if theirs != self.metadata_conn_id:
            raise PipelineError(
                f"{self.task_id}.{name} reads {channel!r}, which has metadata_conn_id {theirs!r}, but {self.task_id} "
                f"has {self.metadata_conn_id!r}; give both the same"
            )

    def _check_previous(self, name: str, channel: Channel[Any]) -> None:
        declared = self.SPEC.inputs[name]
        if not declared.optional or declared.several:
            raise PipelineError(
                f"{self.task_id}.{name} cannot take {channel!r}: the first span has none before it, so only an "
                "optional input for one artifact takes it"
            )

    def _check_parameters(self) -> None:
        """Converts defaults, too, and what was set after the construction."""
        with misfits(self.task_id, PipelineError):
            for name in self.ARGUMENT_TYPES:
                setattr(self, name, self.ARGUMENT_TYPES[name].given(getattr(self, name), name))

    def convert_rendered(self) -> None:
        """Converts the rendered parameters to their declared types; raises InvalidInputError for one that cannot be."""
        with misfits(self.task_id, InvalidInputError):
            for name in self.SPEC.parameters:
                setattr(self, name, self.ARGUMENT_TYPES[name].known(getattr(self, name), name))

    def published_outputs(self, context: Context, key: str) -> list[Artifact]:
        """The artifacts that its newest complete or cached execution in the context's run published under `key`."""
        raise NotImplementedError


@contextlib.contextmanager
def misfits(component_id: str, error: type[PermanentError]) -> Iterator[None]:
    """Names the component whose argument does not fit."""
    try:
        yield
    except InvalidValueError as misfit:
        raise error(f"{component_id}: {misfit}") from None


def _check_one_meaning(node: WiredOperator, others: Sequence[WiredOperator]) -> None:
    """Refuses two different RuntimeParameters of one name: they share a Param, so one default would be ignored."""
    for mine in node.runtime_parameters():
        for theirs in (parameter for other in others for parameter in other.runtime_parameters()):
            if mine.name == theirs.name and mine.serialize() != theirs.serialize():
                raise PipelineError(
                    f"{node.dag_id}: {theirs} and {mine} have the same name, but differ; use one object for both, or "
                    "rename one"
                )


def _order_by_gates(nodes: Sequence[WiredOperator]) -> None:
    """Makes every other reader of a gated channel wait for its gate."""
    for gate in nodes:
        for channel in gate.gated_channels():
            above = gate.get_flat_relative_ids(upstream=True)
            for node in nodes:
                reads = any(channel.is_of(other) for other in node.input_channels().values())
                if node is not gate and node.task_id not in above and reads:
                    node.set_upstream(gate)


class _Outputs(dict[str, Channel[Any]]):
    def __init__(self, operator: WiredOperator, channels: Mapping[str, Channel[Any]]) -> None:
        super().__init__(channels)
        self._operator = operator

    @names_its_line
    def __missing__(self, key: str) -> NoReturn:
        known = ", ".join(sorted(self)) or "none"
        raise PipelineError(f"{self._operator.task_id} has no output {key!r}; it has: {known}")
