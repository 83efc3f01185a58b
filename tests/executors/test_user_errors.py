"""The headline of an error has the cause and the user's line, whatever libraries put before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlpipe.execution.user_code import load_function
from airflow_provider_mlpipe.execution.user_errors import headline

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

_MODULE = """
import keras
import tensorflow as tf

@tf.function
def graph(x):
    return tf.reshape(x, [2]) + tf.ones([3])

@tf.function
def parse(x):
    return tf.strings.to_number(x)

class Layer(keras.layers.Layer):
    def call(self, x):
        return x["nothing"]

def in_graph():
    graph(tf.zeros([2]))

def while_it_runs():
    parse(tf.constant("n/a"))

def in_keras():
    keras.layers.Dense(3)(tf.zeros([2]))

def in_layer():
    Layer()({"x": tf.zeros([2, 2])})

def in_python():
    raise ValueError("too big\\nby far")

def without_words():
    raise ValueError
"""


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    path = tmp_path_factory.mktemp("errors") / "user_with_errors.py"
    path.write_text(_MODULE)
    return lambda name: (load_function(str(path), None, name), path)


@pytest.mark.parametrize(
    ("name", "words", "line"),
    [
        ("in_graph", "ValueError: Dimensions must be equal, but are 2 and 3 for ", 7),
        ("while_it_runs", "InvalidArgumentError: StringToNumberOp could not correctly convert string: n/a", 11),
        ("in_keras", "ValueError: Input 0 ", 24),
        ("in_layer", "KeyError: ", 15),
        ("in_python", "ValueError: too big", 30),
        ("without_words", "ValueError", 33),
    ],
)
def test_the_headline_has_the_cause_and_the_users_line(
    name: str, words: str, line: int, function: Callable[[str], tuple[Callable[[], None], Path]]
) -> None:
    called, path = function(name)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of many types
        called()
    said = headline(raised.value)
    assert said.startswith(words)
    assert said.endswith(f"({path}, line {line})")
    assert len(said.splitlines()) == 1
