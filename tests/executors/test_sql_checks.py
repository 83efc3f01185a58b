"""SQL checks of ExampleValidator: what they see, what they report, and what they are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import duckdb
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from validations import DEFAULTS

from airflow_provider_mlpipe import ExampleValidatorOperator
from airflow_provider_mlpipe.artifacts import ExampleAnomalies, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.user_code import executor_source
from airflow_provider_mlpipe.components.example_validator import executor
from airflow_provider_mlpipe.components.statistics_gen import executor as statistics_gen
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.sidecar import SidecarWriter, sidecar_path, stored
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Rows = Sequence[Mapping[str, Any]]
SCHEMA = """
feature { name: "age" type: INT }
feature { name: "name" type: BYTES }
feature { name: "tags" type: BYTES value_count { min: 0 max: 3 } }
feature { name: "absent" type: FLOAT }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
TRAIN: Rows = [
    {"age": 3, "name": "Zoë", "tags": ["a", "b"]},
    {"age": -1, "name": "Bo", "tags": ["c"]},
    {"age": 200, "name": "", "tags": []},
]
EVAL: Rows = [{"age": 5, "name": "Zoë", "tags": ["a"]}, {"name": "Al"}]


@pytest.fixture(params=["records", "sidecar"])
def reads(request: pytest.FixtureRequest) -> str:
    """Whether the rows are read from the records or from a sidecar."""
    return str(request.param)


def written(examples: Examples, splits: Mapping[str, Rows], reads: str = "records") -> Examples:
    for split, rows in splits.items():
        folder = Path(examples.uri, f"Split-{split}")
        folder.mkdir()
        names = dict.fromkeys(name for row in rows for name in row)
        batch = stored(pa.RecordBatch.from_pydict({name: [row.get(name) for row in rows] for name in names}))
        records = encode_examples(batch).to_pylist()
        with TFRecordWriter(folder / FILE_NAME) as writer:
            writer.write(records)
        if reads == "sidecar":
            with SidecarWriter(sidecar_path(examples, split), folder / FILE_NAME) as sidecar:
                sidecar.write(batch, map(len, records))
    return replace(examples, properties={"splits": list(splits)})


