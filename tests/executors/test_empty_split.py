"""A split without examples on its way from CsvExampleGen to ExampleValidator: a warning, and no error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from csv_parameters import CSV_PARAMETERS
from taken import call_with_one
from validations import DEFAULTS

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

SPLITS = {"splits": [{"name": "train", "pattern": "train.csv"}, {"name": "eval", "pattern": "eval.csv"}]}
DEALT = {"split_config": {"splits": [{"name": "train", "hash_buckets": 1}, {"name": "eval", "hash_buckets": 10_000}]}}
INFERENCE: dict[str, Any] = {"curated_schema": None, "infer_feature_shape": True, "exclude_splits": []}
ALL = {"splits": [{"name": "all", "pattern": "train.csv"}]}


@pytest.fixture
def chain(tmp_path: Path, empty: Callable[..., Any], context: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Runs CsvExampleGen on {file: text} and then the others; returns what each produced, by output."""

    def run(texts: Mapping[str, str], configs: Mapping[str, Any], stats_options: Any = None) -> dict[str, Any]:
        from airflow_provider_mlpipe.components.csv_example_gen.executor import run as generate
        from airflow_provider_mlpipe.components.example_validator.executor import run as validate
        from airflow_provider_mlpipe.components.schema_gen.executor import run as infer
        from airflow_provider_mlpipe.components.statistics_gen.executor import run as describe
        from airflow_provider_mlpipe.records.inputs import read_schema

        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        produced: dict[str, Any] = {}

        def made(executor: Callable[..., Any], output: str, kind: Any, **given: Any) -> Any:
            artifact = empty(kind)
            produced[output] = call_with_one(executor, **given, **{output: artifact}, context=context()).get(output)
            properties = produced[output].properties if produced[output] else {}
            return kind(uri=artifact.uri, properties=properties)

        none = {"exclude_splits": []}
        examples = made(generate, "examples", Examples, input_base=str(tmp_path), **CSV_PARAMETERS, **configs)
        statistics = made(
            describe,
            "statistics",
            ExampleStatistics,
            examples=examples,
            schema=None,
            stats_options=stats_options,
            sample_rate_by_split=None,
            **none,
        )
        schema = made(infer, "schema", Schema, statistics=statistics, **INFERENCE)
        made(validate, "anomalies", ExampleAnomalies, statistics=statistics, schema=schema, **DEFAULTS)
        return produced | {"schema": read_schema(schema)}

    return run


@pytest.mark.parametrize(
    ("texts", "configs"),
    [
        ({"train.csv": "a,b\n1,x\n2,y\n", "eval.csv": "a,b\n"}, {"input_config": SPLITS, "output_config": {}}),
        ({"train.csv": "a,b\n1,x\n"}, {"input_config": ALL, "output_config": DEALT}),
    ],
    ids=["a header alone", "dealt nothing"],
)
def test_an_empty_split_is_no_error(
    chain: Callable[..., dict[str, Any]],
    texts: dict[str, str],
    configs: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    produced = chain(texts, configs)
    counts = produced["examples"].properties["record_counts"]
    (without,) = [split for split, count in counts.items() if not count]
    assert produced["anomalies"].properties["blessed"] == {"train": 1, "eval": 1}
    assert [(feature.name, feature.type, feature.lifecycle_stage) for feature in produced["schema"].feature] == [
        ("a", 2, 0),
        ("b", 1, 0),
    ]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    # StatisticsGen, SchemaGen and ExampleValidator
    assert sum(message.startswith(f"split {without} of ") for message in said) == 3


def test_an_empty_split_on_beam_with_a_label_feature(chain: Callable[..., dict[str, Any]]) -> None:
    texts = {"train.csv": "a,b\n1,x\n0,y\n", "eval.csv": "a,b\n"}
    options = {"label_feature": "a", "schema_json": '{"feature": [{"name": "a", "type": "INT", "boolDomain": {}}]}'}
    produced = chain(texts, {"input_config": SPLITS, "output_config": {}}, options)
    assert produced["anomalies"].properties["blessed"] == {"train": 1, "eval": 1}


def test_no_row_in_any_split_is_an_error(chain: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(InvalidInputError, match=r"train\.csv, .*eval\.csv: no row follows the header"):
        chain({"train.csv": "a,b\n", "eval.csv": "a,b\n"}, {"input_config": SPLITS, "output_config": {}})
