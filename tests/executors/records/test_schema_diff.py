"""What differs between two schemas."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow_metadata")
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from airflow_provider_mlpipe.records.schema_diff import differences

pytestmark = pytest.mark.heavy


def diff(before: str, after: str) -> list[tuple[str, str, str, str]]:
    schemas = (text_format.Parse(text, schema_pb2.Schema()) for text in (before, after))
    return [(each.feature, each.what, each.before, each.after) for each in differences(*schemas)]


def feature(more: str) -> str:
    return f'feature {{ name: "x" {more} }}'


@pytest.mark.parametrize(
    ("before", "after", "what", "old", "new"),
    [
        ("type: INT", "type: FLOAT", "type", "INT", "FLOAT"),
        ("", "type: INT", "type", "", "INT"),
        ("presence { min_fraction: 1 }", "", "presence", "min_fraction: 1.0", ""),
        ("presence { min_fraction: 1 }", "presence {}", "presence", "min_fraction: 1.0", "set"),
        ("int_domain { max: 3 }", "int_domain { min: 0 max: 4 }", "int_domain", "max: 3", "min: 0 max: 4"),
        ("not_in_environment: 'A'", "not_in_environment: 'B'", "not_in_environment", "A", "B"),
        ("in_environment: 'A'", "in_environment: 'A' in_environment: 'B'", "in_environment", "", "B"),
        (
            "in_environment: 'A' in_environment: 'B'",
            "in_environment: 'B' in_environment: 'A'",
            "in_environment",
            "the same values",
            "in another order or number",
        ),
        (
            "drift_comparator { infinity_norm { threshold: 0.1 } }",
            "drift_comparator { infinity_norm { threshold: 0.2 } }",
            "drift_comparator",
            "infinity_norm { threshold: 0.1 }",
            "infinity_norm { threshold: 0.2 }",
        ),
        ("", "lifecycle_stage: ALPHA", "lifecycle_stage", "", "ALPHA"),
        ("deprecated: true", "deprecated: false", "deprecated", "True", "False"),
        ("string_domain { value: 'ä' }", "string_domain { value: 'b' }", "domain values", "ä", "b"),
    ],
)
def test_what_a_feature_has_otherwise(before: str, after: str, what: str, old: str, new: str) -> None:
    assert diff(feature(before), feature(after)) == [("x", what, old, new)]
    assert diff(feature(before), feature(before)) == diff(feature(after), feature(after)) == []


def test_a_shape_that_becomes_a_number_of_values() -> None:
    assert diff(feature("shape { dim { size: 1 } }"), feature("value_count { min: 0 max: 1 }")) == [
        ("x", "shape", "dim { size: 1 }", ""),
        ("x", "value_count", "", "min: 0 max: 1"),
    ]


def test_features_are_found_by_name() -> None:
    before = 'feature { name: "a" type: INT } feature { name: "b" type: INT }'
    after = 'feature { name: "c" type: FLOAT } feature { name: "b" type: INT }'
    assert diff(before, after) == [
        ("a", "removed", 'name: "a" type: INT', ""),
        ("c", "added", "", 'name: "c" type: FLOAT'),
    ]


def test_features_within_a_feature() -> None:
    inner = 'type: STRUCT struct_domain {{ feature {{ name: "y" type: {} }} }}'
    assert diff(feature(inner.format("INT")), feature(inner.format("FLOAT"))) == [("x.y", "type", "INT", "FLOAT")]


def test_domains_of_the_schema() -> None:
    def named(*values: str, name: str = "d") -> str:
        listed = " ".join(f'value: "{value}"' for value in values)
        return f'{feature(f"domain: {name!r}")} string_domain {{ name: "{name}" {listed} }}'

    assert diff(named("a", "b"), named("b", "c")) == [("x", "domain values", "a", "c")]
    assert diff(named("a"), named("a", name="e")) == [("x", "domain", "d", "e")]
    many = [f"{number:02}" for number in range(25)]
    assert diff(named(), named(*many)) == [("x", "domain values", "", ", ".join(many[:20]) + ", and 5 more")]
    unused = 'string_domain { name: "u" value: "a" }'
    assert diff(unused, "") == [("(whole schema)", "string_domain", 'name: "u" value: "a"', "")]


def test_what_belongs_to_no_feature() -> None:
    before = "default_environment: 'A' dataset_constraints { min_examples_count: 3 }"
    after = "default_environment: 'A' default_environment: 'B' dataset_constraints { min_examples_count: 4 }"
    assert diff(before, after) == [
        ("(whole schema)", "default_environment", "", "B"),
        ("(whole schema)", "dataset_constraints", "min_examples_count: 3", "min_examples_count: 4"),
    ]


def test_as_text() -> None:
    schemas = (text_format.Parse(text, schema_pb2.Schema()) for text in (feature("type: INT"), feature("")))
    assert [str(each) for each in differences(*schemas)] == ["x: type: INT → nothing"]
