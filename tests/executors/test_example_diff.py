"""ExampleDiff: held against TFDV's feature_skew_detector on Beam; what it refuses; what it publishes."""

from __future__ import annotations

import itertools
import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
import apache_beam as beam
import stock
import tensorflow as tf
from csv_parameters import CSV_PARAMETERS
from examples import EXAMPLES
from sources import as_tfx
from tensorflow_data_validation.skew import feature_skew_detector as detector

from airflow_provider_mlpipe.artifacts import Examples, ExamplesDiff
from airflow_provider_mlpipe.components.csv_example_gen import executor as csv_example_gen
from airflow_provider_mlpipe.components.example_diff import executor
from airflow_provider_mlpipe.components.example_diff.rounding import rounded
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.tfrecord import TFRecordWriter

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:.*tf_record_iterator.*"),
]

Records = Sequence[bytes]
Row = dict[str, Any]
Diff = Callable[..., tuple[Produced, ExamplesDiff]]


def config(*identifiers: str, **further: Any) -> dict[str, Any]:
    return {"paired_example_skew": {"identifier_features": list(identifiers), **further}}


ALL = {"skew_sample_size": 10_000}


@pytest.fixture
def diff(empty: Callable[..., Any], context: Callable[[], ExecutorContext]) -> Diff:
    """Compares {split: records or rows}; each split is two files."""

    def examples(splits: Mapping[str, Sequence[bytes | Row]]) -> Examples:
        made: Examples = empty(Examples, properties={"splits": list(splits)})
        for split, rows in splits.items():
            records = [row if isinstance(row, bytes) else as_tfx(row) for row in rows]
            folder = Path(made.uri, f"Split-{split}")
            folder.mkdir()
            for number in range(2):
                with TFRecordWriter(folder / f"data_tfrecord-0000{number}-of-00002.gz") as writer:
                    writer.write(records[number * len(records) // 2 : (number + 1) * len(records) // 2])
        return made

    def run(test: Any, base: Any, given: Mapping[str, Any] | None = None, **changed: Any) -> Any:
        result = empty(ExamplesDiff)
        test, base = ({"eval": rows} if isinstance(rows, list) else rows for rows in (test, base))
        how = {"include_split_pairs": None, "max_diff_share": None, "context": context(), **changed}
        produced = executor.run(
            examples_test=test if isinstance(test, Examples) else examples(test),
            examples_base=base if isinstance(base, Examples) else examples(base),
            config=given or config("id"),
            example_diff_result=result,
            **how,
        )
        return produced["example_diff_result"], result

    return run


def tfdvs(folder: Path, test: Records, base: Records, given: Mapping[str, Any]) -> Path:
    """What TFDV writes for the same comparison."""
    stock.write_example_diff(beam.Create(test), beam.Create(base), given["paired_example_skew"], folder)
    return folder


def read(folder: Path) -> dict[str, Any]:
    """What is in the files, read by TFDV's iterators, in an order of its own."""
    pairs = [
        (*map(as_text, (pair.base, pair.test)), *(sorted(getattr(pair, name)) for name in LISTED))
        for pair in detector.skew_pair_iterator(str(folder / "sample_pairs"))
    ]
    return {
        "skew_stats": sorted(map(str, detector.skew_results_iterator(str(folder / "skew_stats")))),
        "match_stats": [str(each) for each in detector.match_stats_iterator(str(folder / "match_stats"))],
        "confusion": sorted(map(str, detector.confusion_count_iterator(str(folder / "confusion")))),
        "sample_pairs": sorted(pairs),
    }


LISTED = ("matched_features", "mismatched_features", "base_only_features", "test_only_features")


def as_text(record: bytes) -> str:
    return str(
        sorted((name, str(value)) for name, value in tf.train.Example.FromString(record).features.feature.items())
    )


def example(features: Mapping[str, Any]) -> bytes:
    """A tf.Example; a value is a list, or (kind, list), or None for a feature without a kind."""
    made = tf.train.Example()
    for name, given in features.items():
        feature = made.features.feature[name]
        if given is None:
            continue
        kind, values = given if isinstance(given, tuple) else (kind_of(given), given)
        getattr(feature, kind).SetInParent()
        getattr(feature, kind).value.extend(values)
    return made.SerializeToString(deterministic=True)


def kind_of(values: Sequence[Any]) -> str:
    return {int: "int64_list", float: "float_list", bytes: "bytes_list"}[type(values[0])]


FLOATS = [0.0, -0.0, float("nan"), float("inf"), 1.0, 1.004, 1.005, 2.5, 3.5, -2.5, 1e30, 1e-30, 123456.789]
TEXTS = [b"", b"a", b"b", b"\xff\x00", "é".encode()]


def drawn_examples(draw: random.Random, rows: int, *, is_base: bool, may_repeat: bool) -> Records:
    """Every example has all features, perhaps without values."""
    ids = draw.choices(range(rows // 2), k=rows) if may_repeat else draw.sample(range(rows + rows // 3), rows)

    def some(kind: str, values: Sequence[Any], most: int) -> Any:
        count = draw.choice([0, *range(most + 1)])
        return draw.choice([None, (kind, [])]) if not count else (kind, draw.choices(values, k=count))

    return [
        example(
            {
                "id": draw.choice([None, ("int64_list", [])]) if draw.random() < 0.05 else [number],
                "day": [b"mon"] if number % 2 else [b"tue", b"wed"],
                "int": some("int64_list", [-1, 0, 1, 2**40], 2),
                "Int": some("int64_list", [7, 8], 1),
                "float": some("float_list", FLOATS, 2),
                "text": some("bytes_list", TEXTS, 1),
                "texts": some("bytes_list", TEXTS, 3),
                "other type": some("float_list", FLOATS, 1) if is_base else some("int64_list", [1], 1),
                "never": None,
                "Größe \"'`": some("int64_list", [1, 2], 1) if is_base else None,
            }
        )
        for number in ids
    ]


@pytest.mark.parametrize("seed", range(EXAMPLES))
@pytest.mark.parametrize("digits", [None, 0, 2])
@pytest.mark.parametrize("may_repeat", [False, True])
def test_random_examples_as_tfdv(diff: Diff, tmp_path: Path, seed: int, digits: int | None, may_repeat: bool) -> None:
    draw = random.Random(f"{seed} {digits} {may_repeat}")
    base = drawn_examples(draw, 60, is_base=True, may_repeat=may_repeat)
    test = drawn_examples(draw, 45, is_base=False, may_repeat=may_repeat)
    given = config(
        "id",
        "day",
        ignore_features=["texts"],
        confusion_config=[{"feature_name": "text"}, {"feature_name": "never"}],
        allow_duplicate_identifiers=may_repeat,
        **ALL,
        **({} if digits is None else {"float_round_ndigits": digits}),
    )
    produced, result = diff(list(test), list(base), given)
    theirs = read(tfdvs(tmp_path, test, base, given))
    ours = read(Path(result.uri, "SplitPair-eval_eval"))
    assert ours == theirs
    assert len(theirs["sample_pairs"]) > 5
    assert produced.properties["differing_counts"] == {"eval_eval": len(theirs["sample_pairs"])}


ROWS: list[Row] = [{"id": number, "price": number / 4, "city": "ABC"[number % 3]} for number in range(90)]


def changed(rows: Iterable[Row], numbers: Iterable[int], **values: Any) -> list[Row]:
    which = set(numbers)
    return [{**row, **values} if row["id"] in which else dict(row) for row in rows]


def summary_of(result: ExamplesDiff, pair: str = "eval_eval") -> Any:
    return json.loads(Path(result.uri, "summary.json").read_text())["split_pairs"][pair]


def test_the_sidecar_of_csv_examples(diff: Diff, tmp_path: Path, empty: Callable[..., Any]) -> None:
    """Examples as CsvExampleGen writes them, with their sidecar, are compared as their records are."""
    sides, records = [], []
    for name, step in (("base", 0), ("test", 1)):
        lines = [f"{n},{'' if n % 7 == step else n / 3},{'' if n % 5 == 0 else 'AB'[n % 2]}," for n in range(600)]
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("\n".join(["id,number,text,nothing", *lines]))
        made = empty(Examples)
        produced = csv_example_gen.run(
            input_base=str(tmp_path / name),
            input_config={"splits": [{"name": "single_split", "pattern": "*"}]},
            output_config={"split_config": {"splits": [{"name": "all", "hash_buckets": 1}]}},
            examples=made,
            context=ExecutorContext(component_id="x", execution_id=1, tmp_dir=str(tmp_path)),
            **CSV_PARAMETERS,
        )
        sides.append(Examples(uri=made.uri, properties=produced["examples"].properties))
        assert list(Path(made.uri).glob("Arrow-all/*.arrow"))
        (file,) = Path(made.uri).glob("Split-all/*.gz")
        records.append([each.numpy() for each in tf.data.TFRecordDataset(str(file), "GZIP")])
    given = config("id", confusion_config=[{"feature_name": "text"}], **ALL)
    _, result = diff(sides[1], sides[0], given)
    (tmp_path / "tfdv").mkdir()
    assert read(Path(result.uri, "SplitPair-all_all")) == read(tfdvs(tmp_path / "tfdv", records[1], records[0], given))
    assert summary_of(result, "all_all")["features"]["nothing"]["match_count"] == 600


def test_a_feature_that_is_left_out_equals_one_without_values(diff: Diff) -> None:
    """TFDV does not count it, or reports a pair that differs in no feature."""
    without = [{"id": [1]}, {"id": [1], "x": None}, {"id": [1], "x": ("int64_list", [])}]
    for base in without:
        for test in [*without, {"id": [1], "x": [5]}]:
            _, result = diff([example({**test, "y": [b"y"]})], [example({**base, "y": [b"y"]})], config("id"))
            found = summary_of(result)
            assert found["differing_pairs"] == (test not in without)
            counts = found["features"].get("x", {"match_count": 1, "diff_count": 0})
            assert counts["match_count"] + counts["diff_count"] == found["pairs"] == 1


def test_the_summary_can_be_read_without_tensorflow(diff: Diff) -> None:
    test = changed(changed(ROWS, [3, 8], city="Z"), [8], price=float("nan"))
    given = config("id", skew_sample_size=5, confusion_config=[{"feature_name": "city"}])
    produced, result = diff(test[:80], ROWS, given)
    found = summary_of(result)
    assert (found["pairs"], found["differing_pairs"]) == (80, 2)
    assert found["match_stats"]["ids_missing_in_test_count"] == 10
    assert found["features"]["city"] == {
        "base_count": 80,
        "test_count": 80,
        "match_count": 78,
        "base_only": 0,
        "test_only": 0,
        "mismatch_count": 2,
        "diff_count": 2,
    }
    assert found["sample_pairs"] == [
        {"identifiers": {"id": [3]}, "differences": {"city": {"base": ["A"], "test": ["Z"]}}},
        {
            "identifiers": {"id": [8]},
            "differences": {"city": {"base": ["C"], "test": ["Z"]}, "price": {"base": [2.0], "test": ["nan"]}},
        },
    ]
    assert ["A", "Z", 1] in found["confusion"]["city"]
    assert found["confusion"]["city"][0] == ["B", "B", 27]
    assert produced.properties == {
        "splits": ["eval_eval"],
        "pair_counts": {"eval_eval": 80},
        "differing_counts": {"eval_eval": 2},
    }
    assert produced.custom_properties == {"most_different": {"eval_eval": {"city": 2, "price": 1}}}
    artifact = ExamplesDiff(uri="/x", properties=produced.properties)
    assert artifact.summary() == "eval_eval: 2 of 80 differ"


def test_the_files_are_tfxs(diff: Diff) -> None:
    _, result = diff(ROWS, ROWS, config("id"))
    names = [path.name for path in sorted(Path(result.uri, "SplitPair-eval_eval").iterdir())]
    assert names == [f"{name}-00000-of-00001" for name in ("match_stats", "sample_pairs", "skew_stats")]
    assert summary_of(result)["differing_pairs"] == 0


def test_the_sample_is_the_same_in_every_run(diff: Diff) -> None:
    test = changed(ROWS, range(0, 90, 2), city="Z")
    given = config("id", skew_sample_size=7)
    digests = []
    for _ in range(2):
        _, result = diff(test, ROWS, given)
        digests.append([path.read_bytes() for path in sorted(Path(result.uri).rglob("*")) if path.is_file()])
    assert digests[0] == digests[1]
    assert len(summary_of(result)["sample_pairs"]) == 7


def test_more_features_than_fit_in_a_query(diff: Diff) -> None:
    rows = [{"id": number, **{f"x{place}": number + place for place in range(150)}} for number in range(20)]
    test = changed(changed(rows, [3], x0=-1), [3, 4], x149=-1)
    _, result = diff(test, rows, config("id", **ALL))
    found = summary_of(result)
    assert {name: skew["diff_count"] for name, skew in found["features"].items() if skew["diff_count"]} == {
        "x0": 1,
        "x149": 2,
    }
    assert [sorted(pair["differences"]) for pair in found["sample_pairs"]] == [["x0", "x149"], ["x149"]]


def test_pairs_of_splits(diff: Diff) -> None:
    splits = {"a": ROWS, "b": changed(ROWS, [1], city="Z")}
    produced, result = diff(splits, splits)
    assert produced.properties["differing_counts"] == {"a_a": 0, "b_b": 0}
    produced, result = diff(splits, splits, include_split_pairs=[["a", "b"], ["b", "a"]])
    assert produced.properties["differing_counts"] == {"a_b": 1, "b_a": 1}
    assert sorted(path.name for path in Path(result.uri).glob("*-*")) == ["SplitPair-a_b", "SplitPair-b_a"]
    with pytest.raises(
        InvalidInputError, match=r"include_split_pairs names the split 'c', which Examples .* has: a, b"
    ):
        diff(splits, splits, include_split_pairs=[["c", "a"]])


TWICE = [*ROWS, *changed(ROWS[:3], [1], city="Z")]


@pytest.mark.parametrize(
    ("test", "base", "given", "says"),
    [
        (
            ROWS,
            ROWS,
            config("Id"),
            r"identifier_features names 'Id', but split 'eval' of .* lacks it; did you mean id\?",
        ),
        ([{"city": "A"}], ROWS, config("id"), r"names 'id', but split 'eval' of .* lacks it; .*it has: city"),
        ([{"id": "A"}], ROWS, config("id"), "'id', which is INT in split .*, but BYTES in split"),
        (ROWS, ROWS, config("id", ignore_features=["citi"]), r"ignore_features names 'citi', .*; did you mean city\?"),
        (
            ROWS,
            ROWS,
            config("id", confusion_config=[{"feature_name": "x"}]),
            "names 'x', which no split has; there are",
        ),
        (ROWS, ROWS, config("id", confusion_config=[{"feature_name": "price"}]), "'price', which is FLOAT in split"),
        (
            [{"id": 1, "city": ["A", "B"]}],
            ROWS,
            config("id", confusion_config=[{"feature_name": "city"}]),
            r"names 'city', but 1 rows of split 'eval' of .* have several values of it, such as row 1;",
        ),
        (
            ROWS,
            TWICE,
            config("id"),
            r"3 identifiers occur more than once, 3 of them in split 'eval' of .*, such as id=\[0\] in rows 1 and 91; ",
        ),
        (TWICE, ROWS, config("id"), "3 identifiers occur more than once, 3 of them in split"),
        (
            [{"id": 1000}],
            ROWS,
            config("id"),
            r"no example has a .* has 90 identifiers, such as id=\[0\]; .* has 1 identifiers, such as id=\[1000",
        ),
    ],
)
def test_what_cannot_be_compared(
    diff: Diff, test: list[Row], base: list[Row], given: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        diff(test, base, given)


def test_a_split_without_examples(diff: Diff) -> None:
    with pytest.raises(InvalidInputError, match=r"split pair eval_eval: split 'eval' of .* has no examples; leave"):
        diff([], ROWS)


def test_a_feature_of_two_types_in_a_split(diff: Diff) -> None:
    rows = [{"id": number, "x": number if number < 45 else "text"} for number in range(90)]
    with pytest.raises(InvalidInputError, match=r"feature 'x' is INT, but BYTES in record 46"):
        diff(rows, ROWS)


def test_rows_that_are_left_out_are_counted(diff: Diff, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _, result = diff([*ROWS[:80], {"id": None, "city": "A"}], ROWS)
    assert "1 of 81 rows lack an identifier; they are not compared" in caplog.text
    assert "10 identifiers have no partner" in caplog.text
    assert summary_of(result)["match_stats"]["test_missing_id_count"] == 1


def test_an_ignored_feature_may_be_missing_from_a_split(diff: Diff) -> None:
    """A small split may have no value of it."""
    splits = {"big": ROWS, "small": [{"id": 1}]}
    given = config("id", ignore_features=["city"])
    assert diff(splits, splits, given)[0].properties["differing_counts"] == {"big_big": 0, "small_small": 0}


def test_rows_larger_than_the_memory_of_the_database(diff: Diff, tmp_path: Path) -> None:
    """The rows are 120 MB, and the database has 40 MB."""
    drawn = np.random.default_rng(0)
    rows = [{"id": number, "blob": drawn.bytes(6_000)} for number in range(10_000)]
    context = ExecutorContext(component_id="x", execution_id=1, tmp_dir=str(tmp_path), max_memory_mb=80)
    produced, _ = diff(changed(rows, [5], blob=b""), rows, context=context)
    assert produced.properties["differing_counts"] == {"eval_eval": 1}


def test_too_little_memory_names_the_setting(diff: Diff, tmp_path: Path) -> None:
    context = ExecutorContext(component_id="x", execution_id=1, tmp_dir=str(tmp_path), max_memory_mb=2)
    with pytest.raises(TransientError, match=r"Raise \[mlpipe\] max_memory_mb"):
        diff(ROWS, ROWS, context=context)


@pytest.mark.parametrize("digits", [0, 1, 2, 5, 10, 23, 40])
def test_rounding_is_pythons(digits: int) -> None:
    drawn = np.random.default_rng(digits)
    scale = 10.0 ** drawn.integers(-12, 12, 5000)
    ties = (drawn.integers(-5000, 5000, 2000) + 0.5) / 10.0 ** min(digits, 4)
    values = np.concatenate([drawn.normal(0, 1, 5000) * scale, ties, FLOATS, [2.0**23 + 0.5, 2.0**24, 0.1, 1e-45]])
    values = values.astype(np.float32)
    expected = np.array([round(value, digits) for value in values.astype(np.float64).tolist()]).astype(np.float32)
    assert rounded(values, digits).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int64_list", [0, 1, -1, 2, 2**32, 2**63 - 1, -(2**63)]),
        ("float_list", [0.0, -0.0, 1.0, -1.0, float("inf"), 1e-45, 2.0]),
        ("bytes_list", [b"", b"\x00", b"\x00\x00", b"a", b"aa", b"b", b"a" * 13]),
    ],
)
def test_fingerprints_tell_lists_apart(diff: Diff, kind: str, values: Sequence[Any]) -> None:
    """Each list of up to three values is compared with each other one."""
    lists = [list(some) for length in range(1, 4) for some in itertools.product(values, repeat=length)]
    rows = [example({"id": [1], "x": (kind, some)}) for some in lists]
    _, result = diff(rows, rows, config("id", allow_duplicate_identifiers=True))
    found = summary_of(result)
    assert found["pairs"] == len(lists) ** 2
    assert found["features"]["x"]["match_count"] == len(lists)
