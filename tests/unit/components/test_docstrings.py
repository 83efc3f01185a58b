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


def described(operator: type) -> list[str]:
    return re.findall(r"^ *:param (\w+): \S", operator.__doc__ or "", flags=re.MULTILINE)


def inits(operator: type[NodeOperator]) -> list[type]:
    """The component and its base classes below ComponentOperator that have arguments of their own."""
    own = operator.__mro__[: operator.__mro__.index(NodeOperator)]
    return [each for each in own if "__init__" in vars(each) and each is not ComponentOperator]


def test_there_are_operators() -> None:
    assert OPERATORS


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_input_and_parameter_is_described(operator: type[NodeOperator]) -> None:
    documented = {name for each in inits(operator) for name in described(each)}
    assert {*operator.SPEC.inputs, *operator.SPEC.parameters} <= documented


@pytest.mark.parametrize("operator", OPERATORS)
def test_arguments_are_described_once_and_in_their_order(operator: type[NodeOperator]) -> None:
    for each in inits(operator):
        _, *arguments = inspect.signature(vars(each)["__init__"]).parameters
        assert described(each) == arguments


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_output_is_named_with_its_type(operator: type[NodeOperator]) -> None:
    doc = " ".join((operator.__doc__ or "").split())
    for key, artifact in operator.OUTPUTS.items():
        assert f"`{key}` ({artifact.TYPE_NAME})" in doc
