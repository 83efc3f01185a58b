"""SchemaGen and ImportSchemaGen on statistics made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from taken import call_with_one

from airflow_provider_mlpipe.artifacts import ExampleStatistics, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Splits = Mapping[str, Mapping[str, list[Any]]]


@pytest.fixture
def statistics(empty: Callable[..., Any]) -> Callable[[Splits], ExampleStatistics]:
    """Statistics of {split: {feature: values}}, computed by TFDV."""

    def make(splits: Splits) -> ExampleStatistics:
        import pandas as pd
        import tensorflow_data_validation as tfdv

        from airflow_provider_mlpipe.records.statistics import write_statistics

        made: ExampleStatistics = empty(ExampleStatistics, properties={"splits": list(splits), "span": 3})
        for split, columns in splits.items():
            write_statistics(made, split, tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns)))
        return made

    return make


@pytest.fixture
def infer(empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> Callable[..., Any]:
    """Runs SchemaGen; returns the schema it wrote."""

    def run(statistics: ExampleStatistics, **changed: Any) -> Any:
        from airflow_provider_mlpipe.components.schema_gen import executor
        from airflow_provider_mlpipe.records.inputs import read_schema

        schema = empty(Schema)
        given = {"curated_schema": None, "infer_feature_shape": True, "exclude_splits": [], **changed}
        assert call_with_one(executor.run, statistics=statistics, schema=schema, context=context(), **given) == {}
        return read_schema(schema)

    return run


@pytest.fixture
def import_file(
    tmp_path: Path, empty: Callable[..., Any], context: Callable[[], ExecutorContext]
) -> Callable[[bytes], str]:
    """Runs ImportSchemaGen on a file of these bytes; returns the text it wrote."""

    def run(content: bytes) -> str:
        from airflow_provider_mlpipe.components.import_schema_gen.executor import run as import_schema

        path = tmp_path / "curated.pbtxt"
        path.write_bytes(content)
        schema = empty(Schema)
        import_schema(schema_file=str(path), schema=schema, context=context())
        return Path(schema.uri, "schema.pbtxt").read_text()

    return run


def features(schema: Any) -> dict[str, Any]:
    return {feature.name: feature for feature in schema.feature}


def domain(schema: Any, name: str) -> list[str]:
    return next(list(domain.value) for domain in schema.string_domain if domain.name == name)


def test_the_first_split_is_inferred_and_the_others_widen_it(
    statistics: Callable[[Splits], ExampleStatistics], infer: Callable[..., Any]
) -> None:
    made = statistics({"train": {"n": [1, 2], "s": ["a", "b"]}, "eval": {"n": [3, 4], "s": ["a", "c"], "new": [1, 2]}})
    schema = infer(made)
    assert {name: feature.type for name, feature in features(schema).items()} == {"n": 2, "s": 1, "new": 2}
    assert domain(schema, "s") == ["a", "b", "c"]
    only_train = infer(made, exclude_splits=["eval"])
    assert sorted(features(only_train)) == ["n", "s"]
    assert domain(only_train, "s") == ["a", "b"]


TEXTS = {
    "what differs is the values": ("n,s\n1,a\n2,b\n", "n,s\n5,a\n7,c\n"),
    "an empty cell": ("n,f\n1,.5\n2,.5\n", "n,f\n,.5\n3,1\n"),
    "an empty cell in the first split": ("n,s\n1,a\n,b\n", "n,s\n1,a\n2,\n"),
    "a column without a value in any split": ("n,x\n1,\n2,\n", "n,x\n1,\n2,\n"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_splits_that_agree_get_the_schema_of_tfdv(tmp_path: Path, infer: Callable[..., Any], case: str) -> None:
    import tensorflow_data_validation as tfdv
    from csv_data import statistics_of

    from airflow_provider_mlpipe.records.statistics import read_statistics

    statistics = statistics_of(tmp_path, dict(zip(["train", "eval"], TEXTS[case], strict=True)))
    train, evaluation = (read_statistics(statistics, split) for split in ("train", "eval"))
    assert infer(statistics) == tfdv.update_schema(tfdv.infer_schema(train), evaluation)


ONES, NUMBERS, FLOATS, WORDS = "a,k\n1,1\n1,2\n", "a,k\n1,1\n2,2\n", "a,k\n1.5,1\n2,2\n", "a,k\nx,1\ny,2\n"
NONE, EMPTY = "k\n1\n2\n", "a,k\n,1\n,2\n"


@pytest.mark.parametrize("kind", ["INT", "FLOAT", "BYTES"])
@pytest.mark.parametrize("without", [NONE, EMPTY], ids=["missing", "empty"])
@pytest.mark.parametrize("places", [("train", "eval", "test"), ("eval", "test", "train")])
def test_a_column_that_a_split_lacks_is_optional(
    tmp_path: Path, infer: Callable[..., Any], kind: str, without: str, places: tuple[str, ...]
) -> None:
    import tensorflow_data_validation as tfdv
    from csv_data import statistics_of
    from tensorflow_transform.tf_metadata import schema_utils

    from airflow_provider_mlpipe.records.statistics import read_statistics

    given = {"INT": NUMBERS, "FLOAT": FLOATS, "BYTES": WORDS}[kind]
    texts = {"train": given, "eval": without, "test": given}
    statistics = statistics_of(tmp_path, {split: texts[split] for split in places})
    schema = infer(statistics)
    found = features(schema)["a"]
    assert (found.type, found.lifecycle_stage) == (type_number(kind), 0)
    assert (found.presence.min_count, found.presence.min_fraction) == (0, 0)
    assert features(schema)["k"].presence.min_fraction == 1
    assert sorted(schema_utils.schema_as_feature_spec(schema).feature_spec) == ["a", "k"]  # what Transform reads
    for split in places:
        assert not tfdv.validate_statistics(read_statistics(statistics, split), schema).anomaly_info, split


def test_a_feature_with_ints_in_one_split_and_floats_in_another(
    statistics: Callable[[Splits], ExampleStatistics], infer: Callable[..., Any]
) -> None:
    for first, second in (([1, 0], [0.5, 2.0]), ([0.5, 2.0], [1, 0])):
        found = features(infer(statistics({"train": {"n": first}, "eval": {"n": second}})))["n"]
        assert (found.type, found.lifecycle_stage, found.WhichOneof("domain_info")) == (3, 0, None)
        assert found.shape.dim[0].size == 1


def test_types_that_no_schema_fits(
    statistics: Callable[[Splits], ExampleStatistics], infer: Callable[..., Any]
) -> None:
    made = statistics({"train": {"n": [1, 2]}, "eval": {"n": ["x", "y"]}, "test": {"n": [1.5, 2.5]}, "new": {"n": [3]}})
    says = (
        r"feature 'n' is INT in splits 'train', 'new', FLOAT in split 'test', STRING in split 'eval', "
        r"and no schema fits that: .* exclude_splits"
    )
    with pytest.raises(InvalidInputError, match=says):
        infer(made)
    assert features(infer(made, exclude_splits=["eval", "test"]))["n"].type == type_number("INT")


@pytest.mark.parametrize("evaluation", [ONES, NUMBERS, NONE, EMPTY])
def test_categorical_numbers_pass_the_schema_that_is_inferred_from_them(
    tmp_path: Path, infer: Callable[..., Any], evaluation: str
) -> None:
    import tensorflow_data_validation as tfdv
    from csv_data import statistics_of
    from tensorflow_metadata.proto.v0 import schema_pb2

    from airflow_provider_mlpipe.records.statistics import read_statistics

    given = schema_pb2.Schema(feature=[schema_pb2.Feature(name="a", type="INT")])
    given.feature[0].int_domain.is_categorical = True
    statistics = statistics_of(tmp_path, {"train": NUMBERS, "eval": evaluation}, schema=given)
    schema = infer(statistics)
    found = features(schema)["a"]
    assert (found.type, found.lifecycle_stage, found.int_domain.is_categorical) == (type_number("INT"), 0, True)
    assert not schema.string_domain
    for split in ("train", "eval"):
        assert not tfdv.validate_statistics(read_statistics(statistics, split), schema).anomaly_info, split


def type_number(name: str) -> int:
    from tensorflow_metadata.proto.v0 import schema_pb2

    return int(schema_pb2.FeatureType.Value(name))


def test_feature_shapes_are_a_choice(
    statistics: Callable[[Splits], ExampleStatistics], infer: Callable[..., Any]
) -> None:
    made = statistics({"train": {"n": [1, 2]}})
    assert features(infer(made))["n"].shape.dim[0].size == 1
    assert not features(infer(made, infer_feature_shape=False))["n"].HasField("shape")


def test_an_unknown_split(statistics: Callable[[Splits], ExampleStatistics], infer: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"exclude_splits names the split 'test', .* it has: train"):
        infer(statistics({"train": {"n": [1]}}), exclude_splits=["test"])


def test_statistics_that_are_missing_broken_or_of_nothing(
    statistics: Callable[[Splits], ExampleStatistics], infer: Callable[..., Any]
) -> None:
    made = statistics({"train": {"n": [1]}, "eval": {"n": [1]}})
    path = Path(made.uri, "Split-eval", "FeatureStats.pb")
    path.write_bytes(b"\xff\xff")
    with pytest.raises(InvalidInputError, match=r"Split-eval/FeatureStats.pb is not a DatasetFeatureStatisticsList"):
        infer(made)
    path.write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"Split-eval/FeatureStats.pb is empty; run the producer"):
        infer(made)
    path.unlink()
    with pytest.raises(InvalidInputError, match=r"Split-eval/FeatureStats.pb does not exist"):
        infer(made)


def test_an_imported_schema_is_normalized(import_file: Callable[[bytes], str]) -> None:
    one = import_file(b'# curated\nfeature { name: "n"  type: INT }\nfeature { name: "s" type: BYTES }\n')
    two = import_file(b'feature {\n name: "n" type: INT\n}\nfeature { name: "s", type: BYTES }')
    assert one == two == 'feature {\n  name: "n"\n  type: INT\n}\nfeature {\n  name: "s"\n  type: BYTES\n}\n'


def test_a_byte_order_mark_is_skipped(import_file: Callable[[bytes], str]) -> None:
    text = b'feature {\n  name: "n"\n}\n'
    assert import_file(b"\xef\xbb\xbf" + text) == import_file(text) == text.decode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('feature { name: "n" }'.encode("utf-16"), r"curated\.pbtxt holds text in UTF-16, .*; convert it to UTF-8"),
        (b"\x1f\x8b\x08", r"curated\.pbtxt holds gzip, not text in UTF-8; decompress it first \(gunzip\)"),
        (
            b'feature {\n  name: "n"\n  kind: INT\n}',
            r"curated\.pbtxt, line 3, column 3: .* no field named \"kind\"; it must hold a tensorflow",
        ),
        (b'feature {\n  name: "n"\n', r"curated\.pbtxt, line \d, column \d+: Expected \"}\"; it must hold"),
        (b"\xff", r"curated\.pbtxt is not text in UTF-8; it must hold .*, as text_format\.MessageToString writes it"),
        (b"# nothing\n", r"curated\.pbtxt declares no feature; declare the columns"),
    ],
)
def test_a_file_that_is_no_schema_names_the_line(
    import_file: Callable[[bytes], str], content: bytes, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        import_file(content)


def test_a_missing_schema_file(tmp_path: Path, context: Callable[[], ExecutorContext]) -> None:
    from airflow_provider_mlpipe.components.import_schema_gen.executor import run as import_schema

    with pytest.raises(InvalidInputError, match=r"schema_file .*none\.pbtxt cannot be read: \[Errno 2\] No such file"):
        import_schema(schema_file=str(tmp_path / "none.pbtxt"), schema=Schema(uri=str(tmp_path)), context=context())


def test_the_log_has_the_differences_from_a_curated_schema(
    statistics: Callable[..., Any],
    infer: Callable[..., Any],
    empty: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    curated = empty(Schema)
    Path(curated.uri, "schema.pbtxt").write_text(
        'feature { name: "n" type: INT presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } } } '
        'feature { name: "s" type: BYTES presence { min_fraction: 1 min_count: 1 } shape { dim { size: 1 } } '
        'domain: "s" } string_domain { name: "s" value: "a" value: "b" } feature { name: "gone" type: INT }'
    )
    caplog.set_level("INFO")
    made = statistics({"train": {"n": [1.5, 2.5], "s": ["a", "c"]}})
    assert infer(made, curated_schema=curated) == infer(made)
    said = [record.getMessage() for record in caplog.records if record.name.endswith("schema_gen.executor")]
    assert said[1:5] == [
        "from the curated schema to the inferred one, 3 differences",
        "n: type: INT → FLOAT",
        "s: domain values: b → c",
        'gone: removed: name: "gone" type: INT',
    ]
