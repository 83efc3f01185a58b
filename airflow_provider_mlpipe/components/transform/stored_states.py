"""Stores states of analyzers as JSON. Reading a state back keeps all types, and numbers to the last digit.

A scalar or a list is a JSON scalar or list. Everything else is an object with one key, which names its kind::

    {"bytes": "a"}  one character for each byte (Latin-1)
    {"array": ["<f4", [2], "C", "AACAPwAAAEA="]}  dtype, shape, order, and the values in base64

Nothing is pickled. Only the kinds in this module can be stored and read.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from tfx_bsl.sketches import QuantilesSketch

from airflow_provider_mlpipe.components.transform.tft_nodes import NAMED_STATES


def encode(state: Any) -> bytes:
    """Return the stored form of a state; raises TypeError if the state, or a part of it, has an unsupported type."""
    return json.dumps(_plain(state), ensure_ascii=False, separators=(",", ":")).encode()


def decode(stored: bytes) -> Any:
    """Return the state that `encode` stored; other bytes may raise any error."""
    return _state(json.loads(stored))


def _plain(state: Any) -> Any:
    kind = type(state)
    if state is None or kind in (bool, int, float):
        return state
    if kind is list:
        return [_plain(one) for one in state]
    if kind in _KIND_NAMES:
        name = _KIND_NAMES[kind]
    elif isinstance(state, np.generic):
        name = "scalar"
    else:
        raise TypeError(f"a state of the type {kind.__name__}")
    write, _ = _KINDS[name]
    return {name: write(state)}


def _state(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_state(one) for one in plain]
    if isinstance(plain, dict):
        ((name, content),) = plain.items()
        _, read = _KINDS[name]
        return read(content)
    return plain


def _written_array(array: Any) -> list[Any]:
    if array.dtype.hasobject or array.dtype.fields:
        raise TypeError(f"an array of {array.dtype}")
    order = "F" if array.flags.fnc else "C"
    return [array.dtype.str, list(array.shape), order, base64.b64encode(array.tobytes(order)).decode()]


def _read_array(content: list[Any]) -> Any:
    dtype, shape, order, values = content
    return np.frombuffer(base64.b64decode(values), dtype).reshape(shape, order=order).copy(order)


def _written_sketch(sketch: Any) -> str:
    return base64.b64encode(sketch.__getstate__()).decode()


def _read_sketch(content: str) -> Any:
    sketch = QuantilesSketch.__new__(QuantilesSketch)
    sketch.__setstate__(base64.b64decode(content))
    return sketch


def _written_items(state: dict[Any, Any]) -> list[Any]:
    """Return keys and values. Tokens, which may be many, are stored as bare text."""
    if all(type(key) is bytes for key in state):
        return ["tokens", [key.decode("latin-1") for key in state], _plain(list(state.values()))]
    return ["keys", _plain(list(state)), _plain(list(state.values()))]


def _read_items(content: list[Any]) -> dict[Any, Any]:
    kind, keys, values = content
    read = [key.encode("latin-1") for key in keys] if kind == "tokens" else _state(keys)
    return dict(zip(read, _state(values), strict=True))


def _written_weights(state: defaultdict[Any, float]) -> list[Any]:
    if state.default_factory is not float:
        raise TypeError(f"a defaultdict of {state.default_factory}")
    return _written_items(state)


def _written_tuple(state: tuple[Any, ...]) -> Any:
    return _plain(list(state))


_KINDS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bytes": (lambda state: state.decode("latin-1"), lambda content: content.encode("latin-1")),
    "tuple": (_written_tuple, lambda content: tuple(_state(content))),
    "scalar": (_written_array, lambda content: _read_array(content)[()]),
    "array": (_written_array, _read_array),
    "dict": (_written_items, _read_items),
    "counts": (_written_items, lambda content: Counter(_read_items(content))),
    "weights": (_written_weights, lambda content: defaultdict(float, _read_items(content))),
    "quantiles": (_written_sketch, _read_sketch),
} | {name: (_written_tuple, lambda content, kind=kind: kind(*_state(content))) for name, kind in NAMED_STATES.items()}
_KIND_NAMES: dict[type, str] = {
    bytes: "bytes",
    tuple: "tuple",
    np.ndarray: "array",
    dict: "dict",
    Counter: "counts",
    defaultdict: "weights",
    QuantilesSketch: "quantiles",
} | {kind: name for name, kind in NAMED_STATES.items()}
