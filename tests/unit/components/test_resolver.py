"""Which arguments a strategy of the Resolver has."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from airflow_provider_mlpipe import ResolverOperator, RuntimeParameter
from airflow_provider_mlpipe.artifacts import Examples, Model, Schema
from airflow_provider_mlpipe.components.resolver.strategies import SEARCHES, Strategy
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.proto.mlpipe_pb2 import RangeConfig, RollingRange

LATEST = {"strategy": "LatestArtifact", "artifact_type": "Examples"}
SPANS = {"strategy": "SpanRange", "range_config": {"rolling_range": {"num_spans": 3}}}
PUSHED = {"strategy": "LatestPushed", "destination": "/srv/models/taxi"}
PROPERTY = {"strategy": "ByProperty", "artifact_type": "Model", "properties": {"owner": "ada"}}
BLESSED = {"strategy": "LatestBlessedModel"}


def test_every_strategy_is_known() -> None:
    assert set(SEARCHES) == set(get_args(Strategy))


@pytest.mark.parametrize(
    ("given", "output", "artifact_type"),
    [
        (LATEST, "result", Examples),
        (SPANS, "result", Examples),
        ({**SPANS, "artifact_type": "ExampleStatistics", "min_spans": 3, "pipeline": "other"}, "result", None),
        (PUSHED, "model", Model),
        (PROPERTY, "result", Model),
        ({**BLESSED, "pipeline": "*"}, "model", Model),
    ],
)
def test_what_it_publishes(given: dict[str, Any], output: str, artifact_type: Any) -> None:
    (channel,) = ResolverOperator(**given).outputs.values()
    assert channel.key == output
    assert channel.artifact_type is artifact_type or artifact_type is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"strategy": "LatestArtifact"}, "strategy LatestArtifact needs artifact_type"),
        ({"strategy": "ByProperty"}, "strategy ByProperty needs artifact_type and properties"),
        ({"strategy": "SpanRange"}, "strategy SpanRange needs range_config"),
        ({"strategy": "LatestPushed"}, "strategy LatestPushed needs destination"),
        ({**BLESSED, "count": 2}, "does not take count; it takes before, other_than, pipeline"),
        ({**BLESSED, "producer_component_id": "Trainer"}, "does not take producer_component_id"),
        ({**LATEST, "min_spans": 1, "properties": {}}, "strategy LatestArtifact does not take min_spans, properties"),
        ({**PUSHED, "pipeline": "other"}, "does not take pipeline; it takes destination"),
        ({**PUSHED, "destination": "srv/models"}, "destination is 'srv/models'; give an absolute path"),
        ({**SPANS, "artifact_type": Schema}, "Schema does not declare the property span as an int"),
        ({**SPANS, "artifact_type": "Exampels"}, "unknown artifact_type 'Exampels'; did you mean Examples?"),
        ({**SPANS, "range_config": {}}, "range_config needs a static_range or a rolling_range"),
        ({**SPANS, "range_config": {"rolling_range": {}}}, "range_config.rolling_range needs num_spans"),
        (
            {**SPANS, "range_config": {"rolling_range": {"num_spans": 1, "skip_num_recent_spans": -1}}},
            "skip_num_recent_spans is -1; give 0 or more",
        ),
        ({**SPANS, "min_spans": 4}, "min_spans is 4, but at most 3 can be found"),
        (
            {**SPANS, "range_config": {"static_range": {"start_span_number": 7, "end_span_number": 8}}, "min_spans": 3},
            "min_spans is 3, but at most 2 can be found",
        ),
        ({**LATEST, "count": 0}, "count is 0; give 1 or more"),
        ({**LATEST, "min_count": 2}, "min_count is 2, but at most 1 can be found"),
        ({**LATEST, "count": "many"}, "count takes an int or None, but got 'many'"),
        ({**LATEST, "producer_component_id": "Gen", "pipeline": "*"}, "producer_component_id needs one pipeline"),
        ({**LATEST, "strategy": "{{ params.strategy }}"}, "strategy decides the outputs, so it cannot be"),
    ],
)
def test_mistakes_show_when_the_dag_is_parsed(given: dict[str, Any], error: str) -> None:
    with pytest.raises(PipelineError, match=re.escape(error)) as raised:
        ResolverOperator(**given)
    assert "Resolver: " in str(raised.value)


def test_a_message_is_as_good_as_its_dict() -> None:
    message = RangeConfig(rolling_range=RollingRange(num_spans=3))
    assert ResolverOperator(strategy="SpanRange", range_config=message).range_config == SPANS["range_config"]


def test_what_only_a_run_knows_is_checked_in_the_task() -> None:
    count: Any = RuntimeParameter("count", int, 3)
    given: Any = {"rolling_range": {"num_spans": "{{ params.spans }}"}}
    latest = ResolverOperator(strategy="LatestArtifact", artifact_type="Examples", count=count, min_count=2)
    window = ResolverOperator(strategy="SpanRange", range_config=given, min_spans=2)
    latest.count, window.range_config = "3", {"rolling_range": {"num_spans": "7"}}
    latest.convert_rendered()
    window.convert_rendered()
    assert (latest.count, window.range_config) == (3, {"rolling_range": {"num_spans": 7}})
    latest.count, window.range_config = 1, {"rolling_range": {"num_spans": "0"}}
    with pytest.raises(InvalidInputError, match="Resolver: min_count is 2, but at most 1 can be found"):
        latest.convert_rendered()
    with pytest.raises(InvalidInputError, match=r"Resolver: range_config\.rolling_range needs num_spans"):
        window.convert_rendered()
