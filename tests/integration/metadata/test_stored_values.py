"""Values survive Postgres: what ml-metadata loses, rounds, rejects or breaks on."""

import math

import pytest
from exact_values import exactly, text, values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.exceptions import InvalidValueError


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(properties=st.dictionaries(text, values))
def test_everything_comes_back_as_it_was(store, start, properties):
    claim = store.start_execution(start(properties=properties, environment=properties))
    model = store.publish(claim, {"model": [Model(uri="/m", custom_properties=properties)]})["model"][0]
    execution = store.execution(claim.execution_id)
    assert exactly(execution.properties) == exactly(properties)
    assert exactly(execution.environment) == exactly(properties)
    assert exactly(store.artifact(model.id).custom_properties) == exactly(properties)


HARD = [
    "\\", "'", '"', "\\'; --", "\\u0000", "\\x00", "%s", "a\r\n\t\x01\x7f", "漢字 é \U0001f600",
    "x" * 1_000_000, "\\'\"" * 100_000, "x" * 2_701,
    2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63),
    1e-300, 1e300, 1.7976931348623157e308, 5e-324, 0.1 + 0.2, 1e15, 1e16, 1e22, 123456.789012345, 1.0, 0.0, -0.0,
    math.inf, -math.inf, math.nan, True, False, None, [], {}, [[], {}], {"$double": "nan"}, {"": ""},
]  # fmt: skip


def test_values_that_are_hard_to_keep(store, run):
    _, outputs = run({"model": [Model(uri="/m", custom_properties={"value": value}) for value in HARD]})
    stored = [store.artifact(artifact.id).custom_properties["value"] for artifact in outputs["model"]]
    assert exactly(stored) == exactly(HARD)


@pytest.mark.parametrize("name", ["uri", "digest"])
def test_long_texts_elsewhere(store, run, name):
    text = "\\é" * 100_000
    _, outputs = run({"model": [Model(**({"uri": "/m"} | {name: text}))]})
    assert store.artifacts(**{name: text}).items == outputs["model"]


@pytest.mark.parametrize("name", ["uri", "digest"])
def test_a_nul_byte_is_refused_by_name(run, name):
    with pytest.raises(InvalidValueError, match=rf"model\[0\].{name}: .*NUL"):
        run({"model": [Model(**({"uri": "/m"} | {name: "a\0b"}))]})
