"""What a parameter takes, by its declared type."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NewType

import numpy as np
import pytest
from exact_values import exactly
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.pipeline.declared import as_written, converted
from airflow_provider_mlpipe.proto.mlpipe_pb2 import EvalArgs, Input, PushDestination, TrainArgs


class Number(enum.IntEnum):
    ONE = 1


class Text(str, enum.Enum):
    A = "a"


class Colour(enum.Enum):
    RED = "r"


Name = NewType("Name", str)
Train = TrainArgs | Mapping[str, Any] | None
Push = PushDestination | Mapping[str, Any]
Splits = Input | Mapping[str, Any]
Cache = bool | Literal["refresh"] | None
Severity = Literal["ERROR", "WARNING"] | None
ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("declared", "given", "value"),
    [
        (bool, True, True),
        (bool, "False", False),
        (bool, "true", True),
        (bool, np.bool_(False), False),
        (bool, "\n  False\n", False),
        (int, "-7", -7),
        (int, 7.0, 7),
        (int, np.int64(3), 3),
        (int, Number.ONE, 1),
        (float, "1e-3", 0.001),
        (float, "7", 7.0),
        (float, 7, 7.0),
        (float, np.float64(0.1), 0.1),
        (float, np.float32(0.5), 0.5),
        (str, "7", "7"),
        (str, Text.A, "a"),
        (str, np.str_("a"), "a"),
        (str, Path("/data"), "/data"),
        (Name, "a", "a"),
        (int | str, "7", "7"),
        (int | float, 7, 7),
        (int | float, "7.5", 7.5),
        (float | None, None, None),
        (float | None, "None", None),
        (str | None, "None", "None"),
        (Cache, "refresh", "refresh"),
        (Cache, "True", True),
        (Severity, "WARNING", "WARNING"),
        (Severity, "None", None),
        (Sequence[str], ("a", Text.A), ["a", "a"]),
        (Sequence[float], ["1", 2], [1.0, 2.0]),
        (list, (1, "a"), [1, "a"]),
        (tuple[int, ...], ["1"], [1]),
        (Mapping[str, float] | None, {"train": 1}, {"train": 1.0}),
        (dict[str, Any], {0: 1.0, Number.ONE: (np.int8(1),)}, {"0": 1.0, "1": [1]}),
        (Any, {"a": [None, True, 1, 0.5, "b", {"c": Path("/x")}]}, {"a": [None, True, 1, 0.5, "b", {"c": "/x"}]}),
        (Train, TrainArgs(splits=["a"], num_steps=3), {"splits": ["a"], "num_steps": 3}),
        (Train, {"numSteps": "3", "splits": ("a",)}, {"num_steps": 3, "splits": ["a"]}),
        (Train, {"num_steps": 0, "splits": []}, {}),
        (Train, None, None),
        (Push, {"filesystem": {"base_directory": Path("/x"), "versioning": 1}},
         {"filesystem": {"base_directory": "/x", "versioning": "UNIX_TIMESTAMP"}}),
        (Push, {"filesystem": {"versioning": "AUTO"}}, {"filesystem": {}}),
        (Splits, {"splits": [Input.Split(name="a"), {"pattern": "*"}]}, {"splits": [{"name": "a"}, {"pattern": "*"}]}),
        (Message | Mapping[str, Any], TrainArgs(num_steps=3), {"num_steps": 3}),
        (Message | Mapping[str, Any], {"any": 1}, {"any": 1}),
        (datetime.timedelta | None, datetime.timedelta(1), datetime.timedelta(1)),
    ],
)  # fmt: skip
def test_what_fits_becomes_the_declared_type(declared: Any, given: Any, value: Any) -> None:
    once = converted(given, declared, "p")
    assert exactly(once) == exactly(value)
    assert exactly(converted(once, declared, "p")) == exactly(value)


@pytest.mark.parametrize(
    ("declared", "given", "says"),
    [
        (bool, "no", "p takes True or False, but got 'no'"),
        (bool, 1, "p takes True or False, but got 1"),
        (int, True, "p takes an int, but got True"),
        (int, 7.5, "p takes an int, but got 7.5"),
        (int, "7.0", "p takes an int, but got '7.0'"),
        (int, None, "p takes an int, but got None"),
        (int, 2**70, "p is 1180591620717411303424, which needs more than 64 bits; give text"),
        pytest.param(int, 10**5000, "p is an int, which needs more than 64 bits; give text", id="huge"),
        (float, "nan", "p takes a float, but got 'nan'"),
        (float, np.float64("inf"), "p is inf, but must be finite; leave it out, or give None or text"),
        (float, True, "p takes a float, but got True"),
        (str, 5, "p takes a str, but got 5"),
        (str, b"a", "p takes a str, but got b'a'; give text, for example by .decode()"),
        (str, "a\0", "p: the store cannot hold a NUL character"),
        (str, len, "p takes a str, but got <built-in function len>; give its dotted name, 'module.function'"),
        (Cache, 1, "p takes True, False, 'refresh' or None, but got 1"),
        (Severity, "FATAL", "p takes 'ERROR', 'WARNING' or None, but got 'FATAL'"),
        (Sequence[str], "eval", "p takes a list of str, but got 'eval'; write ['eval']"),
        (Sequence[str], ["a", 1], "p[1] takes a str, but got 1"),
        (Sequence[str], {"a"}, "p takes a list of str, but got {'a'}; give a sorted list"),
        (Sequence[str], np.array(["a"]),
         "p takes a list of str, but got array(['a'], dtype='<U1'); give a list, for example by .tolist()"),
        (Mapping[str, float], {"train": "x"}, "p.train takes a float, but got 'x'"),
        (Mapping[str, Any], "x", "p takes a dict, but got 'x'"),
        (Any, {"i": [float("nan")]}, "p.i[0] is nan, but must be finite; leave it out, or give None or text"),
        (Any, {0: 1, "0": 2}, "p has two keys that become '0'; rename one"),
        (Any, {True: 1}, "p has the key True; a key must be a str or an int"),
        (Any, {"c": Colour.RED}, "p.c cannot hold <Colour.RED: 'r'> (type Colour); give its .value"),
        (Any, [{1}], "p[0] cannot hold {1} (type set); give a sorted list"),
        (Any, datetime.date(2026, 1, 2),
         "p cannot hold datetime.date(2026, 1, 2) (type date); give text, for example by .isoformat()"),
        (Any, datetime.timedelta(1),
         "p cannot hold datetime.timedelta(days=1) (type timedelta); give a number, for example by .total_seconds()"),
        (Any, np.zeros(2), "p cannot hold array([0., 0.]) (type ndarray); give a list, for example by .tolist()"),
        (Any, 1j, "p cannot hold 1j (type complex); give None, bool, int, float, str, or lists and dicts of them"),
        (Train, {"steps": 300}, "p has no 'steps'; it has splits, num_steps"),
        (Train, {"num_steps": 1, "numSteps": 1}, "p has num_steps twice, once as 'numSteps'; leave one out"),
        (Train, {"num_steps": 2**31}, "p.num_steps is 2147483648, but must be from -2147483648 to 2147483647"),
        (Train, {"splits": "train"}, "p.splits takes a list of str, but got 'train'; write ['train']"),
        (Train, EvalArgs(), "p takes a TrainArgs, its dict or None, but got an EvalArgs"),
        (Train, 5, "p takes a TrainArgs, its dict or None, but got 5"),
        (Push, {"filesystem": {"versioning": "NEVER"}},
         "p.filesystem.versioning takes 'AUTO', 'UNIX_TIMESTAMP' or 'PATH', but got 'NEVER'"),
        (Splits, {"splits": [{"nam": "a"}]}, "p.splits[0] has no 'nam'; it has name, pattern"),
        (type[TrainArgs], Struct, "p takes a class of TrainArgs, but got <class 'google.protobuf.struct_pb2.Struct'>"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_path_and_what_is_expected(declared: Any, given: Any, says: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        converted(given, declared, "p", as_written)
    assert str(refused.value) == says


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="is nested deeper than 100 levels"):
        converted(ENDLESS, Any, "p")


@pytest.mark.parametrize("declared", [Sequence[str], Mapping[str, Any], Train])
def test_text_that_was_rendered_is_not_taken_apart(declared: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"but got '\[1\]'; a template renders text, unless .*native_obj=True"):
        converted("[1]", declared, "p")
