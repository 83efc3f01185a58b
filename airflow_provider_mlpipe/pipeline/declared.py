"""Converts what a parameter was given to the type that its annotation declares, or refuses it.

A template renders text, a run's conf is JSON, a DAG file may hold messages and numpy's scalars. Each becomes the
declared type where that is exact: "False" a bool, "7" and 7.0 an int, a message its dict. So equal settings have equal
fingerprints, however they were written, and no text counts as true or as a list of letters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

from google.protobuf.message import Message

from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.pipeline.plain_values import plain, plain_key, remedy_for, scalar, shown, with_article
from airflow_provider_mlpipe.proto.configs import config_dict

IsLater = Callable[[Any, Any, str], bool]
"""Whether a value of a declared type, at a path, is known only later; then it stays as it is."""

_MAX_DEPTH = 100
_TRUTH = {"True": True, "true": True, "False": False, "false": False}
_INT = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def converted(value: Any, declared: Any, path: str, is_later: IsLater | None = None) -> Any:
    """`value` as the `declared` type: a scalar, Literal, sequence, mapping, message, None, Any, or a union of them.

    An object of any other declared class stays as it is. Without `is_later` every value is known, and templates are
    rendered. Raises InvalidValueError, which begins with `path` and says what is expected.
    """
    return _Conversion(is_later).convert(value, declared, path)


def as_written(value: Any, declared: Any, path: str) -> bool:
    """The IsLater of what Airflow does not render: nothing is known later."""
    return False


def described(declared: Any) -> str:
    """The type in words, such as "True, False or 'refresh'"."""
    words = list(dict.fromkeys(word for kind in _alternatives(declared) for word in _words(kind)))
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


class _Conversion:
    def __init__(self, is_later: IsLater | None) -> None:
        self._is_later = is_later
        self._depth = 0

    def convert(self, value: Any, declared: Any, path: str) -> Any:
        value, kinds = scalar(value), _alternatives(declared)
        if self._is_later is not None and self._is_later(value, declared, path):
            if any(map(_holds_message, kinds)):  # the operator looks into it when the DAG is parsed
                raise InvalidValueError(
                    f"{path} takes {described(declared)}; a template or RuntimeParameter may stand inside it, not in "
                    f"its place: {shown(value)}"
                )
            return value
        for kind in kinds:
            if _has_shape(value, kind):
                return self._nested(value, kind, path)
        for kind in kinds:
            if (number := _as_number(value, kind)) is not None:
                return plain(number, path)
        if value == "None" and NoneType in kinds:
            return None
        got = with_article(type(value).__name__) if isinstance(value, Message) else shown(value)
        raise InvalidValueError(f"{path} takes {described(declared)}, but got {got}{self._remedy(value, kinds)}")

    def _remedy(self, value: Any, kinds: Sequence[Any]) -> str:
        is_list = any(_origin(kind) in _LISTS for kind in kinds)
        is_nested = is_list or any(_origin(kind) in _DICTS or _is_message(kind) for kind in kinds)
        if isinstance(value, str) and is_nested and self._is_later is None:
            return "; a template renders text, unless the DAG has render_template_as_native_obj=True"
        if isinstance(value, str) and is_list:
            return f"; write [{shown(value)}]"
        return f"; {remedy}" if (remedy := remedy_for(value)) else ""

    def _nested(self, value: Any, kind: Any, path: str) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidValueError(f"{path[:80]}… is nested deeper than {_MAX_DEPTH} levels")
        try:
            return self._of_kind(value, kind, path)
        finally:
            self._depth -= 1

    def _of_kind(self, value: Any, kind: Any, path: str) -> Any:
        items = get_args(kind)
        if _is_message(kind):
            return config_dict(kind, value, path, self.convert)
        if isinstance(value, Mapping):
            return self._dict(value, items[1] if len(items) > 1 else Any, path)
        if isinstance(value, (list, tuple)):
            item = items[0] if items else Any
            return [self.convert(each, item, f"{path}[{place}]") for place, each in enumerate(value)]
        return plain(value, path) if kind is Any or _is_plain(kind) else value

    def _dict(self, values: Mapping[Any, Any], item: Any, path: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for given, value in values.items():
            key = plain_key(given, path)
            if key in result:
                raise InvalidValueError(f"{path} has two keys that become {key!r}; rename one")
            result[key] = self.convert(value, item, f"{path}.{key}")
        return result


def _alternatives(declared: Any) -> list[Any]:
    """The types of a union. A message's dict is checked as the message."""
    if isinstance(declared, TypeVar) or declared is object:
        return [Any]
    if isinstance(declared, NewType):
        return _alternatives(declared.__supertype__)
    if get_origin(declared) is Annotated:
        return _alternatives(get_args(declared)[0])
    if get_origin(declared) not in (Union, UnionType):
        return [NoneType if declared is None else declared]
    kinds = [kind for each in get_args(declared) for kind in _alternatives(each)]
    of_message = any(_is_message(kind) and kind is not Message for kind in kinds)
    return [kind for kind in kinds if not (of_message and _origin(kind) in _DICTS)]


