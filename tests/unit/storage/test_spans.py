"""Which spans there are, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError
from airflow_provider_mlpipe.storage.sources import input_files
from airflow_provider_mlpipe.storage.spans import (
    Span,
    check_range,
    find_spans,
    in_all_splits,
    in_range,
    most_spans,
    of_span,
    pattern_problem,
    spans_from,
)


def folder(tmp_path: Path, *names: str) -> str:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return str(tmp_path)


def found(tmp_path: Path, pattern: str, *names: str) -> dict[int, int | None]:
    spans = find_spans(folder(tmp_path, *names), {"s": pattern})["s"]
    return {number: span.version for number, span in sorted(spans.items())}


@pytest.mark.parametrize(
    ("pattern", "names", "spans"),
    [
        ("span-{SPAN}/*", ["span-7/a", "span-10/a", "span-10/b", "span-x/a"], {7: None, 10: None}),
        ("span-{SPAN:3}/*", ["span-007/a", "span-010/a"], {7: None, 10: None}),
        ("{SPAN}.csv", ["0.csv", "1.csv", "1.txt"], {0: None, 1: None}),
        ("s{SPAN}/v{VERSION}/*", ["s1/v1/a", "s1/v2/a", "s1/v10/a", "s2/v1/a"], {1: 10, 2: 1}),
        ("s{SPAN:2}{VERSION:2}", ["s0102", "s0110", "s0201"], {1: 10, 2: 1}),
        ("{YYYY}{MM}{DD}/*", ["19700101/a", "19700201/a", "20130105/a"], {0: None, 31: None, 15710: None}),
        ("{DD}.{MM}.{YYYY}-{VERSION}", ["05.01.2013-0", "05.01.2013-3"], {15710: 3}),
        ("*/span-{SPAN}/*.csv", ["a/span-1/x.csv", "b/span-1/y.csv", "b/span-2/x.csv"], {1: None, 2: None}),
        ("**/span-{SPAN}/*", ["span-1/x", "a/span-2/x", "a/b/span-3/x"], {1: None, 2: None, 3: None}),
        ("span-{SPAN}/**/*", ["span-1/x", "span-2/a/x", "span-3/a/b/x"], {1: None, 2: None, 3: None}),
        ("[ab]-{SPAN}/*", ["a-1/x", "b-2/x", "c-3/x"], {1: None, 2: None}),
    ],
)  # fmt: skip
def test_spans_and_their_newest_versions(
    pattern: str, names: Sequence[str], spans: dict[int, int | None], tmp_path: Path
) -> None:
    assert found(tmp_path, pattern, *names) == spans
    read = [
        str(file.relative_to(tmp_path))
        for number, version in spans.items()
        for file in input_files(str(tmp_path), of_span(pattern, Span(number=number, version=version)))
    ]
    assert len(set(read)) == len(read) >= len(spans)
    assert set(read) <= set(names)


@pytest.mark.parametrize(
    ("pattern", "names", "error"),
    [
        ("span-{SPAN}/*", ["span-7/a", "span-08/a"], "08 begins with a zero; write {SPAN:2} in 'span-{SPAN}/*'"),
        ("span-{SPAN:2}/*", ["span-07/a", "span-100/a"], "100 has 3 digits, but {SPAN:2} in 'span-{SPAN:2}/*' stands"),
        ("s{SPAN}v{VERSION}", ["s1v01"], "01 begins with a zero; write {VERSION:2}"),
        ("{YYYY}-{MM}-{DD}", ["2013-02-30"], "there is no such date: day is out of range"),
        ("{YYYY}-{MM}-{DD}", ["2013-2-03"], "2 has 1 digits, but {MM}"),
        ("span-{SPAN}/*", ["other"], "which contains: other; correct input_base, or the pattern"),
    ],
)  # fmt: skip
def test_names_that_do_not_fit(pattern: str, names: Sequence[str], error: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as raised:
        found(tmp_path, pattern, *names)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{span}/*", "has {span}; write {SPAN}"),
        ("{SPAN:0}/*", "has {SPAN:0}; write"),
        ("{SPAN:x}/*", "has {SPAN:x}; write"),
        ("{SPAN}/{SPAN}", "has {SPAN} twice"),
        ("{SPAN}/{YYYY}{MM}{DD}", "both {SPAN} and a date"),
        ("{YYYY}{MM}/*", "has {YYYY}, {MM}; a date is {YYYY}, {MM} and {DD}"),
        ("{YYYY:4}{MM}{DD}", "write {YYYY}"),
        ("v{VERSION}/*", "needs {SPAN} or a date"),
        ("{SPAN}{VERSION}", "two numbers side by side"),
        ("*{SPAN}", "a digit or a wildcard beside a number"),
        ("{SPAN}*", "a digit or a wildcard beside a number"),
        ("v2{SPAN}", "a digit or a wildcard beside a number"),
        ("**/{SPAN}/**", "between two **"),
    ],
)  # fmt: skip
def test_patterns_whose_spans_cannot_be_told(pattern: str, problem: str) -> None:
    assert problem in str(pattern_problem(pattern))


@pytest.mark.parametrize(
    "pattern", ["*", "a{b}c/*", "s{SPAN}/v{VERSION}/*", "{YYYY}/{MM}/{DD}.csv", "{SPAN:2}{VERSION:3}"]
)
def test_patterns_that_are_fine(pattern: str) -> None:
    assert pattern_problem(pattern) is None


def test_the_spans_from_a_first_one_on(tmp_path: Path) -> None:
    base = folder(tmp_path, "19691231/a", "19700101/a", "19700102/a")
    for start, numbers in ((None, [-1, 0, 1]), (-1, [-1, 0, 1]), (0, [0, 1]), (2, [])):
        assert [span.number for span in spans_from(base, "{YYYY}{MM}{DD}/*", start)] == numbers


def test_a_span_must_be_in_all_splits_in_the_same_version(tmp_path: Path) -> None:
    base = folder(tmp_path, "t1v1", "t2v1", "t3v1", "e1v1", "e2v2", "e5v1")
    spans = find_spans(base, {"train": "t{SPAN}v{VERSION}", "eval": "e{SPAN}v{VERSION}"})
    assert in_range(None, spans) == [5]
    assert in_all_splits(spans, [1], "x") == [Span(number=1, version=1)]
    with pytest.raises(InvalidInputError, match="'train' has no file of span 5; it has spans 1-3"):
        in_all_splits(spans, [5], "x")
    with pytest.raises(InvalidInputError, match="'train' has span 2, version 1, but 'eval' has span 2, version 2"):
        in_all_splits(spans, [1, 2], "x")


def test_a_range_has_no_gaps(tmp_path: Path) -> None:
    spans = find_spans(folder(tmp_path, "2", "3", "5", "6"), {"s": "{SPAN}"})
    window = {"rolling_range": {"num_spans": 9}}
    assert in_range({"rolling_range": {"num_spans": 2}}, spans) == [5, 6]
    assert in_range({"rolling_range": {"num_spans": 9, "start_span_number": 6}}, spans) == [6]
    assert in_range(window, spans) == [2, 3, 4, 5, 6]
    assert in_range({"static_range": {"start_span_number": 1, "end_span_number": 3}}, spans) == [1, 2, 3]
    assert in_range({"static_range": {}}, spans) == [0]
    with pytest.raises(
        InvalidInputError, match="ExampleGen: input split 's' has no file of span 4; it has spans 2-3, 5-6"
    ):
        in_all_splits(spans, in_range(window, spans), "ExampleGen")


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({}, "needs a static_range or a rolling_range"),
        ({"static_range": {"start_span_number": 3, "end_span_number": 2}}, "ends at 2, before its start 3"),
        ({"static_range": {"end_span_number": 2_000_000_000}}, "has 2,000,000,001 spans; ask for 100,000 at most"),
        ({"rolling_range": {"start_span_number": 3}}, "needs num_spans, from 1 to 100,000"),
        ({"rolling_range": {"num_spans": 100_001}}, "needs num_spans, from 1 to 100,000"),
        ({"rolling_range": {"num_spans": 3, "skip_num_recent_spans": 1}}, "is for a ResolverOperator; leave it out"),
    ],
)
def test_ranges_without_a_span(config: dict[str, dict[str, int]], error: str) -> None:
    with pytest.raises(InvalidValueError, match=error):
        check_range(config)


def test_how_many_spans_a_range_has_at_most() -> None:
    assert most_spans({"rolling_range": {"num_spans": 9, "start_span_number": 6}}) == 9
    assert most_spans({"static_range": {"start_span_number": 3, "end_span_number": 5}}) == 3
    assert most_spans({"static_range": {}}) == 1


def test_many_spans_are_listed_in_short(tmp_path: Path) -> None:
    spans = find_spans(folder(tmp_path, *(str(2 * number) for number in range(30))), {"s": "{SPAN}"})
    with pytest.raises(InvalidInputError, match=r"span 1; it has spans 0, 2, .*, 18 and 20 more ranges"):
        in_all_splits(spans, [1], "x")
