"""Partial runs: which components run, which are taken from an earlier run, and which are left out.

Three Params choose the components: `from_components` (these and all downstream of them), `to_components` (these and all
upstream of them) and `skip_components` (not these). The components upstream of the chosen ones are taken from an
earlier run: the one that `base_run_id` names, or the latest one that has what the chosen ones need. All others are left
out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.dag_runs import current_run
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionStart, MetadataStore, Part, Run
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.storage.artifact_files import Verify, loss

if TYPE_CHECKING:
    from airflow.sdk import Context

FROM, TO, SKIP, BASE = "from_components", "to_components", "skip_components", "base_run_id"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A component's result in an earlier run, which this run uses instead of its own."""

    run_id: str
    parts: Sequence[tuple[ExecutionStart, int]]
    """The executions to record, and those that they take their outputs from."""
    outputs: Mapping[str, Sequence[Artifact]]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The results that a partial run takes from an earlier run, by component, and the components that it leaves out.

    In a whole run both are empty.
    """

    taken: Mapping[str, Taken] = field(default_factory=dict)
    left_out: Collection[str] = ()


def declare(dag: DAG, component_ids: Sequence[str]) -> None:
    """Adds the Params to the DAG, so that the trigger form asks for them."""
    choice = {"type": "array", "items": {"type": "string", "enum": list(component_ids)}, "section": "Partial run"}
    dag.params[FROM] = Param([], description="Run only these and the components downstream.", **_form(choice))
    dag.params[TO] = Param([], description="Run only these and the components upstream.", **_form(choice))
    dag.params[SKIP] = Param([], description="Do not run these.", **_form(choice))
    dag.params[BASE] = Param(
        None,
        type=["null", "string"],
        section="Partial run",
        description="Id of the earlier run that provides the results of the other components (default: the latest run "
        "that has them).",
    )


def _form(choice: Mapping[str, Any]) -> dict[str, Any]:
    """With `examples` Airflow's form shows a list to choose from."""
    return dict(choice) | {"examples": choice["items"]["enum"]}


def select(dag: DAG, store: MetadataStore, context: Context) -> Selection:
    """The selection that the run's Params describe.

    Raises InvalidInputError for an unknown component, when no component is left to run, and when no earlier run has the
    results that are needed.
    """
    params = context["params"]
    first, last, without = (list(params.get(name) or ()) for name in (FROM, TO, SKIP))
    nodes = {task.task_id: task for task in dag.topological_sort() if isinstance(task, NodeOperator)}
    _check_known([*first, *last, *without], nodes)
    if not (first or last or without):
        return Selection()
    runs = _chosen(nodes, first, last, without)
    read = {channel.producer.task_id for task_id in runs for channel in nodes[task_id].input_channels().values()}
    above = set[str]().union(*(nodes[task_id].get_flat_relative_ids(upstream=True) for task_id in runs))
    rest = [task_id for task_id in nodes if task_id in above - runs and (task_id in read or task_id not in without)]
    needed = [task_id for task_id in rest if task_id in _required(nodes, runs)]
    run, base = current_run(context), params.get(BASE)
    taken = _take([nodes[task_id] for task_id in rest], needed, store, run, base)
    return Selection(taken=taken, left_out=nodes.keys() - runs - taken.keys())


def _check_known(given: Iterable[str], nodes: Mapping[str, NodeOperator]) -> None:
    if unknown := sorted(set(given) - nodes.keys()):
        raise InvalidInputError(
            f"{FROM}, {TO} or {SKIP} has unknown components: {', '.join(unknown)}; the DAG has: {', '.join(nodes)}"
        )


def _chosen(
    nodes: Mapping[str, NodeOperator], first: Sequence[str], last: Sequence[str], without: Sequence[str]
) -> set[str]:
    def in_line(task_id: str, ends: Sequence[str], *, upstream: bool) -> bool:
        return not ends or not {task_id, *nodes[task_id].get_flat_relative_ids(upstream=upstream)}.isdisjoint(ends)

    below = {task_id for task_id in nodes if in_line(task_id, first, upstream=True)}
    above = {task_id for task_id in nodes if in_line(task_id, last, upstream=False)}
    chosen = (below & above) - set(without)
    if not chosen:
        raise InvalidInputError(
            f"no component is left to run from {', '.join(first) or 'the start'} to {', '.join(last) or 'the end'} "
            f"without {', '.join(without) or 'exceptions'}; change {FROM}, {TO} or {SKIP}"
        )
    return chosen


def _required(nodes: Mapping[str, NodeOperator], runs: Collection[str]) -> set[str]:
    """The components whose outputs the chosen components must have."""
    return {
        channel.producer.task_id
        for task_id in runs
        for name, channel in nodes[task_id].input_channels().items()
        if not nodes[task_id].SPEC.inputs[name].optional
    }


def _take(
    nodes: Sequence[NodeOperator], needed: Sequence[str], store: MetadataStore, run: Run, base: str | None
) -> dict[str, Taken]:
    earlier, none = _earlier_run(needed or [node.task_id for node in nodes], store, run, base)
    taken = {}
    for node in nodes:
        result, problem = _result(node, store, run, earlier) if earlier else (None, none)
        if result is not None:
            taken[node.task_id] = result
        elif node.task_id in needed:
            raise InvalidInputError(
                f"{node.task_id} cannot be taken from an earlier run: {problem}. Run it, too, or set another {BASE}"
            )
    return taken


def _earlier_run(wanted: Sequence[str], store: MetadataStore, run: Run, base: str | None) -> tuple[Run | None, str]:
    """The run to take results from, and the reason if there is none."""
    if base:
        return store.latest_run(base, other_than=run), f"there is no earlier run {base}"
    latest = store.latest_run_with(wanted, other_than=run) if wanted else None
    return latest, "no run has all that is needed"


def _result(node: NodeOperator, store: MetadataStore, run: Run, earlier: Run) -> tuple[Taken | None, str]:
    """A component's result in an earlier run; or None and the reason why it cannot be used."""
    found = store.run_result(earlier, component_id=node.task_id)
    if not found:
        return None, f"run {earlier.run_id} has no result of this component"
    outputs = store.set_outputs(found[0].part_set)
    for artifact in (artifact for artifacts in outputs.values() for artifact in artifacts):
        problem = None if artifact.state is ArtifactState.LIVE else f"{artifact.uri} is {artifact.state.value}"
        if problem := problem or loss(artifact, _verify(node)):
            return None, f"in run {earlier.run_id}, {problem}"
    part_set = Part().set
    parts = [(_start(each, part_set, store, run), each.cached_from or each.id) for each in found]
    return Taken(run_id=earlier.run_id, parts=parts, outputs=outputs), ""


def _verify(node: NodeOperator) -> Verify:
    return node.cache_policy.verify if isinstance(node, ComponentOperator) else "exists"


def _start(execution: Execution, part_set: str, store: MetadataStore, run: Run) -> ExecutionStart:
    """The execution to record for a part of a result that is taken."""
    inputs = store.execution_artifacts(execution.id, "INPUT")
    return ExecutionStart(
        component_type=execution.type,
        run=run,
        component_id=execution.component_id,
        try_number=0,
        fingerprint=execution.fingerprint,
        fingerprint_parts=execution.fingerprint_parts,
        inputs={key: [artifact.id for artifact in artifacts if artifact.id] for key, artifacts in inputs.items()},
        properties=execution.properties,
        triggered_by=execution.triggered_by,
        environment={"taken_from_run": execution.run_id},
        part=Part(set=part_set, number=execution.part, count=execution.parts),
    )
