"""The argument of `run_fn`, which modules written for TFX also write to."""

from __future__ import annotations

from dataclasses import fields

import pytest

from airflow_provider_mlpipe.components.trainer.fn_args import DataAccessor, FnArgs


def fn_args() -> FnArgs:
    return FnArgs(
        working_dir="/tmp",
        train_files=["/train"],
        eval_files=["/eval"],
        train_steps=None,
        eval_steps=None,
        schema_path="/schema.pbtxt",
        transform_graph_path="/graph",
        data_accessor=DataAccessor(tf_dataset_factory=print, record_batch_factory=print),
        serving_model_dir="/model",
        eval_model_dir="/eval_model",
        model_run_dir="/run",
    )


def test_the_older_names_are_there() -> None:
    given = fn_args()
    assert (given.schema_file, given.transform_output) == ("/schema.pbtxt", "/graph")


@pytest.mark.parametrize("name", [field.name for field in fields(FnArgs)])
def test_a_module_may_set_any_of_them(name: str) -> None:
    given = fn_args()
    setattr(given, name, "other")
    assert getattr(given, name) == "other"


def test_a_module_may_add_to_the_custom_config() -> None:
    given = fn_args()
    given.custom_config["epochs"] = 7
    assert (given.custom_config, fn_args().custom_config) == ({"epochs": 7}, {})
