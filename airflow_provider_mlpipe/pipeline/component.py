"""The base operator of all components: a node that runs an executor, or reuses an earlier result.

The driver decides. On a miss the task starts an execution, launches the executor and publishes its outputs. On a hit it
records the hit. While an equal execution is running, it waits deferred, without a worker slot.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.driver import CacheMode, CachePolicy, CacheScope, ComponentRun, Decision
from airflow_provider_mlpipe.caching.fingerprint import content_paths
from airflow_provider_mlpipe.caching.user_code import imported_first
from airflow_provider_mlpipe.exceptions import (
    ForeignRootError,
    InProgressError,
    InvalidInputError,
    PipelineError,
    TransientError,
)
from airflow_provider_mlpipe.execution import checkpoints, finished, publisher
from airflow_provider_mlpipe.execution.heartbeat import Heartbeat
from airflow_provider_mlpipe.execution.launcher import Launcher
from airflow_provider_mlpipe.execution.warm import HEAVY, WarmParent, is_possible
from airflow_provider_mlpipe.forms import to_messages
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import Claim, MetadataStore
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.pipeline.node import NodeOperator, Published
from airflow_provider_mlpipe.pipeline.previous import previous
from airflow_provider_mlpipe.pipeline.spec import Setting, module_beside
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import to_map
from airflow_provider_mlpipe.settings import (
    airflow_home,
    default_pipeline_root,
    max_memory_mb,
    warm_parent_idle_seconds,
)
from airflow_provider_mlpipe.storage import ownership
from airflow_provider_mlpipe.storage.artifact_files import Verify
from airflow_provider_mlpipe.storage.disk_errors import translated
from airflow_provider_mlpipe.storage.layout import absolute, folder_of, in_full, output_uris, path_part_problem

if TYPE_CHECKING:
    from airflow.sdk import Context

_ENDED_BY_AIRFLOW = (
    "Airflow ended the task: it was marked failed, success or cleared, its DAG changed or its run timed out, "
    "or its worker was stopped"
)


class ComponentOperator(NodeOperator):
    """A node that runs an executor in another process, or reuses the result of an equal execution.

    :param cache: True: reuse an earlier result if there is one. "refresh": run, and let later runs reuse the new
        result. False: run, and do not let later runs reuse the result
    :param cache_ttl: maximum age of a result that may be reused (default: any age)
    :param cache_scope: "pipeline" to reuse only results of this DAG (default "store": results of any DAG)
    :param cache_files: further files and folders whose content is part of the fingerprint, such as those that
        TensorFlow reads by itself
    :param cache_env: names of environment variables whose values are part of the fingerprint, besides those that the
        code names in `os.environ[...]` and `os.getenv(...)`
    :param verify: how files are checked before a result is reused: "digest" reads them. "exists" reads only what was
        written, moved or replaced since it was published, what is another user's, or what is not below pipeline_root
    :param beam_pipeline_args: for components that use Beam (default: the DAG's; without a runner they run locally)
    """

    HANDED_OVER: ClassVar[tuple[str, ...]] = ()
    """The executor's further arguments, such as a connection: neither recorded nor part of the fingerprint."""

    KEEPS_CHECKPOINTS: ClassVar[bool] = False
    """Whether the executor writes checkpoints to `context.checkpoint_dir`, from which the next try goes on."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # A subclass of a component keeps its executor; a base class without outputs has none.
        if not cls.EXECUTOR and cls.OUTPUTS is not ComponentOperator.OUTPUTS:
            cls.EXECUTOR = f"{module_beside(cls)}:run"
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        *,
        cache: Setting[CacheMode | None] = None,
        cache_ttl: Setting[timedelta | None] = None,
        cache_scope: Setting[CacheScope | None] = None,
        cache_files: Setting[Sequence[str]] = (),
        cache_env: Setting[Sequence[str]] = (),
        verify: Setting[Verify | None] = None,
        beam_pipeline_args: Setting[Sequence[str] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if problem := path_part_problem(self.task_id):
            raise PipelineError(f"the task_id {self.task_id!r} {problem}")
        check_cache_ttl(self.task_id, cache_ttl)
        self.cache = cache
        self.cache_ttl = cache_ttl
        self.cache_scope = cache_scope
        self.cache_files = tuple(cache_files)
        self.cache_env = tuple(cache_env)
        self.verify = verify
        self.beam_pipeline_args = beam_pipeline_args
        self._launcher = Launcher()

    def component_run(self, context: Context) -> ComponentRun:
        """This try as `NodeOperator` makes it, with this component's cache settings."""
        run = super().component_run(context)
        return replace(run, cache=self.cache_policy)

    @property
    def cache_policy(self) -> CachePolicy:
        """The cache settings, with defaults for what is unset."""
        return CachePolicy(
            mode=True if self.cache is None else self.cache,
            ttl=self.cache_ttl,
            scope=self.cache_scope or "store",
            verify=self.verify or "exists",
            root=self._root,
            files=self.cache_files,
            env=self.cache_env,
        )

    def parts_of(self, run: ComponentRun) -> list[ComponentRun]:
        """One part for each artifact of an input that takes one (`parts.py`); most tries have one part.

        Raises InvalidInputError when two inputs have several artifacts, but not of the same spans.
        """
        own = {name: () if name in self.previous_inputs else found for name, found in run.inputs.items()}
        divided = parts.by_input(replace(run, inputs=own, external=self.external_inputs(run.resolved)))
        return [self._with_previous(part, run.inputs) for part in divided] if self.previous_inputs else divided

    def _with_previous(self, part: ComponentRun, given: Published) -> ComponentRun:
        """The part with what was published before its span, of what this run published and the store has."""
        span = parts.properties_of(part).get(parts.SPAN)
        found = {
            name: previous(self.store, given[name], pipeline=part.pipeline, component_id=producer, span=span)
            for name, producer in self.previous_inputs.items()
        }
        return replace(part, inputs={**part.inputs, **{name: [one] if one else [] for name, one in found.items()}})

    def decide(self, store: MetadataStore, run: ComponentRun) -> Decision:
        """Hit or miss of a part."""
        return driver.decide(store, run, problem_with=self.cached_outputs_problem)

    def run_node(self, run: ComponentRun) -> Published:
        """Decides for each part, records the hits, and runs the executor for the others.

        A part that is being made elsewhere is awaited last.
        """
        runs = self.parts_of(run)
        decided = [(part, self.decide(self.store, part)) for part in runs]
        self.store.mark_missing([lost for _, decision in decided for lost in decision.lost])
        if len(runs) > 1:
            self.log.info("%s: %s", self.task_id, parts.plan_of(decided))
        published = {part.part.number: self._publish_hit(part, made) for part, made in decided if made.cached}
        awaited: InProgressError | None = None
        for part, decision in decided:
            if decision.cached is None:
                try:
                    published[part.part.number] = self._run_part(part, decision)
                except InProgressError as other:
                    awaited = awaited or other
        if awaited is not None:
            self._wait_for(awaited)
        return parts.joined([published[number] for number in range(len(runs))])

    def _publish_hit(self, part: ComponentRun, decision: Decision) -> Published:
        assert decision.cached is not None
        self.log.info("%s: cached, %s", self._name_of(part), decision.reason)
        return publisher.publish_hit(self.store, decision.start, decision.cached.execution_id)[1]

    def _run_part(self, part: ComponentRun, decision: Decision) -> Published:
        """Runs the executor, unless an earlier try of this task has finished this part; raises InProgressError."""
        if part.part.count > 1 and (finished_before := self.store.finished_part(decision.start)):
            with contextlib.suppress(TransientError):  # its outputs are not LIVE any more
                _, outputs = publisher.publish_hit(self.store, decision.start, finished_before)
                self.log.info("%s: an earlier try made it, in execution %s", self._name_of(part), finished_before)
                return outputs
        self.log.info("%s: runs, %s", self._name_of(part), decision.reason)
        for unknown in decision.unknown:
            self.log.warning("%s: %s", self.task_id, unknown)
        return self._run_executor(part, decision)

    def _name_of(self, part: ComponentRun) -> str:
        return self.task_id if part.part.count == 1 else f"{self.task_id}, {parts.name_of(part)}"

    def cached_outputs_problem(self, outputs: Published) -> str | None:
        """Why these outputs of an equal execution must not be reused, or None."""
        return None

    def handed_over(self, run: ComponentRun) -> Mapping[str, Any]:
        """The values of HANDED_OVER, by name."""
        return {}

    def warm_parent(self) -> WarmParent | None:
        """The process that forks this component's executor; None where that saves no time or is not possible."""
        idle_seconds = warm_parent_idle_seconds()
        address = Address.parse(self.SPEC.executor)
        if idle_seconds <= 0 or HEAVY.isdisjoint(imported_first(address)) or not is_possible():
            return None
        return WarmParent(home=airflow_home(), idle_seconds=idle_seconds)

    def on_kill(self) -> None:
        """Kills the executor when Airflow ends the task."""
        self._launcher.kill(_ENDED_BY_AIRFLOW)

    def _run_executor(self, run: ComponentRun, decision: Decision) -> Published:
        barrier("driver.before_start")
        claim = self.store.start_execution(decision.start)
        barrier("driver.started")
        on_loss = functools.partial(self._launcher.kill, "its try may not publish any more")
        try:
            with Heartbeat(self.store, claim, on_loss=on_loss) as heart:
                cached = driver.look_again(self.store, run, decision, problem_with=self.cached_outputs_problem)
                if cached is not None:
                    self.log.info("%s: cached after all, equal to execution %s", self.task_id, cached.execution_id)
                    return publisher.publish_late_hit(self.store, claim, cached)
                pending = self._make_outputs(run, claim)
                place = finished.place_of(self._root, self.task_id, claim.execution_id)
                work = finished.take_up(self.store, place, decision, pending)
                if work is None:
                    with heart.losing_it_is_the_error():
                        work = self._work(run, claim, decision, pending)
                    finished.keep(place, work)
                published = publisher.publish(self.store, claim, decision, pending, work)
                finished.forget(place)
                if self.KEEPS_CHECKPOINTS:
                    checkpoints.forget(self.store, self._checkpoints(claim), decision.start.flight)
                return published
        except BaseException as error:
            self._record_failure(claim, error)
            raise

    def _work(self, run: ComponentRun, claim: Claim, decision: Decision, pending: Published) -> pb.FinishedWork:
        invocation = self._invocation(run, claim, pending)
        if self.KEEPS_CHECKPOINTS:
            place = self._checkpoints(claim)
            checkpoints.seed(self.store, place, decision.start.flight)
            invocation.checkpoint_dir = absolute(str(place))
        result = self._launcher.launch(invocation, log=self.log.info, warm=self.warm_parent())
        changed = driver.changed_since(replace(run, external=self.external_inputs(run.resolved)), decision)
        return pb.FinishedWork(result=result, changed=changed)

    def _wait_for(self, other: InProgressError) -> NoReturn:
        from airflow_provider_mlpipe.triggers import ExecutionEndedTrigger

        self.log.info("%s: waits, %s", self.task_id, other)
        trigger = ExecutionEndedTrigger(
            execution_id=other.execution_id, metadata_conn_id=self.metadata_conn_id or MlpipeHook.default_conn_name
        )
        self.defer(trigger=trigger, method_name=self.execute_again.__name__)

    def execute_again(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Decides again when the execution that this task waited for has ended: it reuses that result, or runs."""
        return self.execute(context)

    @property
    def _root(self) -> str:
        return self.pipeline_root or default_pipeline_root()

    def _make_outputs(self, run: ComponentRun, claim: Claim) -> dict[str, list[Artifact]]:
        root = self._root
        outputs = {key: self._pending(run, key, claim.execution_id) for key in self.output_types()}
        try:
            ownership.take(self.store, Path(root), claim.execution_id)
            for artifacts in outputs.values():
                for artifact in artifacts:
                    _make(folder_of(artifact), Path(root))
            if self.KEEPS_CHECKPOINTS:
                _make(self._checkpoints(claim), Path(root))
        except OSError as error:
            raise translated(
                error,
                f"pipeline_root {root} cannot be written",
                "Let the Airflow worker's user write there, or give another pipeline_root",
            ) from error
        return outputs

    def _checkpoints(self, claim: Claim) -> Path:
        return checkpoints.place_of(self._root, self.task_id, claim.execution_id)

    def _pending(self, run: ComponentRun, key: str, execution_id: int) -> list[Artifact]:
        """The artifacts of an output before they are made, with the spans that they will have."""
        if key in self.OUTPUTS_PER:
            spans = [artifact.properties for artifact in run.inputs[self.OUTPUTS_PER[key]]]
        else:
            spans = [parts.properties_of(run)]
        declared = self.output_types()[key]
        uris = output_uris(self._root, self.task_id, key, execution_id, len(spans))
        kept = [name for name in (parts.SPAN, parts.VERSION) if name in declared.PROPERTIES]
        return [
            declared(uri=uri, properties={name: span[name] for name in kept if name in span})
            for uri, span in zip(uris, spans, strict=True)
        ]

    def _invocation(self, run: ComponentRun, claim: Claim, pending: Published) -> pb.ExecutorInvocation:
        paths = {name: absolute(path) for name, path in content_paths(run.spec, run.parameters).items()}
        return pb.ExecutorInvocation(
            executor=self.SPEC.executor,
            component_id=self.task_id,
            execution_id=claim.execution_id,
            inputs={
                name: to_messages(list(map(in_full, found)), several=self.SPEC.inputs[name].several)
                for name, found in run.inputs.items()
            },
            parameters=to_map({**run.resolved, **paths, **self.handed_over(run)}, self.task_id),
            outputs={
                key: to_messages(list(map(in_full, made)), several=key in self.OUTPUTS_PER)
                for key, made in pending.items()
            },
            beam_pipeline_args=self.beam_pipeline_args or (),
            max_memory_mb=max_memory_mb(),
            covered=[*map(absolute, self.cache_files), *paths.values()],
        )

    def _record_failure(self, claim: Claim, error: BaseException) -> None:
        what = str(error)
        if isinstance(error, AirflowTaskTimeout):
            what = f"the task timed out after {self.execution_timeout}, its execution_timeout"
        try:
            self.store.fail(claim, self.masked(f"{type(error).__name__}: {what}"))
        except TransientError as lost:  # the store cannot be reached: the next try will end this execution
            self.log.warning("execution %s could not be recorded as failed: %s", claim.execution_id, lost)


def _make(folder: Path, root: Path) -> None:
    if root.resolve() not in folder.resolve().parents:
        raise InvalidInputError(
            f"{folder} leads to {folder.resolve()}, out of the pipeline_root: replace the link there by a folder"
        )
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ForeignRootError(
            f"{folder} exists already, although this execution is new: another copy of the metadata database may have "
            "made it. Give each copy a pipeline_root of its own"
        ) from error


def check_cache_ttl(where: str, cache_ttl: timedelta | None) -> None:
    """Raises PipelineError for an age that no result can have."""
    if cache_ttl is not None and cache_ttl <= timedelta():
        raise PipelineError(f"{where}: cache_ttl must be positive, but got {cache_ttl!r}")
