"""Two analyzers have the same digest only if they keep the same of equal rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fresh import in_fresh_process
from traced import Function, X, applied_whole_and_in_part, first_pass
from transforms import EVERY_ANALYZER_SCHEMA

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]


def digest(function: Function, folder: Path, schema: str = EVERY_ANALYZER_SCHEMA) -> str | None:
    """Of the analyzer that is named `mine`."""
    (found,) = [one.digest for label, one in first_pass(function, folder, schema)[1].items() if "mine" in label]
    return found  # type: ignore[no-any-return]


def quantiles(
    *,
    feature: str = "x",
    op: str = "Sin",
    constant: float = 2.0,
    alpha: float = 0.2,
    dtype: str = "float32",
    factor: float = 3.0,
    bound: int = 3,
    output: int = 0,
    swapped: bool = False,
    buckets: int = 4,
    epsilon: float = 0.01,
    analyzer: str = "quantiles",
    before: Callable[[Any], Any] = lambda inputs: None,
) -> Function:
    """An analyzer of a value that is made with all that a graph may hold."""
    import tensorflow as tf
    import tensorflow_transform as tft

    @tf.function
    def grow(value: Any) -> Any:
        return tf.cond(tf.reduce_sum(value) > 0, lambda: value * factor, lambda: value - 1)

    def preprocessing_fn(inputs: Mapping[str, Any]) -> dict[str, Any]:
        others = before(inputs) or {}
        value = getattr(tf.raw_ops, op)(x=inputs[feature]) * constant
        value = grow(tf.cast(tf.cast(tf.nn.leaky_relu(value, alpha), dtype), tf.float32))
        value = tf.while_loop(lambda i, _: i < bound, lambda i, one: (i + 1, one * 1.5), [0, value])[1]
        value = tf.unstack(tf.concat([value, value * 2], 1), axis=1)[output]
        value = (inputs["x"] - value) if swapped else (value - inputs["x"])
        if analyzer == "quantiles":
            return others | {"mine": value + tft.quantiles(value, buckets, epsilon, name="mine")[0][0]}
        return others | {"mine": value + getattr(tft, analyzer)(value, name="mine")}

    return preprocessing_fn


EDITS: dict[str, dict[str, Any]] = {
    "the feature": {"feature": "number_as_float"},
    "the op": {"op": "Cos"},  # with the same attributes
    "a constant": {"constant": 2.5},
    "an attribute": {"alpha": 0.3},
    "a dtype": {"dtype": "float64"},
    "a function's body": {"factor": 3.5},
    "a loop's condition": {"bound": 4},
    "an op's output": {"output": 1},
    "the order of inputs": {"swapped": True},
    "the number of quantiles": {"buckets": 5},
    "the accuracy": {"epsilon": 0.02},
    "the analyzer": {"analyzer": "mean"},
    "a setting of the analyzer": {"analyzer": "var"},
}
_SCHEMA = (
    EVERY_ANALYZER_SCHEMA
    + """
