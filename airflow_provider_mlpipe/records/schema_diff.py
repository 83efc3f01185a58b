"""What differs between two schemas, feature by feature. It needs TensorFlow Metadata, but not TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import schema_pb2

WHOLE_SCHEMA = "(whole schema)"
"""Replaces the feature's name for what belongs to no feature."""
ADDED, REMOVED, DOMAIN_VALUES = "added", "removed", "domain values"
"""What differs besides fields of the messages."""
_SHOWN = 20


@dataclass(frozen=True)
class Difference:
    """`before` and `after` are texts of what differs; of several values, those that only this side has."""

    feature: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        if self.what in (ADDED, REMOVED):
            return f"{self.feature}: {self.what}: {self.before or self.after}"
        return f"{self.feature}: {self.what}: {self.before or 'nothing'} → {self.after or 'nothing'}"


def differences(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[Difference]:
    """Return what differs: features of `before` in its order, then those that only `after` has, then the rest."""
    old, new = _features(before), _features(after)
    found: list[Difference] = []
    for name in {**old, **new}:
        if name not in new:
            found.append(Difference(name, REMOVED, _text(old[name]), ""))
        elif name not in old:
            found.append(Difference(name, ADDED, "", _text(new[name])))
        else:
            values = _of_values(name, DOMAIN_VALUES, _domain(before, old[name]), _domain(after, new[name]))
            apart = ("name", "struct_domain", "string_domain", *(["domain"] if values else []))
            found.extend([*_of_messages(name, old[name], new[name], apart=apart), *values])
    in_features = ("feature", "string_domain")
    return [*found, *_of_messages(WHOLE_SCHEMA, before, after, apart=in_features), *_unused_domains(before, after)]


def _features(schema: schema_pb2.Schema) -> dict[str, schema_pb2.Feature]:
    return dict(_named(schema.feature, ""))


def _named(features: Sequence[schema_pb2.Feature], parent: str) -> Iterator[tuple[str, schema_pb2.Feature]]:
    """Yield the features by their paths, such as `address.city`, each before those within it."""
    for feature in features:
        yield f"{parent}{feature.name}", feature
        yield from _named(feature.struct_domain.feature, f"{parent}{feature.name}.")


def _of_messages(feature: str, before: Message, after: Message, *, apart: Sequence[str]) -> Iterator[Difference]:
    """Compare two messages field by field."""
    for field in before.DESCRIPTOR.fields:
        old, new = _values(before, field), _values(after, field)
        if field.name not in apart and old != new:
            yield from _of_values(feature, field.name, old, new) or _of_order(feature, field.name)


def _of_values(feature: str, what: str, before: Sequence[str], after: Sequence[str]) -> list[Difference]:
    """The values that only one side has; nothing if there are none."""
    only_before = [value for value in before if value not in set(after)]
    only_after = [value for value in after if value not in set(before)]
    return [Difference(feature, what, _listed(only_before), _listed(only_after))] if only_before or only_after else []


def _of_order(feature: str, what: str) -> list[Difference]:
    return [Difference(feature, what, "the same values", "in another order or number")]


def _values(message: Message, field: Any) -> list[str]:
    """The values of a field as texts; none if it is not set."""
    values: Mapping[Any, Any] = {each.name: value for each, value in message.ListFields()}
    if field.name not in values:
        return []
    value = values[field.name]
    is_single = isinstance(value, (Message, str, bytes, int, float))
    return [_value(field, each) for each in ([value] if is_single else value)]


def _value(field: Any, value: Any) -> str:
    if isinstance(value, Message):
        return _text(value) or "set"
    return str(field.enum_type.values_by_number[value].name) if field.enum_type is not None else str(value)


def _text(message: Message) -> str:
    return str(text_format.MessageToString(message, as_one_line=True, as_utf8=True))


def _domain(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> list[str]:
    """The texts of a feature's own domain, or of the schema's domain that it names."""
    named = [value for domain in schema.string_domain if domain.name == feature.domain for value in domain.value]
    return sorted([*feature.string_domain.value, *named])


def _unused_domains(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[Difference]:
    """The domains of the schema that no feature names."""
    return _of_values(WHOLE_SCHEMA, "string_domain", _unused(before), _unused(after))


def _unused(schema: schema_pb2.Schema) -> list[str]:
    used = {feature.domain for feature in _features(schema).values()}
    return [_text(domain) for domain in schema.string_domain if domain.name not in used]


def _listed(values: Sequence[str]) -> str:
    rest = f", and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + rest
