"""The operators from ExampleGen to ExampleValidator: what they declare, refuse, and hash; the gate."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlpipe.artifacts import ExampleAnomalies
from airflow_provider_mlpipe.components.csv_example_gen.operator import CsvExampleGenOperator
from airflow_provider_mlpipe.components.example_validator.operator import ExampleValidatorOperator
from airflow_provider_mlpipe.components.import_schema_gen.operator import ImportSchemaGenOperator
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.schema_gen.operator import SchemaGenOperator
from airflow_provider_mlpipe.components.statistics_gen.operator import StatisticsGenOperator
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError, InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.example_gen import TRAIN_AND_EVAL
from airflow_provider_mlpipe.pipeline.file_example_gen import ONE_SPLIT
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output, SplitConfig, SqlCheck

OPERATORS = [
    CsvExampleGenOperator,
    StatisticsGenOperator,
    SchemaGenOperator,
    ImportSchemaGenOperator,
    ExampleValidatorOperator,
]
TWO_SPLITS = {"splits": [{"name": "a", "pattern": "a*"}, {"name": "b", "pattern": "b*"}]}


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_executor_takes_what_the_operator_declares(operator: Any) -> None:
    module, function = operator.SPEC.executor.split(":")
    path = Path(__file__).parents[3].joinpath(*module.split(".")).with_suffix(".py")
    (run,) = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", None) == function]
    assert isinstance(run, ast.FunctionDef)
    spec = operator.SPEC
    declared = [*spec.inputs, *spec.parameters, *spec.outputs, "context"]
    assert sorted(argument.arg for argument in run.args.kwonlyargs) == sorted(declared)


def test_example_gen_defaults() -> None:
    example_gen = CsvExampleGenOperator(input_base="/data")
    assert (example_gen.input_config, example_gen.output_config) == (ONE_SPLIT, TRAIN_AND_EVAL)
    assert CsvExampleGenOperator(input_base="/data", input_config=TWO_SPLITS).output_config == {}


def test_configs_as_messages_or_dicts() -> None:
    message = Input(splits=[Input.Split(name="all", pattern="*.csv")])
    plain = {"splits": [{"name": "all", "pattern": "*.csv"}]}
    output = Output(split_config=SplitConfig(splits=[SplitConfig.Split(name="x", hash_buckets=3)]))
    one = CsvExampleGenOperator(input_base="/data", input_config=message, output_config=output)
    assert one.input_config == plain
    assert one.output_config == {"split_config": {"splits": [{"name": "x", "hash_buckets": 3}]}}


def by_value(*splits: Mapping[str, Any], feature: str | None = "x") -> Mapping[str, Any]:
    named = [{"name": f"s{place}", **split} for place, split in enumerate(splits)]
    deal = {"splits": named} if feature is None else {"splits": named, "partition_feature_name": feature}
    return {"output_config": {"split_config": deal}}


@pytest.mark.parametrize(
    ("configs", "says"),
    [
        (
            {"input_config": TWO_SPLITS, "output_config": TRAIN_AND_EVAL},
            "CsvExampleGen: output_config needs exactly one input split, but input_config has a, b",
        ),
        ({"input_config": {"splits": [{"name": "a"}]}}, "input_config split 1 needs a name and a pattern"),
        (
            {"input_config": {"splits": [{"name": "x/../../y", "pattern": "*"}]}},
            "input_config names a split 'x/../../y', which has '/', which the name of a folder cannot have",
        ),
        (
            {"input_config": {"splits": [TWO_SPLITS["splits"][0]] * 2}},
            "input_config names the split 'a' twice",
        ),
        (
            {"output_config": {"split_config": {"splits": [{"name": "x", "hash_buckets": 0}]}}},
            "output_config split 1 needs a name and a hash_buckets",
        ),
        ({"output_config": {"splits": []}}, "output_config has no 'splits'; it has split_config"),
        (
            {"output_config": {"split_config": {"partition_feature_name": "x"}}},
            "partition_feature_name needs output splits",
        ),
        (by_value({"before": "2013-10-01"}, {}, feature=None), "with values or before need a partition_feature_name"),
        (by_value({"values": ["a"]}, {"hash_buckets": 1}), "split 's1' has hash_buckets, but another has values"),
        (by_value({}, {"before": "b"}), "split 's0' takes all the rest, so it must be the last"),
        (by_value({"values": ["a"], "name": ""}), "output_config split 1 needs a name, but it has"),
    ],
)
def test_configs_that_do_not_fit(configs: Mapping[str, Any], says: str) -> None:
    with pytest.raises(PipelineError, match=says):
        CsvExampleGenOperator(input_base="/data", **configs)


def test_splits_by_value_with_a_rest_and_without() -> None:
    for splits in ([{"before": "2013-10-01"}, {}], [{"values": ["a"]}, {"values": ["b", "c"]}]):
        CsvExampleGenOperator(input_base="/data", **by_value(*splits))


def test_how_csv_files_are_written_is_checked_when_the_dag_file_is_parsed() -> None:
    for wrong, says in (
        (
            {"delimiter": "::"},
            "CsvExampleGen: delimiter must be one ASCII character .* it is '::'",
        ),
        ({"quote": "\n"}, "CsvExampleGen: quote must be one ASCII character"),
        ({"encoding": "latin1000"}, "CsvExampleGen: encoding must be one that Python knows for text"),
        ({"delimiter": None}, "delimiter takes"),
    ):
        with pytest.raises(PipelineError, match=says):
            CsvExampleGenOperator(input_base="/data", **wrong)
    CsvExampleGenOperator(input_base="/data", delimiter="\t", quote=None, encoding="utf-16")
    later = CsvExampleGenOperator(input_base="/data", delimiter="{{ params.x }}", encoding=RuntimeParameter("y"))
    later.delimiter, later.encoding = ",,", "utf-8"
    with pytest.raises(InvalidInputError, match="CsvExampleGen: delimiter must be one ASCII character"):
        later.convert_rendered()


def test_only_matching_files_are_hashed_and_not_their_place(tmp_path: Path) -> None:
    def digests(folder: str, **files: str) -> dict[str, str]:
        base = tmp_path / folder
        base.mkdir(exist_ok=True)
        for name, content in files.items():
            (base / f"{name}.csv").write_text(content)
        return example_gen.external_inputs({"input_base": str(base), "input_config": TWO_SPLITS})

    example_gen = CsvExampleGenOperator(input_base="/data", input_config=TWO_SPLITS)
    first = digests("one", a1="x", a2="y", b="z")
    assert sorted(first) == ["split a", "split b"]
    assert digests("one", unmatched="new") == first
    assert digests("two", a8="x", a9="y", b="z") == first
    assert digests("two", a8="y", a9="x")["split a"] != first["split a"]
    assert digests("one", b="edited") == first | {"split b": digests("one")["split b"]} != first
    with pytest.raises(InvalidInputError, match=r"no file matches 'a\*'"):
        digests("three", b="z")


def test_statistics_options_are_normalized() -> None:
    channel = CsvExampleGenOperator(input_base="/data").outputs["examples"]
    as_json = StatisticsGenOperator(examples=channel, stats_options='{"num_top_values": 3}', task_id="one")
    as_dict = StatisticsGenOperator(examples=channel, stats_options={"num_top_values": 3}, task_id="two")
    assert as_json.stats_options == as_dict.stats_options == {"num_top_values": 3}
    parameter = RuntimeParameter("options")
    assert StatisticsGenOperator(examples=channel, stats_options=parameter, task_id="x").stats_options is parameter
    for wrong, says in (
        ("{", "are neither a dict nor JSON"),
        ("[1]", "are JSON, but not"),
        (3, "takes a dict, a StatsO"),
    ):
        with pytest.raises(PipelineError, match=f"StatisticsGen: stats_options {says}"):
            StatisticsGenOperator(examples=channel, stats_options=wrong)


def test_a_schema_given_twice_is_an_error() -> None:
    channel = CsvExampleGenOperator(input_base="/data").outputs["examples"]
    schema = ImportSchemaGenOperator(schema_file="/schema.pbtxt").outputs["schema"]
    with pytest.raises(PipelineError, match="the schema is given as an input and in stats_options"):
        StatisticsGenOperator(examples=channel, schema=schema, stats_options={"schema_json": "{}"})


def validator(**parameters: Any) -> ExampleValidatorOperator:
    statistics = StatisticsGenOperator(examples=CsvExampleGenOperator(input_base="/data").outputs["examples"])
    schema = SchemaGenOperator(statistics=statistics.outputs["statistics"])
    return ExampleValidatorOperator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"], **parameters
    )


def published(severity: str) -> dict[str, list[ExampleAnomalies]]:
    anomaly = {"severity": severity, "short": "Unexpected string values", "description": "z (~50%)."}
    described = {"anomalies": {"train": {}, "eval": {"species": [anomaly]}}}
    return {"anomalies": [ExampleAnomalies(uri="/x", custom_properties=described)]}


@pytest.mark.parametrize(
    ("fail_on", "severity", "shut"),
    [
        (None, "ERROR", False),
        ("ERROR", "WARNING", False),
        ("ERROR", "ERROR", True),
        ("WARNING", "WARNING", True),
        ("WARNING", "ERROR", True),
    ],
)
def test_the_gate(fail_on: str | None, severity: str, shut: bool) -> None:
    gate = validator(fail_on=fail_on)
    if not shut:
        gate.check_gate(published(severity))
        return
    expected = rf"split eval, species: {severity}: Unexpected string values: z \(~50%\)\."
    with pytest.raises(AnomaliesFoundError, match=expected):
        gate.check_gate(published(severity))


def test_fail_on_is_checked_when_the_dag_is_parsed() -> None:
    with pytest.raises(PipelineError, match="fail_on takes 'ERROR', 'WARNING' or None, but got 'FATAL'"):
        validator(fail_on="FATAL")
    assert validator(fail_on=RuntimeParameter("fail_on")).fail_on.name == "fail_on"


def test_a_gate_holds_back_the_readers_of_the_examples() -> None:
    assert validator().gated_channels() == []
    gate = validator(fail_on="ERROR")
    assert gate.gated_channels() == [gate.statistics.producer.examples]


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ([{"sql": "SELECT 1"}], r"sql_checks\[0\] needs a name"),
        ([{"name": "a", "sql": "SELECT 1"}, {"name": "b"}], r"sql_checks\[1\] needs a sql"),
        ([{"name": "a", "sql": "SELECT 1"}] * 2, "sql_checks has two checks with the name 'a'; rename one"),
        ([{"name": "a", "query": "SELECT 1"}], r"sql_checks\[0\] has no 'query'; it has name, sql, severity, env"),
        (
            [{"name": "a", "sql": "SELECT 1", "severity": "FATAL"}],
            r"severity takes 'ERROR' or 'WARNING', but got 'FATAL'",
        ),
        ([{"name": "a", "sql": 3}], r"sql_checks\[0\].sql takes a str"),
        ({"name": "a", "sql": "SELECT 1"}, "sql_checks takes a list of SqlCheck"),
        (
            [{"name": "a", "sql": "DELETE FROM x"}],
            "check 'a': the SQL is not one SELECT; write one that returns the off",
        ),
        ([{"name": "a", "sql": "/* SELECT */ COPY x TO 'y'"}], "not one SELECT"),
        ([{"name": "a", "sql": "SELECT 1; -- one\nSELECT 2"}], "not one SELECT"),
        (
            [{"name": "a", "sql": 'SELECT *\nfrom "Examples"'}],
            "check 'a': the SQL reads examples; .* examples=example_gen",
        ),
    ],
)
def test_sql_checks_are_checked_when_the_dag_is_parsed(checks: Any, says: str) -> None:
    with pytest.raises(PipelineError, match=f"ExampleValidator: .*{says}"):
        validator(sql_checks=checks)


@pytest.mark.parametrize(
    "sql",
    [
        " ( SELECT 1 ) ;\n",
        "-- the rows; of the\nFROM statistics",
        "SELECT 'a; FROM examples' AS \"b;c--d\" FROM statistics -- FROM examples",
        "with Examples as (select 1) from examples",
        "{{ params.sql }}",
        "{% if x %} DELETE {% endif %}",
    ],
)
def test_sql_that_may_be_right_is_left_to_the_task(sql: str) -> None:
    assert validator(sql_checks=[{"name": "a", "sql": sql}]).sql_checks == [{"name": "a", "sql": sql}]


def test_sql_checks_as_messages_or_dicts() -> None:
    message = SqlCheck(name="a", sql="SELECT 1", severity=SqlCheck.Severity.WARNING)
    plain = {"name": "a", "sql": "SELECT 1", "severity": "WARNING", "environment": None}
    assert validator(sql_checks=[message]).sql_checks == validator(sql_checks=[plain]).sql_checks
    parameter = RuntimeParameter("sql", str, "SELECT 1")
    assert validator(sql_checks=[{"name": "a", "sql": parameter}]).sql_checks[0]["sql"] is parameter


def test_a_gate_knows_the_examples_that_it_reads_itself() -> None:
    statistics = ImporterOperator(source_uri="/s", artifact_type="ExampleStatistics").outputs["result"]
    examples = CsvExampleGenOperator(input_base="/data").outputs["examples"]
    schema = ImportSchemaGenOperator(schema_file="/schema.pbtxt").outputs["schema"]
    given = {"statistics": statistics, "schema": schema, "examples": examples}
    assert ExampleValidatorOperator(**given, fail_on="ERROR").gated_channels() == [examples]