class Validation:
    """Validates examples with SQL checks."""

    def __init__(self, empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> None:
        self.empty, self.context = empty, context
        self.anomalies: ExampleAnomalies = empty(ExampleAnomalies)

    def __call__(
        self, splits: Mapping[str, Rows], *sql: str | Mapping[str, Any], reads: str = "records", **changed: Any
    ) -> Produced:
        examples = written(self.empty(Examples), splits, reads)
        statistics = self.empty(ExampleStatistics, properties={"splits": list(splits)})
        options = {"stats_options": None, "exclude_splits": [], "sample_rate_by_split": None, "schema": None}
        statistics_gen.run(examples=examples, statistics=statistics, context=self.context(), **options)
        schema = self.empty(Schema)
        Path(schema.uri, "schema.pbtxt").write_text(changed.pop("schema", SCHEMA))
        context = replace(self.context(), max_memory_mb=changed.pop("max_memory_mb", None))
        self.anomalies = self.empty(ExampleAnomalies)
        checks = [
            {"name": f"check {place}", "sql": each} if isinstance(each, str) else each for place, each in enumerate(sql)
        ]
        given = DEFAULTS | {"examples": examples, "sql_checks": checks} | changed
        return executor.run(statistics=statistics, schema=schema, anomalies=self.anomalies, context=context, **given)[
            "anomalies"
        ]

    def report(self, split: str) -> list[dict[str, Any]]:
        checks: list[dict[str, Any]] = json.loads(self._file(split, "sql_checks.json").read_text())["checks"]
        return checks

    def rows(self, split: str) -> list[dict[str, Any]]:
        """What the only check found."""
        (check,) = self.report(split)
        rows: list[dict[str, Any]] = check["rows"]
        return rows

    def schema_diff(self, split: str) -> anomalies_pb2.Anomalies:
        return anomalies_pb2.Anomalies.FromString(self._file(split, "SchemaDiff.pb").read_bytes())

    def _file(self, split: str, name: str) -> Path:
        return Path(self.anomalies.uri, f"Split-{split}", name)


@pytest.fixture
def validate(empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> Validation:
    return Validation(empty, context)


def test_a_check_without_rows_passes(validate: Validation) -> None:
    produced = validate({"train": TRAIN, "eval": EVAL}, "SELECT * FROM examples WHERE age > 1000", schema=ANY)
    assert produced.properties["blessed"] == {"train": 1, "eval": 1}
    sql = "SELECT * FROM examples WHERE age > 1000"
    expected = {"name": "check 0", "severity": "ERROR", "sql": sql, "offending_rows": 0, "rows": []}
    assert validate.report("train") == validate.report("eval") == [expected]


ANY = SCHEMA.replace("}\nf", "presence { min_count: 0 } }\nf")


def test_offending_rows_are_anomalies_of_their_split(validate: Validation, reads: str) -> None:
    sql = "SELECT split, age FROM examples WHERE age NOT BETWEEN 0 AND 120"
    produced = validate({"train": TRAIN, "eval": EVAL}, sql, reads=reads)
    assert produced.properties["blessed"] == {"train": 0, "eval": 1}
    assert validate.rows("train") == [{"split": "train", "age": -1}, {"split": "train", "age": 200}]
    assert validate.rows("eval") == []
    described = produced.custom_properties["anomalies"]
    assert described == {
        "train": {
            "SQL check check 0": [
                {
                    "severity": "ERROR",
                    "short": "Offending rows",
                    "description": '2 offending rows, they are: {"split": "train", "age": -1}; '
                    '{"split": "train", "age": 200}',
                }
            ]
        },
        "eval": {},
    }
    info = validate.schema_diff("train").anomaly_info["SQL check check 0"]
    assert info.severity == anomalies_pb2.AnomalyInfo.ERROR
    assert [reason.type for reason in info.reason] == [anomalies_pb2.AnomalyInfo.CUSTOM_VALIDATION]
    shown = tfdv.utils.display_util.get_anomalies_dataframe(validate.schema_diff("train"))
    assert list(shown["Anomaly short description"]) == ["Offending rows"]


def test_rows_without_a_split_count_for_every_split(validate: Validation) -> None:
    sql = "SELECT name, count(*) AS times FROM examples GROUP BY name HAVING count(DISTINCT split) > 1"
    produced = validate({"train": TRAIN, "eval": EVAL}, sql)
    assert produced.properties["blessed"] == {"train": 0, "eval": 0}
    assert validate.rows("train") == validate.rows("eval") == [{"name": "Zoë", "times": 2}]
    validate({"train": TRAIN, "eval": EVAL}, "SELECT 'test' AS split UNION ALL SELECT NULL")
    assert [len(validate.rows(split)) for split in ("train", "eval")] == [2, 2]


def test_ten_rows_are_shown_and_all_are_counted(validate: Validation) -> None:
    rows = [{"age": age} for age in range(40_000)]
    validate({"train": rows}, "SELECT age FROM examples WHERE age >= 100 ORDER BY age DESC")
    (check,) = validate.report("train")
    assert check["offending_rows"] == 39_900
    assert [row["age"] for row in check["rows"]] == list(range(39_999, 39_989, -1))
    described = validate.schema_diff("train").anomaly_info["SQL check check 0"].description
    assert described.startswith('39,900 offending rows, the first 10 of them: {"age": 39999}; {"age": 39998}')


def types(validate: Validation, splits: Mapping[str, Rows], reads: str = "records", **changed: Any) -> dict[str, str]:
    """The columns of the table `examples`."""
    validate(
        splits,
        "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index) AS columns "
        "FROM duckdb_columns() WHERE table_name = 'examples'",
        reads=reads,
        **changed,
    )
    (row,) = validate.rows(next(iter(splits)))
    return dict(each.split(" ", 1) for each in row["columns"].split(", "))


def test_the_columns(validate: Validation, reads: str) -> None:
    assert types(validate, {"train": TRAIN, "eval": EVAL}, reads) == {
        "split": "VARCHAR",
        "age": "BIGINT",
        "name": "VARCHAR",
        "tags": "VARCHAR[]",
        "absent": "FLOAT",
    }
    validate({"train": TRAIN, "eval": EVAL}, "SELECT * FROM examples ORDER BY ALL", reads=reads)
    assert validate.rows("eval") == [
        {"split": "eval", "age": 5, "name": "Zoë", "tags": ["a"], "absent": None},
        {"split": "eval", "age": None, "name": "Al", "tags": None, "absent": None},
    ]
    assert [row["tags"] for row in validate.rows("train")] == [["c"], ["a", "b"], None]


def test_a_type_is_widened_when_later_rows_need_it(validate: Validation) -> None:
    """Each split is a batch of its own; the values of the ones before keep their meaning."""
    splits = {
        "one": [{"number": 1, "text": "a\\x41", "several": 1, "words": ["a", "b"]}, {"number": 2}],
        "two": [{"number": 0.5, "text": b"\xff", "several": [2, 3], "words": [b"\xfe", b""]}],
        "three": [{"number": 7, "text": "é", "several": 4, "words": ["é"], "new": 1.5}],
    }
    schema = 'feature { name: "number" type: FLOAT }'
    assert types(validate, splits, schema=schema) == {
        "split": "VARCHAR",
        "number": "DOUBLE",
        "several": "BIGINT[]",
        "text": "BLOB",
        "words": "BLOB[]",
        "new": "FLOAT",
    }
    sql = (
        "SELECT split, number, several, [decode(word) FOR word IN words IF split <> 'two'] AS words, new, "
        "CASE WHEN split <> 'two' THEN decode(text) END AS text FROM examples"
    )
    validate(splits, sql, schema=schema)
    none = {"number": 2.0, "several": None, "text": None, "words": None, "new": None}
    assert validate.rows("one") == [
        {"split": "one", "number": 1.0, "several": [1], "text": "a\\x41", "words": ["a", "b"], "new": None},
        {"split": "one", **none},
    ]
    assert validate.rows("two") == [
        {"split": "two", "number": 0.5, "several": [2, 3], "text": None, "words": [], "new": None}
    ]
    assert validate.rows("three") == [
        {"split": "three", "number": 7.0, "several": [4], "text": "é", "words": ["é"], "new": 1.5}
    ]


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("", "BIGINT"),
        ("shape {}", "BIGINT"),
        ("shape { dim { size: 1 } }", "BIGINT"),
        ("shape { dim { size: 2 } }", "BIGINT[]"),
        ("value_count { min: 0 max: 1 }", "BIGINT"),
        ("value_count { min: 1 }", "BIGINT[]"),
        ("value_counts { value_count { min: 1 max: 1 } }", "BIGINT[]"),
    ],
)
def test_a_feature_is_a_list_if_the_schema_allows_several_values(
    validate: Validation, constraint: str, expected: str
) -> None:
    schema = f'feature {{ name: "x" type: INT {constraint} }} feature {{ name: "y" type: INT {constraint} }}'
    found = types(validate, {"train": [{"x": 1}]}, schema=schema)
    assert found == {"split": "VARCHAR", "x": expected, "y": expected}


