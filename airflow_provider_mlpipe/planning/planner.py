"""Decides for a whole DAG what a run would do, before anything runs.

The planner asks each component in topological order what it would do. A component can answer only when everything
upstream of it is settled. Then its inputs are known, and its task may be skipped. (After a skipped task, the next tasks
start at once, so nothing upstream may still be open.)

- Settled are hits, nodes that only find artifacts, and results that a partial run takes from an earlier run.
- A component that runs is not settled. Everything downstream of it is unknown until it has run; it may still be a hit.
- Before that, a component may already be seen to fail, by those of its inputs that are known (`check_foreseen`).
- Everything downstream of a task that is not a component is unknown, too, unless that task is upstream of the plan and
  has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException
from jinja2 import Environment, TemplateSyntaxError
from jinja2.meta import find_undeclared_variables

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching.driver import ComponentRun, Decision, Outputs, Resolution
from airflow_provider_mlpipe.exceptions import PermanentError, SchemaVersionError, StoreUnavailableError
from airflow_provider_mlpipe.execution import publisher
from airflow_provider_mlpipe.execution.dag_runs import current_run
from airflow_provider_mlpipe.metadata.store import MetadataStore, PlannedTask
from airflow_provider_mlpipe.nested import leaves
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.planning import partial_run
from airflow_provider_mlpipe.planning.partial_run import Taken
from airflow_provider_mlpipe.storage.layout import folder_of

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

Outcome = tuple[Decision, ...] | Resolution | Taken
"""For a component, the decision of each of its parts."""

_OF_ITS_OWN_TASK = {"ti", "task", "task_instance", "task_instance_key_str", "map_index_template"}
_LETS_SKIPPED_PASS = {"none_failed", "all_done", "always"}


class Verdict(str, Enum):
    """What a plan says about a component."""

    HIT = "hit"
    RESOLVED = "resolved"
    TAKEN = "taken"
    LEFT_OUT = "left out"
    RUN = "run"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class PlannedNode:
    """A component's verdict, the reason, the outcome as far as it is known, and whether its task can be skipped.

    `reads` says where each input comes from.
    """

    component_id: str
    verdict: Verdict
    reason: str
    reads: Mapping[str, Channel[Any]]
    outcome: Outcome | None = None
    outputs: Outputs | None = None
    is_skipped: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether its outputs are known."""
        return self.outputs is not None


def preview(dag: DAG, store: MetadataStore, context: Context, *, plan_task_id: str) -> list[PlannedNode]:
    """What each component of the DAG would do in a run with the context's Params, in topological order.

    It reads the store and hashes files. Raises what `Plan` raises.
    """
    plan = Plan(dag, store, context, plan_task_id=plan_task_id)
    if plan.is_final:
        return plan.nodes
    with contextlib.suppress(_UndoneError), store.transaction():
        plan.record()
        raise _UndoneError
    return plan.nodes


class _UndoneError(Exception):
    """Undoes a transaction."""


