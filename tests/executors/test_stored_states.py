"""A state that was stored is the one that it was, in every type and to the last bit."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytestmark = pytest.mark.heavy

NUMBERS = ["<f4", "<f8", "<f2", "<i8", "<i4", "|i1", "|u1", "<u8", "|b1", "<c8"]
FLOATS = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 0.1, 1e38]


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.flags.fnc) == (other.dtype, other.shape, other.flags.fnc)
        assert one.tobytes("A") == other.tobytes("A")
        assert other.flags.writeable
    elif isinstance(one, np.generic):
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, dict):
        assert_same(list(one), list(other))
        assert_same(list(one.values()), list(other.values()))
        assert getattr(one, "default_factory", None) is getattr(other, "default_factory", None)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert repr(one) == repr(other)


def assert_stored(state: Any) -> None:
    from airflow_provider_mlpipe.components.transform.stored_states import decode, encode

    stored = encode(state)
    read = decode(stored)
    assert_same(state, read)
    assert encode(read) == stored


_ARRAYS = st.sampled_from(NUMBERS).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
_KEYS = st.one_of(st.binary(max_size=9), st.integers(), st.floats(allow_nan=False))


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), _ARRAYS),
        lambda inner: st.one_of(
            st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(_KEYS, inner), st.dictionaries(_KEYS, inner)
        ),
        max_leaves=20,
    )
)
@settings(max_examples=200, derandomize=True)
def test_any_state(state: Any) -> None:
    assert_stored(state)


@pytest.mark.parametrize("value", FLOATS)
def test_floats(value: float) -> None:
    assert_stored([value, np.float32(value), np.float64(value), np.array(value), np.full((2, 3), value, "f4")])


def test_what_analyzers_keep() -> None:
    from airflow_provider_mlpipe.components.transform.tft_nodes import NAMED_STATES

    tokens = [b"", b"\x00\xff", "日本".encode(), b'"\\\n']
    assert_stored(Counter({token: number for number, token in enumerate(tokens)}))
    assert_stored(Counter({3: 1, -(2**63): 2**64}))
    assert_stored(defaultdict(float, {token: 0.1 * number for number, token in enumerate(tokens)}))
    assert_stored(Counter())
    assert_stored(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert_stored(np.arange(6.0).reshape(2, 3)[:, ::2].copy())
    for kind in NAMED_STATES.values():
        assert_stored(kind(*(np.array([number, math.nan], "f4") for number in range(len(kind._fields)))))


def test_a_sketch_goes_on_as_it_would_have() -> None:
    import pyarrow as pa
    from tfx_bsl.sketches import QuantilesSketch

    from airflow_provider_mlpipe.components.transform.stored_states import decode, encode

    draw = np.random.default_rng(0)
    sketches = []
    for stores in (False, True):
        draw = np.random.default_rng(0)
        sketch, other = (QuantilesSketch(0.01, 1 << 32, 2) for _ in range(2))
        for _ in range(30):
            sketch.AddValues(pa.array(draw.normal(size=998)), pa.array(draw.random(499)))
            other.AddValues(pa.array(draw.normal(size=998)), pa.array(draw.random(499)))
        if stores:
            sketch, other = decode(encode(sketch)), decode(encode([other]))[0]
        sketch.Merge(other)
        sketches.append(encode(sketch))
    assert sketches[0] == sketches[1]


class _Array(np.ndarray):
    pass


class _OneOfAUsersOwn(Counter[Any]):
    pass


@pytest.mark.parametrize(
    "state",
    [
        np.array([b"a", None], object),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2).view(_Array),
        _OneOfAUsersOwn(),
        defaultdict(int),
        {1, 2},
        "text",
        object(),
        [{b"a": (object(),)}],
    ],
)
def test_other_kinds_are_not_stored(state: Any) -> None:
    from airflow_provider_mlpipe.components.transform.stored_states import encode

    with pytest.raises(TypeError):
        encode(state)