def test_the_statistics(validate: Validation) -> None:
    sql = "SELECT * FROM statistics ORDER BY split, feature"
    validate({"train": TRAIN, "eval": EVAL}, sql, examples=None)
    age, name, _ = validate.rows("train")
    assert (age["type"], age["num_examples"], age["num_missing"], age["num_non_missing"]) == ("INT", 3, 0, 3)
    assert (age["min"], age["max"], age["median"], age["num_zeros"], age["num_nan"]) == (-1.0, 200.0, 3.0, 0, 0)
    assert (age["mean"], age["num_unique"]) == (pytest.approx(202 / 3), None)
    assert (name["type"], name["num_unique"], name["min"], name["max_num_values"]) == ("STRING", 3, None, 1)
    assert name["avg_length"] == pytest.approx(2)  # TFDV counts bytes
    age, name, tags = validate.rows("eval")
    assert (name["top_count"], tags["num_missing"], tags["num_non_missing"]) == (1.0, 1, 1)


def test_severity_and_name(validate: Validation) -> None:
    check = {"name": "adults", "sql": "SELECT 1", "severity": "WARNING"}
    produced = validate({"train": TRAIN}, check)
    (found,) = produced.custom_properties["anomalies"]["train"]["SQL check adults"]
    assert found["severity"] == validate.report("train")[0]["severity"] == "WARNING"


