"""A plan decides what the tasks would have decided one after the other: runs with and without one publish the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import parts
import pytest
from airflow.sdk import DAG, BaseOperator, TriggerRule
from airflow.sdk.exceptions import AirflowSkipException
from examples import EXAMPLES
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from little_airflow import LittleAirflow

from airflow_provider_mlpipe.artifacts import Examples, Model
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.resolver.operator import ResolverOperator
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.dag_factory import create_dag
from airflow_provider_mlpipe.pipeline.node import NodeOperator


class GateOperator(BaseOperator):
    """A task of the user's that skips what is below it while the file is there."""

    def __init__(self, *, shut: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shut = shut

    def execute(self, context: Any) -> None:
        if self.shut.exists():
            raise AirflowSkipException("shut")


@dataclass
class World:
    """A store and a folder. What happens in it is told by the operations, which are the same in two worlds."""

    folder: Path
    store: MetadataStore
    kinds: Sequence[str]
    is_planned: bool
    text: str = "a"
    airflows: dict[str, LittleAirflow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "data" / "0.txt").touch()

    def airflow(self, dag_id: str) -> LittleAirflow:
        return self.airflows.setdefault(dag_id, LittleAirflow(self.store))

    def nodes(self) -> list[NodeOperator]:
        """A node of each kind. A reader takes the newest Examples that a node before it gives."""
        made: list[NodeOperator] = []
        for number, kind in enumerate(self.kinds):
            channels = [channel for node in made for channel in node.outputs.values()]
            of = {each: [one for one in channels if one.artifact_type is each][-1:] for each in (Examples, Model)}
            made.append(self._node(kind, f"{kind}{number}", of[Examples], of[Model]))
        return made

    def _node(self, kind: str, task_id: str, examples: list[Any], models: list[Any]) -> NodeOperator:
        if kind == "importer":
            return ImporterOperator(task_id=task_id, source_uri=str(self.folder / "data"), artifact_type=Examples)
        if kind in ("newest_examples", "newest_model"):
            found = Examples if kind == "newest_examples" else Model
            return ResolverOperator(task_id=task_id, strategy="LatestArtifact", artifact_type=found)
        if kind == "use" and examples:
            return parts.UseOperator(task_id=task_id, examples=examples[0])
        if kind == "maybe":
            return parts.MaybeOperator(task_id=task_id, examples=(examples or [None])[0], hint=(models or [None])[0])
        return parts.MakeOperator(task_id=task_id, text=self.text, files=1)

    def dag(self, dag_id: str) -> DAG:
        """Each node waits for the one before it, so that what a Resolver finds does not depend on luck.

        The gate is above all nodes: above the plan, or else above each.
        """
        nodes, root = self.nodes(), str(self.folder / "root")
        if self.is_planned:
            dag = create_dag(dag_id, nodes, pipeline_root=root)
            below: list[Any] = [dag.get_task("plan")]
        else:
            dag = DAG(dag_id, schedule=None)
            for node in nodes:
                node.pipeline_root, node.trigger_rule, node.runs_after_hits = root, TriggerRule.NONE_FAILED, True
                dag.add_task(node)
                node.wire()
            below = [*nodes]
        for before, after in pairwise(nodes):
            before.set_downstream(after)
        GateOperator(task_id="gate", shut=self.folder / "shut", dag=dag).set_downstream(below)
        return dag

    # Operations

    def trigger(self, dag_id: str, run_id: str) -> None:
        self.airflow(dag_id).trigger(self.dag(dag_id), run_id)

    def clear(self, dag_id: str, run_id: str, number: int) -> None:
        if run_id in self.airflow(dag_id).runs:
            dag = self.dag(dag_id)
            everything = ["gate", *(["plan"] if self.is_planned else []), *(node.task_id for node in self.nodes())]
            tasks = everything if number == 0 else everything[-number:][:1]
            self.airflow(dag_id).clear(dag, run_id, *tasks)

    def write(self, text: str) -> None:
        self.text = text
        (self.folder / "data" / "0.txt").write_text(text)

    def shut(self, is_shut: bool) -> None:
        (self.folder / "shut").unlink(missing_ok=True)
        if is_shut:
            (self.folder / "shut").touch()

    def lose(self, number: int) -> None:
        """Deletes the newest output of a component."""
        for folder in sorted((self.folder / "root").glob("[!.]*"))[number : number + 1]:
            for key in folder.glob("[!.]*"):
                for newest in sorted(key.iterdir(), key=lambda path: int(path.name))[-1:]:
                    shutil.rmtree(newest)

    def published(self) -> dict[str, Any]:
        return {
            f"{dag_id} {run_id}": airflow.published(self.dag(dag_id), run_id)
            for dag_id, airflow in self.airflows.items()
            for run_id in airflow.runs
        }


DAG_ID, RUN_ID = st.sampled_from(["d", "d", "other"]), st.sampled_from(["r", "r", "s"])
KINDS = st.lists(
    st.sampled_from(["make", "use", "maybe", "importer", "newest_examples", "newest_model"]), min_size=2, max_size=5
)
OPERATION = st.one_of(
    st.tuples(st.just("trigger"), DAG_ID, RUN_ID),
    st.tuples(st.just("trigger"), DAG_ID, RUN_ID),
    st.tuples(st.just("clear"), DAG_ID, RUN_ID, st.integers(0, 4)),
    st.tuples(st.just("write"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("shut"), st.sampled_from([False, False, True])),
    st.tuples(st.just("lose"), st.integers(0, 4)),
)


@pytest.fixture
def world(
    postgres_server: EmbeddedPostgres, _migrated: str, tmp_path: Path
) -> Callable[[str, Sequence[str], bool], World]:
    def make(name: str, kinds: Sequence[str], is_planned: bool) -> World:
        dsn = postgres_server.create_database(name, template=_migrated)
        return World(tmp_path / name, MetadataStore(dsn), kinds, is_planned)

    return make


def test_random_runs_publish_the_same_with_and_without_a_plan(
    postgres_server: EmbeddedPostgres, world: Callable[[str, Sequence[str], bool], World]
) -> None:
    numbers = iter(range(100_000))

    @settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.generate], derandomize=True)
    @example(["make", "newest_examples", "use"], [("trigger", "other", "r"), ("trigger", "d", "r")])
    @example(["importer", "newest_examples", "use"], [("trigger", "d", "r"), ("write", "b"), ("trigger", "d", "s")])
    @example(["make", "use"], [("trigger", "d", "r"), ("trigger", "d", "s"), ("write", "b"), ("trigger", "d", "s")])
    @example(["make", "use"], [("trigger", "d", "s"), ("write", "b"), ("shut", True), ("clear", "d", "s", 0)])
    @example(["newest_examples", "importer"], [("trigger", "d", "r"), ("shut", True), ("trigger", "d", "r")])
    @given(KINDS, st.lists(OPERATION, min_size=4, max_size=7))
    def compare(kinds: Sequence[str], operations: Sequence[tuple[Any, ...]]) -> None:
        number = next(numbers)
        both = [world(f"{name}_{number}", kinds, name == "planned") for name in ("planned", "unplanned")]
        for operation, *arguments in operations:
            for one in both:
                getattr(one, operation)(*arguments)
            planned, unplanned = (one.published() for one in both)
            assert planned == unplanned
        for one in both:
            one.store.close()
            postgres_server.drop_database(f"{one.folder.name}")

    compare()
