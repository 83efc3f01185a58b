"""The operators that all components are: a node knows its inputs, outputs and store; a component also has an executor.

What a task does: resolve inputs → decide (driver) → on a miss start an execution, launch the executor, publish; on a
hit record that it was one → look whether a gate is shut. Errors of this package that a retry cannot help end the task
without one.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from typing_extensions import Self

from airflow_provider_mlpipe import driver, fingerprint, publisher
from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES, Artifact, ArtifactState
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.channels import Channel, RuntimeParameter, declare_params, runtime_parameters
from airflow_provider_mlpipe.components.spec import component_spec
from airflow_provider_mlpipe.driver import (
    CacheMode,
    CachePolicy,
    CacheScope,
    ComponentRun,
    Decision,
    Resolution,
    Verify,
)
from airflow_provider_mlpipe.exceptions import (
    InProgressError,
    InvalidInputError,
    PermanentError,
    PipelineError,
    TransientError,
)
from airflow_provider_mlpipe.heartbeat import Heartbeat
from airflow_provider_mlpipe.launcher import Launcher
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import Claim, MetadataStore
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import to_map
from airflow_provider_mlpipe.settings import default_pipeline_root

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
        parameters = {name: _plain(getattr(self, name)) for name in self.SPEC.parameters}
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

    def resolve(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """The artifacts that it names, and the execution that names them."""
        raise NotImplementedError

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """Resolves it."""
        return self.resolve(store, run)

    def run_node(self, run: ComponentRun) -> Published:
        """Resolves it and records the answer."""
        published = publisher.publish_resolution(self.store, self.resolve(self.store, run))
        named = [f"{artifact.TYPE_NAME} {artifact.id}" for artifacts in published.values() for artifact in artifacts]
        self.log.info("%s: %s", self.task_id, ", ".join(named) or "nothing found")
        return published


class ComponentOperator(NodeOperator):
    """A node whose work is done by an executor in another process, and may be skipped when it was done before.

    :param cache: True; "refresh" to run, and let later runs hit the new result; False to run for this run alone
    :param cache_ttl: how old a result may be that is reused (default: any age)
    :param cache_scope: "pipeline" to reuse only results of this DAG (default "store": of any)
    :param cache_files: further files whose content is part of the fingerprint
    :param verify: how the files of a result are looked at before it is reused: "exists" (all are there, in size) or
        "digest" (what they hold, too)
    :param beam_pipeline_args: for the components that use Beam (default: the DAG's; none is the in-memory runner)
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not cls.EXECUTOR:  # a subclass of a component keeps its executor
            cls.EXECUTOR = f"{cls.__module__.rpartition('.')[0]}.executor:run"
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        *,
        cache: CacheMode | None = None,
        cache_ttl: timedelta | None = None,
        cache_scope: CacheScope | None = None,
        cache_files: Sequence[str] = (),
        verify: Verify | None = None,
        beam_pipeline_args: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_cache_settings(self.task_id, cache, cache_ttl, cache_scope, verify)
        self.cache = cache
        self.cache_ttl = cache_ttl
        self.cache_scope = cache_scope
        self.cache_files = tuple(cache_files)
        self.verify = verify
        self.beam_pipeline_args = beam_pipeline_args
        self._launcher = Launcher()

    def component_run(self, context: Context) -> ComponentRun:
        """As a node's, with this component's cache settings."""
        run = super().component_run(context)
        return replace(run, cache=self.cache_policy)

    @property
    def cache_policy(self) -> CachePolicy:
        """The settings, with their defaults."""
        return CachePolicy(
            mode=True if self.cache is None else self.cache,
            ttl=self.cache_ttl,
            scope=self.cache_scope or "store",
            verify=self.verify or "exists",
            files=self.cache_files,
        )

    def decide(self, store: MetadataStore, run: ComponentRun) -> Decision:
        """Hit or miss."""
        return driver.decide(store, run, problem_with=self.cached_outputs_problem)

    def run_node(self, run: ComponentRun) -> Published:
        """A hit is recorded; a miss runs the executor."""
        decision = self.decide(self.store, run)
        if decision.cached is not None:
            self.log.info("%s: cached, %s", self.task_id, decision.reason)
            return publisher.publish_hit(self.store, decision, decision.cached)
        self.log.info("%s: runs, %s", self.task_id, decision.reason)
        return self._run_executor(run, decision)

    def cached_outputs_problem(self, outputs: Published) -> str | None:
        """Why these outputs of an equal execution cannot be used after all, or None."""
        return None

    def on_kill(self) -> None:
        """Airflow ends the task: the executor ends with it."""
        self._launcher.kill()

    def _run_executor(self, run: ComponentRun, decision: Decision) -> Published:
        barrier("driver.before_start")
        try:
            claim = self.store.start_execution(decision.start)
        except InProgressError as other:
            self._wait_for(other)
        barrier("driver.started")
        try:
            with Heartbeat(self.store, claim, on_loss=self._launcher.kill) as heart:
                cached = driver.look_again(self.store, run, decision, problem_with=self.cached_outputs_problem)
                if cached is not None:
                    self.log.info("%s: cached after all, equal to execution %s", self.task_id, cached.execution_id)
                    return self.store.settle(claim, cached.execution_id)
                pending = self._make_outputs(claim)
                with heart.losing_it_is_the_error():
                    result = self._launcher.launch(self._invocation(run, claim, pending), log=self.log.info)
                changed = driver.changed_since(replace(run, external=self.external_inputs(run.parameters)), decision)
                return publisher.publish(self.store, claim, decision, pending, result, changed=changed)
        except BaseException as error:
            self._record_failure(claim, error)
            raise

    def _wait_for(self, other: InProgressError) -> NoReturn:
        from airflow_provider_mlpipe.triggers import ExecutionEndedTrigger

        self.log.info("%s: waits, %s", self.task_id, other)
        trigger = ExecutionEndedTrigger(
            execution_id=other.execution_id, metadata_conn_id=self.metadata_conn_id or MlpipeHook.default_conn_name
        )
        self.defer(trigger=trigger, method_name=self.execute_again.__name__)

    def execute_again(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Looks anew when the execution that this task waited for has ended: it hits that one's result, or runs."""
        return self.execute(context)

    def _make_outputs(self, claim: Claim) -> dict[str, Artifact]:
        root = self.pipeline_root or default_pipeline_root()
        outputs = {
            key: artifact(uri=publisher.output_uri(root, self.task_id, key, claim.execution_id))
            for key, artifact in self.output_types().items()
        }
        for artifact in outputs.values():
            try:
                Path(artifact.uri).mkdir(parents=True)
            except FileExistsError as error:
                raise InvalidInputError(
                    f"{artifact.uri} exists already: pipeline_root {root} belongs to another metadata store. Give each "
                    "store a pipeline_root of its own."
                ) from error
            except OSError as error:
                raise InvalidInputError(
                    f"pipeline_root {root} cannot be written: {error}. Let the Airflow worker's user write there, or "
                    "give another pipeline_root."
                ) from error
        return outputs

    def _invocation(self, run: ComponentRun, claim: Claim, pending: Mapping[str, Artifact]) -> pb.ExecutorInvocation:
        return pb.ExecutorInvocation(
            executor=self.SPEC.executor,
            component_id=self.task_id,
            execution_id=claim.execution_id,
            inputs={name: _message(artifact) for name, artifact in run.inputs.items() if artifact is not None},
            absent_inputs=[name for name, artifact in run.inputs.items() if artifact is None],
            parameters=to_map(run.parameters, self.task_id),
            outputs={key: _message(artifact) for key, artifact in pending.items()},
            beam_pipeline_args=self.beam_pipeline_args or (),
        )

    def _record_failure(self, claim: Claim, error: BaseException) -> None:
        try:
            self.store.fail(claim, f"{type(error).__name__}: {error}")
        except TransientError as lost:  # the store is away: the next try finds this execution and ends it
            self.log.warning("execution %s could not be recorded as failed: %s", claim.execution_id, lost)


def check_cache_settings(where: str, cache: object, cache_ttl: object, cache_scope: object, verify: object) -> None:
    """Raises PipelineError for a cache setting that is none."""
    for name, value, admitted in (
        ("cache", cache, (True, False, "refresh", None)),
        ("cache_scope", cache_scope, ("store", "pipeline", None)),
        ("verify", verify, ("exists", "digest", None)),
    ):
        if value not in admitted or (isinstance(value, int) and not isinstance(value, bool)):
            known = ", ".join(repr(known) for known in admitted[:-1])
            raise PipelineError(f"{where}: {name} is one of {known}, not {value!r}")
    if cache_ttl is not None and not (isinstance(cache_ttl, timedelta) and cache_ttl > timedelta()):
        raise PipelineError(f"{where}: cache_ttl is a positive timedelta, not {cache_ttl!r}")


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


def _plain(value: Any) -> Any:
    """Tuples become lists and paths text, so that a value is the same before and after it crossed to the executor."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _artifact(plain: Mapping[str, Any]) -> Artifact:
    """The inverse of `Artifact.to_dict` for a published artifact."""
    return ARTIFACT_TYPES.get(plain["type"], Artifact)(
        **{key: value for key, value in plain.items() if key != "type"}, state=ArtifactState.LIVE
    )


def _message(artifact: Artifact) -> pb.Artifact:
    return pb.Artifact(
        type=artifact.TYPE_NAME,
        uri=artifact.uri,
        id=artifact.id or 0,
        digest=artifact.digest or "",
        properties=to_map(artifact.properties),
        custom_properties=to_map(artifact.custom_properties),
    )
