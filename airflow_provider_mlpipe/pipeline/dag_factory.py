"""`create_dag` makes an Airflow DAG of components; their channels are its edges."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_type_hints

from airflow.sdk import DAG, BaseOperator, Param, TriggerRule

from airflow_provider_mlpipe.caching.driver import CacheMode, CacheScope
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.nested import leaves
from airflow_provider_mlpipe.pipeline.authoring import construct_again, names_its_line, unknown_arguments
from airflow_provider_mlpipe.pipeline.component import check_cache_ttl
from airflow_provider_mlpipe.pipeline.declared import as_written, converted
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.pipeline.plain_values import plain, shown
from airflow_provider_mlpipe.pipeline.wiring import misfits
from airflow_provider_mlpipe.planning import partial_run
from airflow_provider_mlpipe.planning.plan_task import PLAN_TASK_ID, PlanOperator
from airflow_provider_mlpipe.storage.artifact_files import Verify


@names_its_line
def create_dag(
    dag_id: str,
    components: Iterable[NodeOperator],
    *,
    pipeline_root: str | None = None,
    schedule: Any = None,
    metadata_conn_id: str | None = None,
    beam_pipeline_args: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    cache: CacheMode = True,
    cache_ttl: timedelta | None = None,
    cache_scope: CacheScope = "store",
    verify: Verify = "exists",
    **dag_kwargs: Any,
) -> DAG:
    """Makes a DAG of the components, given in any order. A component's own setting overrides the DAG's.

    The task `plan` runs first. It decides what can be skipped, and says why in its log.

    :param pipeline_root: folder below which outputs are written (default `[mlpipe] pipeline_root`)
    :param metadata_conn_id: Airflow connection of type `mlpipe` (default `mlpipe_default`)
    :param beam_pipeline_args: for components that use Beam
    :param params: more Airflow Params; one with the name of a RuntimeParameter replaces the Param made from it
    :param cache: True: reuse earlier results. "refresh": run, and let later runs reuse the new results. False: run, and
        do not let later runs reuse the results
    :param cache_ttl: maximum age of a result that may be reused (default: any age)
    :param cache_scope: "pipeline" to reuse only results of this DAG (default "store": results of any DAG)
    :param verify: how files are checked before a result is reused: "digest" reads them. "exists" reads only what was
        written, moved or replaced since it was published, what is another user's, or what is not below pipeline_root
    :param dag_kwargs: other arguments of `airflow.sdk.DAG`; a table of the components is appended to its `doc_md`

    Other tasks are added afterwards: `with dag: prepare() >> dag.get_task("plan")` for a task that must end before the
    plan decides. A component also runs after a skipped component (`trigger_rule` "none_failed"), since that may be a
    hit. After another task that was skipped, it is skipped, too.
    Raises PipelineError for a duplicate id, a cycle, or a channel that is missing, has an unknown key, another type, or
    a producer that is not among the components.
    """
    ordered = _in_order(_by_id(dag_id, components))
    settings = _settings(
        dag_id,
        pipeline_root=pipeline_root,
        metadata_conn_id=metadata_conn_id,
        beam_pipeline_args=beam_pipeline_args,
        cache=cache,
        cache_ttl=cache_ttl,
        cache_scope=cache_scope,
        verify=verify,
    )
    dag_kwargs |= {"schedule": schedule, "params": _params(dag_id, params or {})}
    dag_kwargs["doc_md"] = f"{dag_kwargs.get('doc_md') or f'# {dag_id}'}\n\n{_doc(ordered)}"
    dag = _dag(dag_id, dag_kwargs)
    for component in ordered:
        _construct_in(dag, component, settings)
    _add_plan(dag, ordered, metadata_conn_id)
    return dag


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """The arguments of `create_dag` that apply to all components."""

    pipeline_root: str | None
    metadata_conn_id: str | None
    beam_pipeline_args: Sequence[str]
    cache: CacheMode
    cache_ttl: timedelta | None
    cache_scope: CacheScope
    verify: Verify


def _settings(dag_id: str, **given: Any) -> _Settings:
    types = get_type_hints(_Settings)
    with misfits(dag_id, PipelineError):
        settings = _Settings(**{name: converted(value, types[name], name, as_written) for name, value in given.items()})
    check_cache_ttl(dag_id, settings.cache_ttl)
    return settings


def _params(dag_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The Params; as a component's parameters, they hold only what Airflow can store."""
    with misfits(dag_id, PipelineError):
        for name, param in params.items():
            for leaf in leaves(param.value if isinstance(param, Param) else ()):
                if isinstance(leaf, (int, float)):
                    plain(leaf, f"params.{name}")
        return {
            name: param if isinstance(param, Param) else converted(param, Any, f"params.{name}", as_written)
            for name, param in params.items()
        }


def _dag(dag_id: str, arguments: Mapping[str, Any]) -> DAG:
    known = inspect.signature(DAG).parameters
    if unknown := unknown_arguments(arguments, known, inspect.signature(create_dag).parameters):
        raise PipelineError(f"{dag_id}: {unknown}")
    try:
        return DAG(dag_id, **arguments)
    except (TypeError, ValueError) as error:
        raise PipelineError(f"{dag_id}: {error}") from None