feature { name: "number_as_float" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
"""
)


@pytest.fixture(scope="module")
def unedited(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = digest(quantiles(), tmp_path_factory.mktemp("unedited"), _SCHEMA)
    assert found
    return found


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_another_analyzer(edit: str, unedited: str, tmp_path: Path) -> None:
    edited = digest(quantiles(**EDITS[edit]), tmp_path, _SCHEMA)
    assert edited is not None
    assert edited != unedited


def _others(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Takes the names that TensorFlow would number."""
    import tensorflow as tf
    import tensorflow_transform as tft

    @tf.function
    def grow(value: Any) -> Any:
        return tf.cond(tf.reduce_sum(value) > 0, lambda: value * 9.0, lambda: value)

    value = tf.nn.leaky_relu(tf.sin(grow(inputs["x"])) * 7.0)
    return {"other": tft.scale_to_z_score(value), "more": tft.bucketize(inputs["x"], 3)}


def test_an_edit_elsewhere_is_not(unedited: str, tmp_path: Path) -> None:
    assert digest(quantiles(before=_others), tmp_path, _SCHEMA) == unedited


def test_how_the_feature_is_read_counts_and_not_the_others(unedited: str, tmp_path: Path) -> None:
    assert X in _SCHEMA
    other = 'feature { name: "new" type: INT }\n' + _SCHEMA.replace('"vector" type: FLOAT', '"vector" type: INT')
    assert digest(quantiles(), tmp_path / "other", other) == unedited
    wider = _SCHEMA.replace(X, X.replace("size: 1", "size: 2"))
    assert digest(quantiles(), tmp_path / "wider", wider) != unedited

    def of_any_type(inputs: Mapping[str, Any]) -> dict[str, Any]:
        import tensorflow as tf
        import tensorflow_transform as tft

        return {"x": tft.mean(tf.cast(inputs["x"], tf.float32), name="mine") + tf.zeros_like(inputs["id"], tf.float32)}

    whole = _SCHEMA.replace(X, X.replace("FLOAT", "INT"))
    floats, integers = (digest(of_any_type, tmp_path / name, one) for name, one in (("f", _SCHEMA), ("i", whole)))
    assert floats != integers


def _alike(inputs: Mapping[str, Any]) -> dict[str, Any]:
    import tensorflow as tf
    import tensorflow_transform as tft

    x, vector, key = inputs["x"], inputs["vector"], tf.squeeze(inputs["key"], 1)
    w = tf.cast(inputs["number"], tf.float32)
    tft.mean(x, name="a")
    tft.mean(w, name="b")
    tft.sum(x, name="c")
    tft.sum(vector, name="d")
    tft.sum(vector, reduce_instance_dims=False, name="e")
    tft.max(x, name="f")
    tft.quantiles(x, 4, 0.01, name="g")
    tft.quantiles(w, 4, 0.01, name="h")
    tft.quantiles(x, 4, 0.01, weights=tf.abs(w), name="i")
    tft.quantiles(vector, 4, 0.01, reduce_instance_dims=False, name="j")
    tft.vocabulary(inputs["key"], vocab_filename="k", name="k")
    tft.vocabulary(inputs["words"], vocab_filename="l", name="l")
    tft.vocabulary(inputs["key"], weights=x, vocab_filename="m", name="m")
    tft.count_per_key(key, name="n")
    tft.bucketize_per_key(tf.squeeze(x, 1), key, 3, name="o")
    tft.bucketize_per_key(tf.squeeze(w, 1), key, 3, name="p")
    tft.covariance(vector, tf.float32, name="q")
    tft.covariance(vector, tf.float64, name="r")
    tft.pca(vector, 2, tf.float32, name="s")
    return {"x": x}


def test_analyzers_that_look_alike_are_apart(tmp_path: Path) -> None:
    analyzers = first_pass(_alike, tmp_path)[1]
    digests = {label: one.digest for label, one in analyzers.items()}
    assert len(digests) == 19
    assert None not in digests.values()
    assert len(set(digests.values())) == 19, digests


def _random(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return inputs["x"] + tf.random.uniform([1, 1], seed=1)


def _file(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return inputs["x"] * tf.cast(tf.strings.length(tf.io.read_file(__file__)), tf.float32)


def _file_in_a_function(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return inputs["x"] * tf.function(lambda: tf.cast(tf.strings.length(tf.io.read_file(__file__)), tf.float32))()


def _table(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    initializer = tf.lookup.KeyValueTensorInitializer([b"a"], [1.0])
    return tf.lookup.StaticHashTable(initializer, 0.0).lookup(inputs["key"])


def _drawn_pools(inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    pooled = tf.raw_ops.FractionalMaxPool(value=inputs["x"][:, :, None, None], pooling_ratio=[1.0, 1.0, 1.0, 1.0])
    return pooled.output[:, :, 0, 0]


@pytest.mark.parametrize("made", [_random, _file, _file_in_a_function, _table, _drawn_pools])
def test_what_may_differ_each_time_has_none(made: Callable[[Mapping[str, Any]], Any], tmp_path: Path) -> None:
    import tensorflow_transform as tft

    def preprocessing_fn(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"x": inputs["x"] + tft.mean(made(inputs), name="mine")}

    assert digest(preprocessing_fn, tmp_path) is None


def test_ops_that_read_files_are_known() -> None:
    """A version of TensorFlow may have more of them."""
    import tensorflow as tf

    from airflow_provider_mlpipe.components.transform import identity

    ops = [op for name in dir(tf.raw_ops) if (op := identity.op_def_registry.get(name)) is not None]
    assert len(ops) > 1_000
    names = {op.name: [op.name, *(one.name for one in (*op.input_arg, *op.attr))] for op in ops}
    reading = {op for op, words in names.items() if any(re.search("(?i)file|path|descriptor", word) for word in words)}
    assert {op for op in reading if identity._is_pure(op)} == {"CTCBeamSearchDecoder"}  # of which it has `top_paths`
    assert identity._is_pure("MatMul")
    assert not identity._is_pure("AnOpOfAnotherLibrary")


class UserClass:
    pass


def test_a_setting_of_an_unknown_kind_is_none() -> None:
    import numpy as np

    from airflow_provider_mlpipe.components.transform.identity import _described

    for unknown in (lambda: 0, object(), {1, 2}, np.array([None]), np.random.default_rng(), UserClass()):
        with pytest.raises(TypeError):
            _described(unknown)
    known = [0, 0.0, -0.0, False, None, "0", (0,), [0], {"0": 0}, np.array(0), np.float32(0), np.sum, np.float32]
    assert len({repr(_described(one)) for one in known}) == len(known)


def test_an_output_does_not_depend_on_what_else_is_output(tmp_path: Path) -> None:
    whole, part = in_fresh_process(applied_whole_and_in_part, tmp_path)
    assert whole == part
