"""A way to plan and run DAGs against a real store."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from named_runs import named_run

from airflow_provider_mlpipe.execution.dag_runs import current_run
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.dag_factory import create_dag
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.planning import planner
from airflow_provider_mlpipe.planning.planner import Plan, PlannedNode
from airflow_provider_mlpipe.planning.preview import preview_context


class Pipeline:
    """Plans and runs DAGs, each with a fresh set of operators, without Airflow around them."""

    def __init__(self, dsn: str, root: Path) -> None:
        self.dsn = dsn
        self.store = MetadataStore(dsn)
        self.root = root

    def dag(self, *components: NodeOperator, **settings: Any) -> DAG:
        return self.own(create_dag(settings.pop("dag_id", "d"), components, pipeline_root=str(self.root), **settings))

    def own(self, dag: DAG) -> DAG:
        """A DAG whose components use this store."""
        for component in dag.tasks:
            if isinstance(component, NodeOperator):
                component.store = self.store
        return dag

    def plan(self, dag: DAG, run_id: str = "next", **params: Any) -> dict[str, PlannedNode]:
        context = preview_context(dag, params, run=named_run(dag.dag_id, run_id))
        nodes = planner.preview(dag, self.store, context, plan_task_id="plan")
        return {node.component_id: node for node in nodes}

    def draft(self, dag: DAG, run_id: str = "next", **params: Any) -> Plan:
        """A plan that can be committed."""
        context = preview_context(dag, params, run=named_run(dag.dag_id, run_id))
        return Plan(dag, self.store, context, plan_task_id="plan")

    def run(self, dag: DAG, run_id: str = "earlier") -> DAG:
        """Runs every component, as its task would."""
        context = preview_context(dag, {}, run=named_run(dag.dag_id, run_id))
        for node in dag.topological_sort():
            if isinstance(node, NodeOperator):
                given = {
                    name: self.store.run_outputs(
                        current_run(context), component_id=channel.producer.task_id, key=channel.key
                    )
                    for name, channel in node.input_channels().items()
                }
                copy = node.rendered(context, given)
                copy.run_node(copy.component_run(context))
        return dag


def parsed(path: Path) -> DAG:
    """The file's DAG, as Airflow's DAG processor imports it: under a name that is in no package."""
    name = f"unusual_prefix_{abs(hash(str(path)))}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.dag, DAG)
    return module.dag
