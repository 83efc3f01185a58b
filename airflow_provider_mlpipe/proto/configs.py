"""Config messages. A user gives a protobuf message or a dict; it is checked, and kept as a plain dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError

M = TypeVar("M", bound=Message)
Convert = Callable[[Any, Any, str], Any]
"""Converts a value to a Python type; the text is its path, for errors."""


def config_dict(message: type[Message], given: Message | Mapping[str, Any], path: str, convert: Convert) -> Any:
    """A config as a dict: the names of its fields, their values converted, without those that are the default.

    `Message` itself stands for any message. Raises InvalidValueError, which begins with `path`, when it does not fit.
    """
    if isinstance(given, Message):
        given = json_format.MessageToDict(given, preserving_proto_field_name=True)
    if message is Message:
        return convert(given, Mapping[str, Any], path)
    return _fields(message.DESCRIPTOR, given, path, convert)


def parse_config(message: type[M], value: Mapping[str, Any] | None, *, parameter: str) -> M:
    """The message of a config whose run-time values are resolved; an empty message for None."""
    try:
        return json_format.ParseDict(dict(value or {}), message())
    except json_format.ParseError as error:
        raise InvalidInputError(f"{parameter} does not fit {message.__name__}: {error}") from error


def _fields(descriptor: Any, given: Mapping[str, Any], path: str, convert: Convert) -> dict[str, Any]:
    known = {name: field for field in descriptor.fields for name in (field.json_name, field.name)}
    result: dict[str, Any] = {}
    for key, value in given.items():
        field = known.get(key)
        if field is None:
            names = ", ".join(field.name for field in descriptor.fields)
            raise InvalidValueError(f"{path} has no {key!r}; it has {names}")
        if field.name in result:
            raise InvalidValueError(f"{path} has {field.name} twice, once as {key!r}; leave one out")
        if value is not None:
            result[field.name] = _field(field, value, f"{path}.{field.name}", convert)
    return {name: value for name, value in result.items() if not _is_default(descriptor.fields_by_name[name], value)}


def _field(field: FieldDescriptor, value: Any, path: str, convert: Convert) -> Any:
    declared = _python_type(field)
    if _is_map(field):
        return convert(value, declared, path)
    if field.enum_type is not None and value in field.enum_type.values_by_number:
        value = field.enum_type.values_by_number[value].name
    new = convert(value, Sequence[declared] if _is_repeated(field) else declared, path)  # type: ignore[valid-type]
    bits = _BITS.get(field.cpp_type)
    for number in new if isinstance(new, list) else [new]:
        if bits and isinstance(number, int) and number not in bits:
            raise InvalidValueError(f"{path} is {number}, but must be from {bits[0]} to {bits[-1]}")
    return new


def _python_type(field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        if _is_map(field):
            return Mapping[str, _python_type(field.message_type.fields_by_name["value"])]  # type: ignore[misc]
        is_googles = field.message_type.full_name.startswith("google.")  # such as a wrapper, or a Struct
        return Any if is_googles else message_factory.GetMessageClass(field.message_type)
    if field.enum_type is not None:
        return Literal[tuple(value.name for value in field.enum_type.values)]
    return _SCALARS.get(field.cpp_type, int)


def _is_default(field: FieldDescriptor, value: Any) -> bool:
    """Whether a message would not keep it: an empty list, or the default of a field that is never absent."""
    if _is_repeated(field):
        return isinstance(value, (list, dict)) and not value
    default = field.enum_type.values_by_number[0].name if field.enum_type else field.default_value
    return not field.has_presence and type(value) is type(default) and bool(value == default)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _is_repeated(field: Any) -> bool:
    """Protobuf 4 has no `is_repeated`, and protobuf 6 warns of `label`."""
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


_SCALARS: Mapping[int, type] = {
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_FLOAT: float,
    FieldDescriptor.CPPTYPE_DOUBLE: float,
    FieldDescriptor.CPPTYPE_STRING: str,
}
_BITS: Mapping[int, range] = {
    FieldDescriptor.CPPTYPE_INT32: range(-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_UINT32: range(2**32),
}
