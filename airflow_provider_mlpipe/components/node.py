"""The operator that every node of a pipeline is: it knows its inputs, outputs and store, and wires itself.

What a task does: take up what the run's plan recorded for it, or else resolve the inputs and do the node's own work;
then look whether a gate is shut. Errors of this package that a retry cannot help end the task without one.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from typing_extensions import Self

from airflow_provider_mlpipe import fingerprint, publisher
from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES, Artifact, ArtifactState
from airflow_provider_mlpipe.channels import Channel, RuntimeParameter, declare_params, runtime_parameters
from airflow_provider_mlpipe.components.spec import component_spec
from airflow_provider_mlpipe.driver import CachePolicy, ComponentRun, Decision, Resolution
from airflow_provider_mlpipe.exceptions import InvalidInputError, PermanentError, PipelineError
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb

if TYPE_CHECKING:
    from airflow.sdk import Context

Published = Mapping[str, Sequence[Artifact]]


class NodeOperator(BaseOperator):
    """A task that reads and writes artifacts. `task_id`, the component's id, is its type unless given.

    :param pipeline_root: folder below which outputs are written (default: the DAG's, then `[mlpipe] pipeline_root`)
    :param metadata_conn_id: Airflow connection of type `mlpipe` (default: the DAG's, then `mlpipe_default`)
    """

    OUTPUTS: ClassVar[Mapping[str, type[Artifact]]] = {}
    LIBRARIES: ClassVar[tuple[str, ...]] = ()
    EXECUTOR: ClassVar[str] = ""
    SPEC: ClassVar[pb.ComponentSpec]

    ui_color = "#e8f0fe"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.SPEC = component_spec(cls, executor=cls.EXECUTOR, outputs=cls.OUTPUTS, libraries=cls.LIBRARIES)
        # Sorted, since a protobuf map has no order and Airflow's version of a DAG depends on this one.
        cls.template_fields = (*sorted(cls.SPEC.inputs), *sorted(cls.SPEC.parameters), "pipeline_root")

    def __init__(
        self,
        *,
        task_id: str | None = None,
        pipeline_root: str | None = None,
        metadata_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(task_id=task_id or self.SPEC.component_type, **kwargs)
        self.pipeline_root = pipeline_root
        self.metadata_conn_id = metadata_conn_id
        self.is_planned = False
        self.is_skipped_with_others = False
        self._is_wired = False

    # ---- authoring

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
        """Channels whose other readers must wait for this node, since `check_gate` may find them unfit."""
        return []

    def wire(self) -> None:
        """Checks the inputs, draws this task's edges and declares its parameters on the DAG.

        Called once, after its producers were wired: by Airflow in `with DAG(...)`, else by `create_dag`.
        """
        self.input_channels()
        self._check_functions()
        super()._set_xcomargs_dependencies()
        declare_params(self.dag, list(self.runtime_parameters()))
        self._is_wired = True
        wired = [task for task in self.dag.tasks if isinstance(task, NodeOperator) and task._is_wired]
        _check_one_meaning(self, wired)
        _order_by_gates(wired)

    def runtime_parameters(self) -> Iterator[RuntimeParameter]:
        """The RuntimeParameters among this task's parameters, nested ones too."""
        return runtime_parameters([getattr(self, name) for name in self.template_fields])

    def _set_xcomargs_dependencies(self) -> None:
        """Airflow calls this when an operator has been constructed; without a DAG yet, `create_dag` wires it later."""
        if self.has_dag():  # type: ignore[no-untyped-call]
            self.wire()

    def _set_xcomargs_dependency(self, field: str, newvalue: Any) -> None:
        """Airflow calls this when a field is set later on."""
        if self.has_dag():  # type: ignore[no-untyped-call]
            super()._set_xcomargs_dependency(field, newvalue)

    def _check_input(self, name: str, channel: Any) -> None:
        declared = self.SPEC.inputs[name]
        end = f"{self.task_id}.{name} ({declared.artifact_type})"
        if channel is None:
            if declared.optional:
                return
            raise PipelineError(f"{end} needs a channel and got None; pass e.g. {name}=producer.outputs[...]")
        if not isinstance(channel, Channel):
            raise PipelineError(f"{end} needs a channel and got {channel!r}; pass e.g. {name}=producer.outputs[...]")
        wanted = ARTIFACT_TYPES.get(declared.artifact_type, Artifact)
        if not issubclass(channel.artifact_type, wanted):
            raise PipelineError(f"{end} cannot take {channel!r}; pass a channel of {declared.artifact_type}")

    def _check_functions(self) -> None:
        for name, parameter in self.SPEC.parameters.items():
            if parameter.kind == pb.ComponentSpec.FUNCTION and callable(given := getattr(self, name)):
                raise PipelineError(f"{self.task_id}.{name} takes a dotted name, 'module.function', and got {given!r}")

    # ---- running

    @functools.cached_property
    def store(self) -> MetadataStore:
        """The metadata store of this operator's connection."""
        return MlpipeHook(self.metadata_conn_id or MlpipeHook.default_conn_name).store

    def published_outputs(self, context: Context, key: str) -> list[Artifact]:
        """What this operator's newest complete or cached execution in the context's run published under `key`."""
        ti = context["ti"]
        return self.store.run_outputs(pipeline=ti.dag_id, run_id=ti.run_id, component_id=self.task_id, key=key)

    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the node; returns plain dicts of the published artifacts, by output key."""
        with _airflow_errors():
            self._skip_with_what_is_above(context)
            published = self._planned(context)
            if published is None:
                published = self.run_node(self.component_run(context))
            self.check_gate(published)
        return {key: [artifact.to_dict() for artifact in artifacts] for key, artifacts in published.items()}

    def decide(self, store: MetadataStore, run: ComponentRun) -> Decision | Resolution:
        """What this node would do, without doing it."""
        raise NotImplementedError

    def run_node(self, run: ComponentRun) -> Published:
        """Does the node's work and publishes it."""
        raise NotImplementedError

    def check_gate(self, outputs: Published) -> None:
        """Raises a PermanentError when what was published (or hit) must stop the run; by default nothing does."""

    def component_run(self, context: Context) -> ComponentRun:
        """This try, with its inputs and parameters resolved; raises AirflowSkipException when an input is absent."""
        ti, dag_run = context["ti"], context["dag_run"]
        parameters = {name: plain_value(getattr(self, name)) for name in self.SPEC.parameters}
        return ComponentRun(
            spec=self.SPEC,
            pipeline=ti.dag_id,
            run_id=ti.run_id,
            component_id=self.task_id,
            map_index=ti.map_index if ti.map_index is not None else -1,
            try_number=ti.try_number,
            triggered_by=getattr(dag_run, "triggering_user_name", None) or str(dag_run.run_type),
            inputs={name: self._input_artifact(name) for name in self.SPEC.inputs},
            parameters=parameters,
            external=self.external_inputs(parameters),
            cache=CachePolicy(mode=False),
        )

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The digests of what this node reads outside the store, by name: by default its Content parameters'."""
        return fingerprint.content_digests(self.SPEC, parameters)

    def rendered(self, context: Context, given: Mapping[str, Sequence[Artifact]]) -> Self:
        """A copy as Airflow would execute it, but for its inputs, which are given by name."""
        copy = self.prepare_for_execution()
        for name in self.SPEC.inputs:
            setattr(copy, name, [artifact.to_dict() for artifact in given[name]] if name in given else None)
        others = [name for name in self.template_fields if name not in self.SPEC.inputs]
        copy._do_render_template_fields(copy, others, context, copy.get_template_env(), set())
        return copy

    def _skip_with_what_is_above(self, context: Context) -> None:
        """In a planned DAG a skipped component above may be a hit; what is no component takes this one with it."""
        others = [task.task_id for task in self.upstream_list if not isinstance(task, NodeOperator)]
        if self.is_skipped_with_others and others:
            ti = context["ti"]
            states = ti.get_task_states(dag_id=ti.dag_id, task_ids=others, run_ids=[ti.run_id]).get(ti.run_id, {})
            if skipped := [task_id for task_id, state in states.items() if state == "skipped"]:
                reason = f"{', '.join(sorted(skipped))} was skipped, and so is {self.task_id}"
                self.log.info("%s", reason)
                raise AirflowSkipException(reason)

    def _planned(self, context: Context) -> Published | None:
        """What the run's plan recorded for this task, if it was not cleared since."""
        ti = context["ti"]
        if not self.is_planned:
            return None
        planned = self.store.take_up_plan(
            pipeline=ti.dag_id, run_id=ti.run_id, component_id=self.task_id, clear=ti.max_tries
        )
        if planned is None or planned.execution_id is None:
            return None
        self.log.info("%s: as planned, %s", self.task_id, planned.reason)
        return self.store.execution_artifacts(planned.execution_id, "OUTPUT")

    def _input_artifact(self, name: str) -> Artifact | None:
        """The one artifact of an input; the template field holds the plain dicts its channel resolved to."""
        given: Sequence[Mapping[str, Any]] | None = getattr(self, name)
        found, declared = given or (), self.SPEC.inputs[name]
        if len(found) > 1:
            raise InvalidInputError(f"{self.task_id}.{name} takes one artifact, its channel has {len(found)}")
        if found:
            return _artifact(found[0])
        if declared.optional and not (declared.required_when_wired and given is not None):
            return None
        raise AirflowSkipException(f"{self.task_id}.{name}: its producer published nothing in this run")


class ResolvingOperator(NodeOperator):
    """A node without an executor: it names artifacts that are there already, anew in every run."""

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """The artifacts that it names, and the execution that names them."""
        raise NotImplementedError

    def run_node(self, run: ComponentRun) -> Published:
        """Resolves it and records the answer."""
        published = publisher.publish_resolution(self.store, self.decide(self.store, run))
        named = [f"{artifact.TYPE_NAME} {artifact.id}" for artifacts in published.values() for artifact in artifacts]
        self.log.info("%s: %s", self.task_id, ", ".join(named) or "nothing found")
        return published


def _check_one_meaning(node: NodeOperator, others: Sequence[NodeOperator]) -> None:
    """Two RuntimeParameters of one name would share a Param, and one of their defaults would silently win."""
    for mine in node.runtime_parameters():
        for theirs in (parameter for other in others for parameter in other.runtime_parameters()):
            if mine.name == theirs.name and mine.serialize() != theirs.serialize():
                raise PipelineError(
                    f"{node.dag_id}: {theirs} and {mine} share a name and differ; share one, or rename one"
                )


def _order_by_gates(nodes: Sequence[NodeOperator]) -> None:
    """A gate that may fail holds back everything else that reads what it vouches for."""
    for gate in nodes:
        for channel in gate.gated_channels():
            above = gate.get_flat_relative_ids(upstream=True)
            for node in nodes:
                if node is not gate and node.task_id not in above and channel in node.input_channels().values():
                    node.set_upstream(gate)


class _Outputs(dict[str, Channel[Any]]):
    def __init__(self, operator: NodeOperator, channels: Mapping[str, Channel[Any]]) -> None:
        super().__init__(channels)
        self._operator = operator

    def __missing__(self, key: str) -> NoReturn:
        known = ", ".join(sorted(self)) or "none"
        raise PipelineError(f"{self._operator.task_id} has no output {key!r}; it has: {known}")


@contextlib.contextmanager
def _airflow_errors() -> Iterator[None]:
    """The type of an error decides whether Airflow retries: a permanent one fails the task at once."""
    try:
        yield
    except PermanentError as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def plain_value(value: Any) -> Any:
    """Tuples become lists and paths text, so that a value is the same before and after it crossed to the executor."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    return value


def _artifact(plain: Mapping[str, Any]) -> Artifact:
    """The inverse of `Artifact.to_dict` for a published artifact."""
    return ARTIFACT_TYPES.get(plain["type"], Artifact)(
        **{key: value for key, value in plain.items() if key != "type"}, state=ArtifactState.LIVE
    )
