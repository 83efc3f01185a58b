"""The base operator of all components: a node that runs an executor, or reuses an earlier result.

The driver decides. On a miss the task starts an execution, launches the executor and publishes its outputs. On a hit it
records the hit. While an equal execution is running, it waits deferred, without a worker slot.
"""

from __future__ import annotations

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
from airflow_provider_mlpipe.execution import finished, publisher
from airflow_provider_mlpipe.execution.heartbeat import Heartbeat
from airflow_provider_mlpipe.execution.launcher import Launcher
from airflow_provider_mlpipe.execution.warm import HEAVY, WarmParent, is_possible
from airflow_provider_mlpipe.forms import to_message
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import Claim, MetadataStore
from airflow_provider_mlpipe.pipeline.node import NodeOperator, Published
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
from airflow_provider_mlpipe.storage.layout import absolute, folder_of, in_full, output_uri, path_part_problem

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

    def decide(self, store: MetadataStore, run: ComponentRun) -> Decision:
        """Hit or miss."""
        return driver.decide(store, run, problem_with=self.cached_outputs_problem)

    def run_node(self, run: ComponentRun) -> Published:
        """Records a hit; on a miss, runs the executor."""
        decision = self.decide(self.store, run)
        self.store.mark_missing(decision.lost)
        if decision.cached is not None:
            self.log.info("%s: cached, %s", self.task_id, decision.reason)
            _, outputs = publisher.publish_hit(self.store, decision.start, decision.cached.execution_id)
            return outputs
        self.log.info("%s: runs, %s", self.task_id, decision.reason)
        for unknown in decision.unknown:
            self.log.warning("%s: %s", self.task_id, unknown)
        return self._run_executor(run, decision)

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
        try:
            claim = self.store.start_execution(decision.start)
        except InProgressError as other:
            self._wait_for(other)
        barrier("driver.started")
        on_loss = functools.partial(self._launcher.kill, "its try may not publish any more")
        try:
            with Heartbeat(self.store, claim, on_loss=on_loss) as heart:
                cached = driver.look_again(self.store, run, decision, problem_with=self.cached_outputs_problem)
                if cached is not None:
                    self.log.info("%s: cached after all, equal to execution %s", self.task_id, cached.execution_id)
                    return publisher.publish_late_hit(self.store, claim, cached)
                pending = self._make_outputs(claim)
                place = finished.place_of(self._root, self.task_id, claim.execution_id)
                work = finished.take_up(self.store, place, decision, pending)
                if work is None:
                    with heart.losing_it_is_the_error():
                        work = self._work(run, claim, decision, pending)
                    finished.keep(place, work)
                published = publisher.publish(self.store, claim, decision, pending, work)
                finished.forget(place)
                return published
        except BaseException as error:
            self._record_failure(claim, error)
            raise

    def _work(
        self, run: ComponentRun, claim: Claim, decision: Decision, pending: Mapping[str, Artifact]
    ) -> pb.FinishedWork:
        invocation = self._invocation(run, claim, pending)
        result = self._launcher.launch(invocation, log=self.log.info, warm=self.warm_parent())
        changed = driver.changed_since(replace(run, external=self.external_inputs(run.parameters)), decision)
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

    def _make_outputs(self, claim: Claim) -> dict[str, Artifact]:
        root = self._root
        outputs = {
            key: artifact(uri=output_uri(root, self.task_id, key, claim.execution_id))
            for key, artifact in self.output_types().items()
        }
        try:
            ownership.take(self.store, Path(root), claim.execution_id)
            for artifact in outputs.values():
                _make(folder_of(artifact), Path(root))
        except OSError as error:
            raise translated(
                error,
                f"pipeline_root {root} cannot be written",
                "Let the Airflow worker's user write there, or give another pipeline_root",
            ) from error
        return outputs

    def _invocation(self, run: ComponentRun, claim: Claim, pending: Mapping[str, Artifact]) -> pb.ExecutorInvocation:
        paths = {name: absolute(path) for name, path in content_paths(run.spec, run.parameters).items()}
        return pb.ExecutorInvocation(
            executor=self.SPEC.executor,
            component_id=self.task_id,
            execution_id=claim.execution_id,
            inputs={
                name: to_message(in_full(artifact)) for name, artifact in run.inputs.items() if artifact is not None
            },
            absent_inputs=[name for name, artifact in run.inputs.items() if artifact is None],
            parameters=to_map({**run.parameters, **paths, **self.handed_over(run)}, self.task_id),
            outputs={key: to_message(in_full(artifact)) for key, artifact in pending.items()},
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