class Plan:
    """What each component of a DAG would do in a run, in topological order.

    First it is a draft: files are hashed, which may take long, and nothing is recorded. A node that searches the store,
    such as a Resolver, must also find what the nodes above it publish in this run. So `commit` records one node after
    the other, in one transaction, and there decides again for those that search, and for the nodes below them.

    The DAG's tasks upstream of `plan_task_id` must have ended. Raises TransientError when the store cannot be reached,
    and InvalidInputError when a partial run asks for components or results that do not exist.
    """

    def __init__(self, dag: DAG, store: MetadataStore, context: Context, *, plan_task_id: str) -> None:
        self._tasks = {task.task_id: task for task in dag.topological_sort()}
        self._store = store
        self._context = context
        self._selection = partial_run.select(dag, store, context)
        self._ended = self._above(plan_task_id) | {plan_task_id}
        self._nodes: dict[str, PlannedNode] = {}
        self._copies: dict[str, NodeOperator] = {}
        for task_id, task in self._tasks.items():
            if task_id not in self._ended and _is_node(task):
                self._decide(task)

    @property
    def nodes(self) -> list[PlannedNode]:
        """The decisions so far."""
        return list(self._nodes.values())

    @property
    def is_final(self) -> bool:
        """Whether recording cannot change a decision."""
        return not any(self._finds_what_is_recorded(task_id) for task_id in self._nodes)

    def commit(self, *, clear: int) -> bool:
        """Records every outcome and the plan itself in one transaction; False if another process did it first."""
        is_first = self._store.commit_plan(current_run(self._context), clear=clear, record=self.record)
        for copy in self._copies.values():
            copy.remember()
        return is_first

    def record(self) -> list[PlannedTask]:
        """Records every outcome, and returns the plan; call it in a transaction."""
        return [self._recorded(task_id) for task_id in self._nodes]

    def _recorded(self, task_id: str) -> PlannedTask:
        task, part_set = self._tasks[task_id], None
        if any(self._finds_what_is_recorded(other) for other in [task_id, *self._above(task_id)]):
            self._decide(task)
        node = self._nodes[task_id]
        if node.outcome is not None and node.is_settled:
            part_set, outputs = self._record(node)
            self._nodes[task_id] = replace(node, outputs=outputs)
        return PlannedTask(
            component_id=node.component_id,
            verdict=node.verdict.value,
            reason=node.reason,
            is_skipped=node.is_skipped,
            part_set=part_set,
        )

    def _record(self, node: PlannedNode) -> tuple[str, Outputs]:
        """Records a node's outcome; returns the set of its executions, and their outputs.

        Its inputs were recorded before; then an Importer's new artifact has its id.
        """
        assert node.outcome is not None
        if isinstance(node.outcome, Taken):
            recorded = [
                publisher.publish_hit(self._store, start, cached_from) for start, cached_from in node.outcome.parts
            ]
            return node.outcome.parts[0][0].part.set, parts.joined([outputs for _, outputs in recorded])
        known = {name: self._given(channel) for name, channel in node.reads.items()}
        ids = {name: [artifact.id for artifact in found if artifact.id is not None] for name, found in known.items()}
        if isinstance(node.outcome, Resolution):
            start = replace(node.outcome.start, inputs={**ids, **node.outcome.start.inputs})
            _, outputs = publisher.publish_resolution(self._store, replace(node.outcome, start=start))
            return start.part.set, outputs
        self._store.mark_missing([lost for decision in node.outcome for lost in decision.lost])
        published = []
        for decision in node.outcome:
            assert decision.cached is not None
            start = replace(decision.start, inputs={**ids, **decision.start.inputs})
            published.append(publisher.publish_hit(self._store, start, decision.cached.execution_id)[1])
        return node.outcome[0].start.part.set, parts.joined(published)

    def _finds_what_is_recorded(self, task_id: str) -> bool:
        """Whether it searches the store, and a node above it publishes there with the plan."""
        if not _searches(self._tasks[task_id]):
            return False
        above = (self._nodes.get(other) for other in self._above(task_id))
        return any(node is not None and node.outcome is not None for node in above)

    def _decide(self, task: Any) -> None:
        self._nodes[task.task_id] = self._with_skip(task, self._node(task))

    def _node(self, task: Any) -> PlannedNode:
        if not isinstance(task, NodeOperator):
            return _open(task, Verdict.UNKNOWN, "it is mapped; each of its tasks decides for itself")
        if task.task_id in self._selection.left_out:
            return replace(_open(task, Verdict.LEFT_OUT, "not part of this partial run"), outputs={})
        try:
            return self._decided(task)
        except AirflowSkipException as error:
            return _open(task, Verdict.UNKNOWN, str(error))
        except (StoreUnavailableError, SchemaVersionError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its task meets it, too: people look for it there
            return _open(task, Verdict.FAILS, task.masked(f"{type(error).__name__}: {error}"))

    def _first_open_above(self, task_id: str) -> str | None:
        """The nearest upstream task that is not settled."""
        above = self._above(task_id)
        is_open = (other for other in reversed(self._tasks) if other in above and not self._is_settled(other))
        return next(is_open, None)

    def _is_settled(self, task_id: str) -> bool:
        return task_id in self._ended or (task_id in self._nodes and self._nodes[task_id].is_settled)

    def _decided(self, task: NodeOperator) -> PlannedNode:
        if taken := self._selection.taken.get(task.task_id):
            return self._taken(task, taken)
        if waits_for := self._first_open_above(task.task_id):
            self._look_ahead(task)
            return _open(task, Verdict.UNKNOWN, f"waits for {waits_for}")
        if own := _what_only_its_task_knows(task):
            return _open(task, Verdict.UNKNOWN, own)
        given = {name: self._given(channel) for name, channel in task.input_channels().items()}
        copy = task.rendered(self._context, given)
        copy.store = self._store  # whose key the digests of secrets have
        self._copies[task.task_id] = copy
        runs = copy.parts_of(replace(copy.component_run(self._context), try_number=0))
        return _gated(copy, _with_outcome(task, runs, [copy.decide(self._store, run) for run in runs]))

    def _look_ahead(self, task: NodeOperator) -> None:
        """Lets a node that has to wait look at those inputs that are known; raises what it finds."""
        if type(task).check_foreseen is NodeOperator.check_foreseen or _what_only_its_task_knows(task):
            return
        try:
            copy = task.rendered(self._context, {})
            known = {name: self._foreseen(channel) for name, channel in task.input_channels().items()}
        except Exception:  # noqa: BLE001 - it may still come right: what it waits for has not run
            return
        copy.check_foreseen({name: path for name, path in known.items() if path is not None})

    def _foreseen(self, channel: Channel[Any]) -> Path | None:
        producer: Any = channel.producer
        if known := self._given(channel):
            return folder_of(known[0])
        node = self._nodes.get(producer.task_id)
        if node is None or node.verdict is not Verdict.RUN:
            return None
        foreseen: Mapping[str, Path] = producer.rendered(self._context, {}).foreseen_outputs()
        return foreseen.get(channel.key)

    def _taken(self, task: NodeOperator, taken: Taken) -> PlannedNode:
        node = replace(_open(task, Verdict.TAKEN, f"from run {taken.run_id}"), outcome=taken, outputs=taken.outputs)
        if type(task).check_gate is NodeOperator.check_gate:
            return node
        return _gated(task.rendered(self._context, {}), node)

    def _with_skip(self, task: Any, node: PlannedNode) -> PlannedNode:
        """Decides whether the node's task can be skipped.

        Only components may follow a skipped task, since Airflow would skip other tasks, too. And everything upstream
        must be settled, since the tasks after a skipped one may start before an upstream task has ended. A skipped task
        sends no events, so a node with outlets that may find something new must run.
        """
        if not node.is_settled:
            return node
        is_left_out = node.verdict is Verdict.LEFT_OUT
        let_pass = all(_is_node(other) and other.trigger_rule in _LETS_SKIPPED_PASS for other in task.downstream_list)
        all_known = all(self._is_settled(other) for other in self._above(task.task_id))
        may_be_news = isinstance(node.outcome, Resolution) and bool(task.outlets)
        return replace(node, is_skipped=is_left_out or (let_pass and all_known and not may_be_news))

    def _given(self, channel: Channel[Any]) -> Sequence[Artifact]:
        """What is known of a channel's artifacts."""
        return channel.selected(self._outputs(channel.producer.task_id).get(channel.key, ()))

    def _outputs(self, task_id: str) -> Outputs:
        return (self._nodes[task_id].outputs if task_id in self._nodes else None) or {}

    def _above(self, task_id: str) -> set[str]:
        return set(self._tasks[task_id].get_flat_relative_ids(upstream=True))


def _is_node(task: Any) -> bool:
    operator = getattr(task, "operator_class", type(task))  # a mapped task has the operator that it maps
    return isinstance(operator, type) and issubclass(operator, NodeOperator)


def _searches(task: Any) -> bool:
    return isinstance(task, NodeOperator) and task.searches_store


def _open(task: Any, verdict: Verdict, reason: str) -> PlannedNode:
    reads = task.input_channels() if isinstance(task, NodeOperator) else {}
    return PlannedNode(component_id=task.task_id, verdict=verdict, reason=reason, reads=reads)


def _with_outcome(
    task: NodeOperator, runs: Sequence[ComponentRun], found: Sequence[Decision | Resolution]
) -> PlannedNode:
    if isinstance(outcome := found[0], Resolution):
        named = [str(artifact.id or artifact.uri) for artifacts in outcome.outputs.values() for artifact in artifacts]
        reason = f"found {', '.join(named)}" if named else "nothing found"
        return replace(_open(task, Verdict.RESOLVED, reason), outcome=outcome, outputs=outcome.outputs)
    decisions = tuple(decision for decision in found if isinstance(decision, Decision))
    hits = [decision.cached.outputs for decision in decisions if decision.cached is not None]
    reason = _reason(runs, decisions)
    if len(hits) < len(decisions):
        return _open(task, Verdict.RUN, reason)
    return replace(_open(task, Verdict.HIT, reason), outcome=decisions, outputs=parts.joined(hits))


def _reason(runs: Sequence[ComponentRun], decisions: Sequence[Decision]) -> str:
    if len(decisions) == 1:
        return decisions[0].reason
    why = next((f"; {decision.reason}" for decision in decisions if decision.cached is None), "")
    return parts.plan_of(list(zip(runs, decisions, strict=True))) + why


def _gated(task: NodeOperator, node: PlannedNode) -> PlannedNode:
    """If the gate fails on a result that is reused, the task is not skipped: it runs, finds the result, and fails."""
    if node.outputs is None:
        return node
    try:
        for outputs in parts.outputs_of(node.outputs):
            task.check_gate(outputs)
    except PermanentError as error:
        reason = task.masked(f"{node.reason}; its gate fails: {error}")
        return replace(node, verdict=Verdict.FAILS, reason=reason, outputs=None, outcome=None)
    return node


def _what_only_its_task_knows(task: NodeOperator) -> str | None:
    if "params" in {**task.dag.default_args, **task.given_arguments}:  # its `params` has those of the DAG, too
        return "it has Params of its own"
    environment = task.get_template_env()
    for name in task.template_fields:
        for text in leaves(getattr(task, name)):
            if isinstance(text, str) and _OF_ITS_OWN_TASK & _names_in(text, environment):
                return f"its {name} is known only in its task: {text}"
    return None


def _names_in(text: str, environment: Environment) -> set[str]:
    """The names that a template uses; none if it is wrong, which shows when it is rendered."""
    try:
        return find_undeclared_variables(environment.parse(text))
    except TemplateSyntaxError:
        return set()
