"""The warm parent with the libraries that it is for: what its forks make is what fresh processes make."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from light_parent import state, stopped_afterwards
from stamps import without_stamps
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.artifacts import (
    Artifact,
    Examples,
    ExampleStatistics,
    Model,
    ModelBlessing,
    ModelEvaluation,
    ModelRun,
    Schema,
    TransformCache,
    TransformGraph,
)
from airflow_provider_mlpipe.execution.launcher import Launcher
from airflow_provider_mlpipe.execution.warm import WarmParent
from airflow_provider_mlpipe.forms import to_messages
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import from_map, to_map

pytestmark = pytest.mark.heavy

PENGUIN_MODULE = str(Path(__file__).with_name("penguin_module.py"))


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmParent]:
    folder = tmp_path_factory.mktemp("parent")
    with stopped_afterwards(
        WarmParent(home="tests", idle_seconds=600, folder=folder / "warm", least_free=0, patience=PATIENCE)
    ) as parent:
        assert parent.start()
        wait_for(lambda: state(parent).state == "ready")
        yield parent


class Made:
    """What one executor made: its result, the artifacts by key, and its log."""

    def __init__(
        self,
        parent: WarmParent | None,
        component: str,
        inputs: Mapping[str, Artifact | None],
        outputs: Mapping[str, Artifact],
        parameters: Mapping[str, Any],
    ) -> None:
        self.log: list[str] = []
        invocation = pb.ExecutorInvocation(
            executor=f"airflow_provider_mlpipe.components.{component}.executor:run",
            component_id=component,
            execution_id=1,
            inputs={
                key: to_messages([artifact] if artifact else [], several=(component, key) in SEVERAL)
                for key, artifact in inputs.items()
            },
            parameters=to_map(parameters),
            outputs={
                key: to_messages([artifact], several=(component, key) in SEVERAL) for key, artifact in outputs.items()
            },
        )
        self.result = Launcher().launch(invocation, log=self.log.append, warm=parent)
        self.artifacts = {
            key: type(artifact)(uri=artifact.uri, id=1, digest=told.digest, properties=from_map(told.properties))
            for key, artifact in outputs.items()
            for told in self.result.success.outputs[key].artifacts
        }

    @property
    def was_forked(self) -> bool:
        return "fresh process" not in "\n".join(self.log)


Make = Callable[..., Made]
SEVERAL = {
    ("transform", "examples"),
    ("transform", "transformed_examples"),
    ("trainer", "examples"),
    ("evaluator", "examples"),
}


@pytest.fixture(scope="module")
def make(parent: WarmParent, empty: Callable[..., Any]) -> Make:
    """Runs an executor in a fork of the parent, unless another, or None, is given."""

    def run(
        component: str,
        outputs: Mapping[str, type[Artifact]],
        inputs: Mapping[str, Artifact | None],
        using: WarmParent | None = parent,
        **parameters: Any,
    ) -> Made:
        return Made(using, component, inputs, {key: empty(kind) for key, kind in outputs.items()}, parameters)

    return run


def test_the_parent_is_fit_to_be_forked() -> None:
    """No operation of TensorFlow has run, of which its forks would inherit a half, and Keras is the pinned one."""
    code = """
from airflow_provider_mlpipe.execution.warm import PRELOADED
from airflow_provider_mlpipe.execution.warm_parent import import_all
imports = import_all(PRELOADED)
import keras
import sys
import tensorflow as tf
from tensorflow.python.eager import context
assert context._context is None or not context._context._initialized, "an operation has run"
assert keras.__version__.startswith("3."), keras.__version__
assert tf.keras.__version__ == keras.__version__, tf.keras.__version__
assert "airflow" not in sys.modules
assert {"tensorflow", "tensorflow_transform", "tfx_bsl", "apache_beam"} <= imports.modules
"""
    # TFT, imported by another test, may have chosen the legacy Keras for this process.
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_forks_and_fresh_processes_make_the_same(
    make: Make, parent: WarmParent, penguin_examples: Examples, penguin_schema: Schema
) -> None:
    steps: list[tuple[str, dict[str, type[Artifact]], dict[str, Artifact | None], dict[str, Any]]] = [
        (
            "statistics_gen",
            {"statistics": ExampleStatistics},
            {"examples": penguin_examples, "schema": None},
            {"stats_options": None, "exclude_splits": [], "sample_rate_by_split": None},
        ),
        (
            "transform",
            {
                "transform_graph": TransformGraph,
                "transformed_examples": Examples,
                "updated_analyzer_cache": TransformCache,
            },
            {"examples": penguin_examples, "schema": penguin_schema, "analyzer_cache": None},
            {
                "module_file": PENGUIN_MODULE,
                "preprocessing_fn": None,
                "custom_config": None,
                "splits_config": None,
                "disable_analyzer_cache": False,
                "disable_statistics": True,
                "stats_options_updater_fn": None,
            },
        ),
    ]
    for component, outputs, inputs, parameters in steps:
        forked, fresh = (make(component, outputs, inputs, using, **parameters) for using in (parent, None))
        assert forked.was_forked, forked.log
        assert without_stamps(forked.result) == without_stamps(fresh.result), component


def test_forks_train_and_evaluate_side_by_side(
    make: Make,
    penguin_examples: Examples,
    penguin_schema: Schema,
    penguins_transformed: tuple[TransformGraph, Examples],
) -> None:
    graph, transformed = penguins_transformed
    inputs: dict[str, Artifact | None] = {
        "examples": transformed,
        "transform_graph": graph,
        "schema": None,
        "base_model": None,
        "hyperparameters": None,
    }

    def train(steps: int) -> Made:
        return make(
            "trainer",
            {"model": Model, "model_run": ModelRun},
            inputs,
            module_file=PENGUIN_MODULE,
            run_fn=None,
            train_args={"num_steps": steps},
            eval_args={"num_steps": 4},
            custom_config=None,
            check_examples=None,
        )

    with ThreadPoolExecutor(2) as pool:
        trained = list(pool.map(train, [40, 60]))
    assert all(made.was_forked for made in trained), [made.log for made in trained]
    assert all(PENGUIN_MODULE in made.result.user_files for made in trained)
    assert all(Path(made.artifacts["model"].uri, "Format-Serving", "saved_model.pb").is_file() for made in trained)
    evaluated = make(
        "evaluator",
        {"evaluation": ModelEvaluation, "blessing": ModelBlessing},
        {
            "examples": penguin_examples,
            "model": trained[-1].artifacts["model"],
            "baseline_model": None,
            "schema": penguin_schema,
        },
        eval_config={
            "model_specs": [{"label_key": "species_xf", "preprocessing_function_names": ["transform_features"]}],
            "metrics_specs": [
                {"metrics": [{"class_name": "ExampleCount"}, {"class_name": "SparseCategoricalAccuracy"}]}
            ],
            "slicing_specs": [{}, {"feature_keys": ["island"]}],
        },
        example_splits=["eval"],
        rubber_stamp=True,
        module_file=None,
    )
    assert evaluated.was_forked
    assert evaluated.artifacts["blessing"].properties["blessed"] in (0, 1)
