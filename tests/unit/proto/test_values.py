from __future__ import annotations

from typing import Any

import pytest
from exact_values import exactly
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import TrainArgs, Value
from airflow_provider_mlpipe.proto.values import from_map, from_value, to_map, to_value

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@given(VALUES)
def test_values_come_back_exactly(value: Any) -> None:
    assert exactly(from_value(Value.FromString(to_value(value).SerializeToString()))) == exactly(value)


def test_maps_come_back_sorted() -> None:
    assert list(from_map(to_map({"b": 1, "a": (1, 2)})).items()) == [("a", [1, 2]), ("b", 1)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {2}]}, r"T\.a\[1\]: set"),
        ({"a": {"b": 2**63}}, r"T\.a\.b: 9223372036854775808 does not fit 64 bits"),
        ({1: 2}, "the key 1 is not a str"),
    ],
)
def test_what_has_no_message_is_named(value: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        to_map(value, "T")


def test_a_config_becomes_its_message_again() -> None:
    message = TrainArgs(splits=["train"], num_steps=5)
    assert parse_config(TrainArgs, {"splits": ["train"], "num_steps": 5}, parameter="train_args") == message
    assert parse_config(TrainArgs, None, parameter="train_args") == TrainArgs()
    with pytest.raises(InvalidInputError, match="train_args does not fit"):
        parse_config(TrainArgs, {"num_steps": "many"}, parameter="train_args")