def _has_shape(value: Any, kind: Any) -> bool:
    """Whether this type of a union is the one for the value; what is inside it may still be wrong."""
    origin = _origin(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in get_args(kind))
    if _is_message(kind):
        return isinstance(value, kind) or (kind is not Message and isinstance(value, Mapping))
    if origin in _LISTS:
        return isinstance(value, (list, tuple))
    if origin is type:
        return isinstance(value, type) and issubclass(value, get_args(kind) or object)
    if origin in (bool, int, float, str):
        return type(value) is origin
    try:
        return isinstance(value, origin)
    except TypeError:  # a TypedDict, for example
        return True


def _as_number(value: Any, kind: Any) -> bool | int | float | None:
    """The number or bool that a text or a number stands for exactly; None if it is none."""
    value = value.strip() if isinstance(value, str) else value  # a template often renders a line break, too
    if isinstance(value, bool):
        return None
    if kind is bool and isinstance(value, str):
        return _TRUTH.get(value)
    if kind is int and isinstance(value, str):
        return int(value) if _INT.fullmatch(value) else None
    if kind is int and isinstance(value, float):
        return int(value) if value.is_integer() else None
    if kind is float and isinstance(value, int):
        return float(value) if abs(value) < 2**63 else None
    if kind is float and isinstance(value, str):
        return float(value) if _FLOAT.fullmatch(value) else None
    return None


def _words(kind: Any) -> list[str]:
    origin = _origin(kind)
    if origin is Literal:
        return [repr(value) for value in get_args(kind)]
    if origin in _LISTS:
        item = (*get_args(kind), Any)[0]
        return ["a list" if item is Any else f"a list of {_item_word(item)}"]
    if origin in _DICTS:
        return ["a dict"]
    if origin is type:
        return [f"a class of {each.__name__}" for each in get_args(kind)]
    if _is_message(kind) and kind is not Message:
        return [with_article(kind.__name__), "its dict"]
    return list(_NAMED.get(kind) or [with_article(getattr(kind, "__name__", str(kind)))])


def _item_word(item: Any) -> str:
    return " or ".join(getattr(kind, "__name__", str(kind)) for kind in _alternatives(item))


_LISTS = (list, tuple, Sequence, MutableSequence, Collection, Iterable)
_DICTS = (dict, Mapping, MutableMapping)
_NAMED: Mapping[Any, tuple[str, ...]] = {
    bool: ("True", "False"),
    NoneType: ("None",),
    Any: ("any value",),
}


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind


def _is_plain(kind: Any) -> bool:
    return kind in (bool, int, float, str, NoneType) or _origin(kind) is Literal


def _holds_message(kind: Any) -> bool:
    kinds = (kind, *get_args(kind)) if _origin(kind) in _LISTS else (kind,)
    return any(_is_message(each) and each is not Message for each in kinds)


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)
