"""What an operator's docstring has to say: each argument of its own, and each output."""

from __future__ import annotations

import inspect
import re

import pytest

import airflow_provider_mlpipe as mlpipe
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.node import NodeOperator

PUBLIC = [getattr(mlpipe, name) for name in mlpipe.__all__]
OPERATORS = [
    item
    for item in PUBLIC
    if inspect.isclass(item) and issubclass(item, NodeOperator) and item is not ComponentOperator
]


def described(operator: type[NodeOperator]) -> list[str]:
    return re.findall(r"^ *:param (\w+): \S", operator.__doc__ or "", flags=re.MULTILINE)


def test_there_are_operators() -> None:
    assert OPERATORS


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_input_and_parameter_is_described(operator: type[NodeOperator]) -> None:
    assert {*operator.SPEC.inputs, *operator.SPEC.parameters} <= set(described(operator))


@pytest.mark.parametrize("operator", OPERATORS)
def test_arguments_are_described_once_and_in_their_order(operator: type[NodeOperator]) -> None:
    _, *arguments = inspect.signature(operator.__init__).parameters
    assert described(operator) == arguments


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_output_is_named_with_its_type(operator: type[NodeOperator]) -> None:
    doc = " ".join((operator.__doc__ or "").split())
    for key, artifact in operator.OUTPUTS.items():
        assert f"`{key}` ({artifact.TYPE_NAME})" in doc