def _add_plan(dag: DAG, components: Sequence[NodeOperator], metadata_conn_id: str | None) -> None:
    partial_run.declare(dag, [component.task_id for component in components])
    plan = PlanOperator(task_id=PLAN_TASK_ID, metadata_conn_id=metadata_conn_id, dag=dag)
    for component in components:
        component.planned_by = plan.task_id
        if not component.upstream_task_ids:
            component.set_upstream(plan)


def _by_id(dag_id: str, components: Iterable[NodeOperator]) -> dict[str, NodeOperator]:
    if isinstance(components, (BaseOperator, str)) or not isinstance(components, Iterable):
        raise PipelineError(f"{dag_id}: components must be a list of operators, but got {shown(components)}")
    by_id: dict[str, NodeOperator] = {}
    for component in components:
        _check_component(dag_id, component)
        if component.task_id == PLAN_TASK_ID:
            raise PipelineError(
                f"{dag_id}: the task_id {PLAN_TASK_ID!r} is reserved for the plan; give the component another task_id"
            )
        if component.task_id in by_id:
            raise PipelineError(
                f"{dag_id}: two components have the id {component.task_id!r} "
                f"({type(by_id[component.task_id]).__name__} and {type(component).__name__}); give one another task_id"
            )
        by_id[component.task_id] = component
    return by_id


def _check_component(dag_id: str, component: Any) -> None:
    if not isinstance(component, NodeOperator):
        raise PipelineError(
            f"{dag_id}: {component!r} is not a component; add other tasks to the DAG afterwards: "
            "`with dag: ... >> dag.get_task(...)`"
        )
    if component.has_dag():  # type: ignore[no-untyped-call]
        raise PipelineError(
            f"{dag_id}: {component.task_id} is already in the DAG {component.dag_id!r}; create components outside of "
            "`with DAG(...)`, and use each in one DAG only"
        )


def _in_order(by_id: Mapping[str, NodeOperator]) -> list[NodeOperator]:
    """Sorts producers before consumers, else as given; raises PipelineError, which names both ends of a wrong edge."""
    producers = {task_id: _producers(component, by_id) for task_id, component in by_id.items()}
    ordered: dict[str, NodeOperator] = {}
    while len(ordered) < len(by_id):
        ready = [task_id for task_id in by_id if task_id not in ordered and producers[task_id] <= ordered.keys()]
        if not ready:
            raise PipelineError(
                f"the components read each other's outputs in a cycle: "
                f"{_cycle(producers, ordered)}. Break it, e.g. with a Resolver that reads an earlier run's artifact"
            )
        ordered |= {task_id: by_id[task_id] for task_id in ready}
    return list(ordered.values())


def _producers(component: NodeOperator, by_id: Mapping[str, NodeOperator]) -> set[str]:
    for name, channel in component.input_channels().items():
        if by_id.get(channel.producer.task_id) is not channel.producer:
            raise PipelineError(
                f"{component.task_id}.{name} reads {channel!r}, but {channel.producer.task_id} is not among the "
                "components given to create_dag; add it to the list"
            )
    return {channel.producer.task_id for channel in component.input_channels().values()}


def _cycle(producers: Mapping[str, set[str]], ordered: Mapping[str, Any]) -> str:
    """One cycle among the components that are not in `ordered`, as "A → B → A" (A reads B)."""
    path = [next(task_id for task_id in producers if task_id not in ordered)]
    while path.count(path[-1]) == 1:
        path.append(min(producers[path[-1]] - ordered.keys()))
    return " → ".join(path[path.index(path[-1]) :])


def _construct_in(dag: DAG, component: NodeOperator, settings: _Settings) -> None:
    """Constructs the component in the DAG, so that Airflow does all that it does for `with DAG(...)`."""
    given = component.given_arguments
    defaults = {
        name: value
        for name, value in vars(settings).items()
        if hasattr(component, name) and getattr(component, name) is None
    }
    for name in defaults.keys() & dag.default_args.keys():
        del defaults[name]
    # Skipped components may be hits, which don't skip what is below them. A DAG with fail_fast has no other rule than
    # Airflow's own; there, and below a rule that the user chose, the plan does not skip hits.
    runs_after_hits = "trigger_rule" not in {*given, *dag.default_args} and not dag.fail_fast
    if runs_after_hits:
        defaults["trigger_rule"] = TriggerRule.NONE_FAILED
    construct_again(component, **defaults, dag=dag)
    if component.metadata_conn_id != settings.metadata_conn_id:
        raise PipelineError(
            f"{component.task_id}: metadata_conn_id is {component.metadata_conn_id!r}, but that of the DAG is "
            f"{settings.metadata_conn_id!r}; give it to create_dag alone, for the plan and all components"
        )
    component.runs_after_hits = runs_after_hits


def _doc(components: Sequence[NodeOperator]) -> str:
    """A table of the components and what they read and write, for the DAG's page in the UI."""
    rows = "\n".join(
        f"| {component.task_id} | {type(component).__name__} | {_inputs(component)} | {_outputs(component)} |"
        for component in components
    )
    return f"| component | operator | reads | writes |\n|---|---|---|---|\n{rows}\n"


def _inputs(component: NodeOperator) -> str:
    channels = component.input_channels().items()
    return ", ".join(f"{name} ← {channel.producer.task_id}.{channel.key}" for name, channel in channels)


def _outputs(component: NodeOperator) -> str:
    return ", ".join(f"{key} ({channel.artifact_type.TYPE_NAME})" for key, channel in component.outputs.items())