def test_a_check_of_another_environment_is_not_run(validate: Validation, caplog: pytest.LogCaptureFixture) -> None:
    check = {"name": "label", "sql": "SELECT nothing", "environment": "TRAINING"}
    caplog.set_level("INFO")
    for environment in (None, "SERVING"):
        validate({"train": TRAIN}, check, environment=environment)
        assert validate.report("train") == []
    assert "SQL check 'label' is not run: its environment is 'TRAINING'" in caplog.text
    with pytest.raises(
        InvalidInputError, match="check 'label': Binder Error: Referenced column \"nothing\" was not found"
    ):
        validate({"train": TRAIN}, check, environment="TRAINING")
    with pytest.raises(InvalidInputError, match=r"'TEST' is not a default_environment .*: TRAINING, SERVING"):
        validate({"train": TRAIN}, check | {"environment": "TEST"})


def test_without_checks_there_is_no_report(validate: Validation) -> None:
    validate({"train": TRAIN})
    assert [path.name for path in Path(validate.anomalies.uri, "Split-train").iterdir()] == ["SchemaDiff.pb"]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT 1; SELECT 2", "not one SELECT"),
        ("INSERT INTO examples VALUES ('train')", "not one SELECT"),
        ("WITH x AS (SELECT 1) INSERT INTO examples SELECT 'a'", "not one SELECT"),
        ("COPY examples TO '/tmp/x'", "not one SELECT"),
        ("ATTACH '/tmp/x'", "not one SELECT"),
        ("PRAGMA version", "not one SELECT"),
        ("SET threads = 2", "not one SELECT"),
        ("SUMMARIZE examples", "not one SELECT"),
        ("-- nothing", "not one SELECT"),
        ("SELECT age\nFROM examples\nWHERE ) < 3", r"Parser Error: syntax error at or near(?s:.*)line 3: WHERE \) < 3"),
        ("SELECT 1,\n  years FROM examples", r'"years" not found(?s:.*)line 2:   years FROM'),
        ("SELECT name::INT FROM examples", "Conversion Error: Could not convert string 'Zoë' to INT32"),
        ("SELECT * FROM read_csv('/etc/passwd')", "Permission Error: .*file system operations are disabled"),
        ("SELECT * FROM read_text('https://example.org')", "Error"),
        ("SELECT * FROM TRAIN", "Catalog Error: Table with name TRAIN does not exist"),
        ("SELECT * FROM offending_rows", "does not exist"),
    ],
)
def test_what_is_refused(validate: Validation, sql: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=f"sql_checks, check 'one': .*{says}"):
        validate({"train": TRAIN}, {"name": "one", "sql": sql})


def test_rows_of_examples_that_are_not_given(validate: Validation) -> None:
    for sql in ("FROM examples", "SELECT 1 FROM statistics, examples"):
        with pytest.raises(InvalidInputError, match=r"check 'check 0': the SQL reads examples; .*such as examples="):
            validate({"train": TRAIN}, sql, examples=None)
    validate({"train": TRAIN}, "WITH examples AS (SELECT 1 AS x) FROM examples", examples=None)
    assert validate.rows("train") == [{"x": 1}]


