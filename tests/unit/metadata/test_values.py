import enum
import json
import math

import pytest
from exact_values import exactly, text, values
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.metadata.values import check_text, decode, encode, printable


@given(st.dictionaries(text, values))
def test_everything_comes_back_as_it_was(properties):
    assert exactly(decode(json.loads(encode(properties)))) == exactly(properties)


@pytest.mark.parametrize("tagged", [{"$double": "nan"}, {"$double": 1}, {"$$double": "nan"}, {"$": {"$double": "inf"}}])
def test_what_looks_like_a_tag_stays_a_dict(tagged):
    assert decode(json.loads(encode({"a": tagged}))) == {"a": tagged}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 1e16, -1.5e300])
def test_what_jsonb_would_change_is_tagged(value):
    assert json.loads(encode({"a": value})) == {"a": {"$double": repr(value)}}


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-300, 5e-324, 9007199254740993.0])
def test_other_floats_are_plain_numbers_that_sql_can_compare(value):
    assert encode({"a": value}) == f'{{"a": {value!r}}}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a\0b", "a.b[1].c: .*NUL"),
        ("\ud800", "a.b[1].c: .*surrogate"),
        (2**63, "a.b[1].c: .*64 bits.* needs 65"),
        (-(2**63) - 1, "a.b[1].c: .*64 bits"),
        pytest.param(10**5000, "a.b[1].c: .*64 bits", id="huge"),
        ((1, 2), "a.b[1].c: .*tuple"),
        (b"bytes", "a.b[1].c: .*bytes"),
        ({1: "one"}, "a.b[1].c: the key 1 is a int"),
        ({"\0": 1}, "the key 'a.b.1..c.*NUL"),
    ],
)
def test_refusals_name_the_path(value, message):
    with pytest.raises(InvalidValueError, match=message.replace("[1]", r"\[1\]")):
        encode({"b": [0, {"c": value}]}, "a")


def test_a_subclass_of_int_is_an_int():
    class Number(enum.IntEnum):
        ONE = 1

    assert encode({"a": Number.ONE}) == '{"a": 1}'


def test_endless_nesting_is_refused():
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidValueError, match="nested deeper than 100"):
        encode({"a": endless})


def test_text_that_postgres_cannot_hold_is_refused_or_made_printable():
    assert check_text("Ünïcode \\ ' \" \U0001f600", "here")
    assert printable("a\0b\ud800") == "a␀b\\ud800"
