"""The example DAGs as modules, and a way to run one's executors: no Airflow, no store."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fresh import run_executor

from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES, Artifact
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.storage.digests import tree_summary

ROOT = Path(__file__).parents[3]
Outputs = dict[str, dict[str, Artifact]]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the DAGs folder, as Airflow does with that folder on its path; or one of the benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        patch.syspath_prepend(str(ROOT / "dags"))
        patch.setenv("MLPIPE_HOME", str(tmp_path_factory.mktemp("home")))
        yield importlib.import_module


@pytest.fixture(scope="session")
def flight_data(load: Callable[[str], ModuleType]) -> ModuleType:
    """`flights.data`."""
    return load("flights.data")


@pytest.fixture
def run_executors(tmp_path: Path) -> Callable[..., Outputs]:
    """Runs the executors of a DAG's components in their order, each in a process of its own, as tasks do.

    Keywords are RuntimeParameters.
    """

    def run(dag: Any, **params: Any) -> Outputs:
        done: Outputs = {}
        for task in dag.topological_sort():
            if getattr(task, "EXECUTOR", ""):
                done[task.task_id] = _run(task, done, params, tmp_path)
        return done

    return run


def _run(task: Any, done: Outputs, params: Mapping[str, Any], root: Path) -> dict[str, Artifact]:
    outputs = {key: _empty(kind, root / task.task_id / key) for key, kind in task.SPEC.outputs.items()}
    inputs = {name: _artifact(getattr(task, name), done) for name in task.SPEC.inputs}
    arguments = {name: _value(getattr(task, name), params) for name in task.SPEC.parameters}
    temporary = root / task.task_id / "tmp"
    temporary.mkdir()
    context = ExecutorContext(component_id=task.task_id, execution_id=1, tmp_dir=str(temporary))
    produced = run_executor(task.SPEC.executor, **inputs, **arguments, **outputs, context=context).produced
    return {key: _published(output, produced.get(key, Produced())) for key, output in outputs.items()}


def _published(output: Artifact, produced: Produced) -> Artifact:
    properties = {"properties": produced.properties, "custom_properties": produced.custom_properties}
    return replace(output, id=1, digest="d" * 64, files=tree_summary(Path(output.uri)), **properties)


def _empty(artifact_type: str, folder: Path) -> Artifact:
    folder.mkdir(parents=True)
    return ARTIFACT_TYPES[artifact_type](uri=str(folder))


def _artifact(channel: Channel[Any] | None, done: Outputs) -> Artifact | None:
    """What the producer made; a resolver, which has no executor, found nothing."""
    return done.get(channel.producer.task_id, {}).get(channel.key) if channel is not None else None


def _value(value: Any, params: Mapping[str, Any]) -> Any:
    if isinstance(value, RuntimeParameter):
        return params.get(value.name, value.default)
    if isinstance(value, Mapping):
        return {key: _value(item, params) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(item, params) for item in value]
    return value