def test_examples_that_lack_a_split(validate: Validation, empty: Callable[..., Any]) -> None:
    other = written(empty(Examples), {"train": TRAIN})
    with pytest.raises(InvalidInputError, match=r"examples: .* has no split 'eval'; known splits: train"):
        validate({"train": TRAIN, "eval": EVAL}, "FROM examples", examples=other)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [{"Age": 1, "age": 2}],
            "feature 'Age': .* cannot tell it from the feature 'age' of the table examples; rename",
        ),
        ([{"split": 1}], "feature 'split': .* cannot tell it from the column 'split'"),
    ],
)
def test_names_that_sql_cannot_tell_apart(validate: Validation, rows: Rows, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        validate({"train": rows}, "FROM examples")


def test_a_feature_that_only_later_rows_have(validate: Validation) -> None:
    """Whatever type the schema has for it."""
    schema = 'feature { name: "x" type: INT } feature { name: "y" type: FLOAT } feature { name: "z" type: BYTES }'
    rows = {"train": [{"x": 1}], "eval": [{"y": 2, "z": [1.5, 2.5], "new {}": "a"}]}
    columns = types(validate, rows, schema=schema)
    assert columns == {"split": "VARCHAR", "x": "BIGINT", "y": "BIGINT", "z": "FLOAT[]", "new": "{} VARCHAR"}
    validate(rows, "SELECT * FROM examples WHERE split = 'eval'", schema=schema)
    assert validate.rows("eval") == [{"split": "eval", "x": None, "y": 2, "z": [1.5, 2.5], "new {}": "a"}]


def test_a_feature_with_another_type_in_a_later_split(validate: Validation) -> None:
    with pytest.raises(InvalidInputError, match="feature 'x' is VARCHAR in the split 'eval', but BIGINT before"):
        validate({"train": [{"x": 1}], "eval": [{"x": "a"}]}, "FROM examples")


def test_values_of_any_type_are_reported(validate: Validation) -> None:
    sql = (
        "SELECT 'nan'::DOUBLE AS a, 1.50 AS b, DATE '2026-01-02' AS c, {'x': [1]} AS d, '\\xFF'::BLOB AS e, "
        "TIMESTAMPTZ '2026-01-02 03:04:05+00' AS f, repeat('x', 500) AS g, range(12) AS h, 2::HUGEINT AS i, true AS j, "
        'a."quoted ""name""" AS "k""" FROM (SELECT 1 AS "quoted ""name""") AS a'
    )
    validate({"train": TRAIN}, sql)
    assert validate.rows("train") == [
        {
            "a": "nan",
            "b": 1.5,
            "c": "2026-01-02",
            "d": {"x": [1]},
            "e": "0xff",
            "f": "2026-01-02 03:04:05+00:00",
            "g": "x" * 199 + "…",
            "h": [*range(10), "…"],
            "i": 2,
            "j": True,
            'k"': 1,
        }
    ]


def test_little_memory_is_enough(validate: Validation) -> None:
    """DuckDB gets 32 MiB; the rows, which are more than those, are on the disk."""
    rows = [{"age": age, "name": f"{age:01500d}"} for age in range(30_000)]
    validate({"train": rows}, "SELECT * FROM examples WHERE age > 0", max_memory_mb=64)
    (check,) = validate.report("train")
    assert (check["offending_rows"], check["rows"][0]["age"]) == (29_999, 1)
    with pytest.raises(InvalidInputError, match=r"Out of Memory Error: .*; raise .mlpipe. max_memory_mb"):
        validate({"train": rows}, "SELECT list(name) AS names FROM examples", max_memory_mb=64)


def test_equal_rows_give_equal_files(validate: Validation) -> None:
    rows = [{"age": place, "x": place / 7} for place in range(30_000)]
    sql = "SELECT age % 100 AS bucket, sum(x) AS total FROM examples GROUP BY bucket"
    files = []
    for _ in range(2):
        validate({"train": rows}, sql)
        folder = Path(validate.anomalies.uri, "Split-train")
        files.append([(folder / name).read_bytes() for name in ("SchemaDiff.pb", "sql_checks.json")])
    assert files[0] == files[1]


def test_the_version_of_duckdb_counts_in_the_fingerprint() -> None:
    source = executor_source(Address.parse(ExampleValidatorOperator.EXECUTOR))
    assert source.libraries["duckdb"] == duckdb.__version__
