"""An executor's signature is its operator's spec: inputs, parameters, outputs, then `context`."""

from __future__ import annotations

import importlib
import inspect

import pytest

import airflow_provider_mlpipe
from airflow_provider_mlpipe.pipeline.component import ComponentOperator

pytestmark = pytest.mark.heavy

OPERATORS = [
    public
    for name in airflow_provider_mlpipe.__all__
    if isinstance(public := getattr(airflow_provider_mlpipe, name), type) and issubclass(public, ComponentOperator)
    if public is not ComponentOperator
]


def test_all_components_are_looked_at() -> None:
    assert len(OPERATORS) >= 9


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_the_executor_takes_what_the_operator_declares(operator: type[ComponentOperator]) -> None:
    module, _, function = operator.EXECUTOR.partition(":")
    taken = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    spec = operator.SPEC
    assert set(taken) == {*spec.inputs, *spec.parameters, *spec.outputs, *operator.HANDED_OVER, "context"}
    assert {parameter.kind for parameter in taken.values()} == {inspect.Parameter.KEYWORD_ONLY}
