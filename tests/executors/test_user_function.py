"""What a preprocessing_fn may return, when it is traced, and how the rest is refused."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from airflow_provider_mlpipe.exceptions import UserCodeError

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Outputs = dict[Any, Any]


def traced(function: Callable[..., Any]) -> Any:
    """Trace a preprocessing_fn of dense, sparse and ragged features, and one of unknown rank; return its outputs."""
    import tensorflow as tf
    from tensorflow_transform.graph_context import TFGraphContext

    from airflow_provider_mlpipe.components.transform.user_function import UserPreprocessing

    features = {
        "x": tf.TensorSpec([None, 1], tf.float32),
        "sparse": tf.SparseTensorSpec([None, None], tf.int64),
        "ragged": tf.RaggedTensorSpec([None, None], tf.string),
        "unknown": tf.TensorSpec(None, tf.float32),
    }
    graph = tf.function(UserPreprocessing(function), input_signature=[features], autograph=False)
    with tempfile.TemporaryDirectory() as folder, TFGraphContext(tf.Module(), temp_dir=folder):  # as when TFT traces
        return graph.get_concrete_function().structured_outputs


def cast(feature: str, dtype: str) -> Callable[[Mapping[str, Any]], Outputs]:
    import tensorflow as tf

    return lambda inputs: {"a": tf.ragged.map_flat_values(lambda values: tf.cast(values, dtype), inputs[feature])}


def numpy_array(inputs: Mapping[str, Any]) -> Outputs:
    import numpy as np

    return {"a": np.zeros((12, 1), np.float32)}


def constant_outside(inputs: Mapping[str, Any]) -> Outputs:
    import tensorflow as tf

    with tf.init_scope():
        return {"a": tf.ones([12, 1])}


def mean(inputs: Mapping[str, Any]) -> Outputs:
    import tensorflow as tf

    return {"a": tf.reduce_mean(inputs["x"])}


@pytest.mark.parametrize("feature", ["x", "sparse", "ragged"])
def test_tensors_of_every_kind_may_be_returned(feature: str) -> None:
    assert list(traced(lambda inputs: {"a": inputs[feature]})) == ["a"]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda inputs: None, "None; it must return a dict of at least one tensor"),
        (lambda inputs: {}, "{}; it must return a dict of at least one tensor"),
        (lambda inputs: {1: inputs["x"]}, "an output with the key 1; use a string as the key"),
        (
            numpy_array,
            "an object of type ndarray for 'a', which is not a tensor of its graph; return a tensor with a value",
        ),
        (lambda inputs: {"a": 3.0}, "an object of type float for 'a'"),
        (lambda inputs: {"a": None}, "an object of type NoneType for 'a'"),
        (lambda inputs: {"a": {"b": inputs["x"]}}, "an object of type dict for 'a'"),
        (constant_outside, "an object of type EagerTensor for 'a'"),
        (mean, "a scalar for 'a'; return a tensor with a value for each row"),
        (lambda inputs: {"a": inputs["unknown"]}, "a tensor of the shape <unknown> for 'a' (made at "),
    ],
)
def test_what_is_no_tensor_of_rows_is_refused(function: Callable[..., Any], words: str) -> None:
    place = f"preprocessing_fn at {__file__}, line {function.__code__.co_firstlineno} returned "
    with pytest.raises(UserCodeError, match=f"^{re.escape(place + words)}"):
        traced(function)


@pytest.mark.parametrize("feature", ["x", "sparse"])
@pytest.mark.parametrize("dtype", ["bool", "complex64", "float16", "float64", "int32", "uint8"])
def test_a_type_that_no_example_holds_is_refused(feature: str, dtype: str) -> None:
    words = f"returned tf.{dtype} for 'a', not a type of tf.Examples; cast it to tf.int64, tf.float32 or tf.string"
    with pytest.raises(UserCodeError, match=words):
        traced(cast(feature, dtype))


def one_hot(inputs: Mapping[str, Any]) -> Outputs:
    import tensorflow as tf

    size = tf.size(inputs["x"])
    return {"a": tf.one_hot(tf.cast(inputs["x"], tf.int64), size)}


def test_an_unknown_size_is_refused_with_its_line() -> None:
    where = rf"made at {__file__}, line {one_hot.__code__.co_firstlineno + 4}"
    with pytest.raises(UserCodeError, match=rf"of the shape \(None, 1, None\) for 'a' \({where}\); .*tf\.ensure_shape"):
        traced(one_hot)


def test_an_unknown_feature_is_answered_with_the_known() -> None:
    with pytest.raises(UserCodeError, match=r"'spares'; the features are sparse \(INT\), .*\n"):
        traced(lambda inputs: {"a": inputs["spares"]})


def test_every_wrong_output_is_named() -> None:
    with pytest.raises(UserCodeError, match=r"float for 'a'.*\n.*NoneType for 'c'"):
        traced(lambda inputs: {"a": 1.0, "b": inputs["x"], "c": None})


def fails(inputs: Mapping[str, Any], key: str) -> Outputs:
    return {"a": inputs[key]}


def test_a_function_without_code_of_its_own_is_named_as_it_is() -> None:
    line = fails.__code__.co_firstlineno + 1
    with pytest.raises(UserCodeError, match=f"^preprocessing_fn raised KeyError at {__file__}, line {line}: 'nothing'"):
        traced(functools.partial(fails, key="nothing"))
    with pytest.raises(UserCodeError, match=r"preprocessing_fn functools\.partial\(.*\) returned 1;"):
        traced(functools.partial(lambda inputs, number: number, number=1))


def analyzer_in_a_loop(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return tf.while_loop(lambda done, _: done < 1, lambda done, x: (done + 1, scaled(x)), [0, inputs["x"]])[1]


def scaled(x: Any) -> Any:
    import tensorflow_transform as tft

    return tft.scale_to_0_1(x)


def in_function(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return tf.function(lambda x: tf.function(scaled)(x) + 1)(inputs["x"])


def in_branch(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return tf.cond(tf.reduce_all(inputs["x"] > 0), lambda: scaled(inputs["x"]), lambda: inputs["x"])


def in_map(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return tf.map_fn(scaled, inputs["x"])


@pytest.mark.parametrize("output", [in_function, in_branch, in_map, analyzer_in_a_loop])
def test_an_analyzer_that_would_see_no_data_is_refused_with_its_line(output: Callable[..., Any]) -> None:
    line = scaled.__code__.co_firstlineno + 3
    words = rf"^preprocessing_fn calls an analyzer at {__file__}, line {line} inside"
    with pytest.raises(UserCodeError, match=words):
        traced(lambda inputs: {"x": output(inputs)})


def test_a_function_may_take_an_analyzers_result() -> None:
    import tensorflow as tf

    def preprocessing_fn(inputs: Mapping[str, Any]) -> Outputs:
        return {"x": tf.function(lambda x, y: x * y)(inputs["x"], scaled(inputs["x"]))}

    assert list(traced(preprocessing_fn)) == ["x"]
