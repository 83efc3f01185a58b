"""Spans: the numbers or dates in the names of input files, by which new data is told from old.

A pattern such as `span-{SPAN}/v{VERSION}/*.csv` or `{YYYY}-{MM}-{DD}/*.parquet` says where they are. The tokens are
TFX's: `{SPAN}` is a whole number, `{VERSION}` another one that tells later corrections of a span from earlier ones, and
the three parts of a date stand for the span whose number is the date's days since 1970-01-01. `{SPAN:4}` is a number of
four digits with zeros before it. Names that have no number there are not part of the data.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError
from airflow_provider_mlpipe.metadata.store import Span
from airflow_provider_mlpipe.storage.sources import folder_with_inputs, no_match

_EPOCH = date(1970, 1, 1)
_TOKEN = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(?::([1-9][0-9]?))?\}")
_MEANT = re.compile(r"\{\s*(SPAN|VERSION|YYYY|MM|DD)\b[^{}]*\}", re.IGNORECASE)
_DATE = {"YYYY": 4, "MM": 2, "DD": 2}
_SHOWN = 10
_MOST = 100_000
"""How many spans a range may have: each is an execution."""


def has_span(pattern: str) -> bool:
    """Whether the pattern has a span."""
    return bool(_TOKEN.search(pattern))


def has_date(pattern: str) -> bool:
    """Whether the pattern has a date."""
    return any(match[1] in _DATE for match in _TOKEN.finditer(pattern))


def date_span(day: date) -> int:
    """The number of a date's span: its days since 1970-01-01."""
    return (day - _EPOCH).days


def as_number(span: int | date | None) -> int | None:
    """The number of a span that may be given as a date."""
    return date_span(span) if isinstance(span, date) else span


def span_date(number: int) -> date:
    """The date of a span."""
    return _EPOCH + timedelta(days=number)


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with the tokens of a pattern, with the remedy; None if nothing is."""
    tokens = [(match[1], match[2]) for match in _TOKEN.finditer(pattern)]
    names = [name for name, _ in tokens]
    if wrong := next((found[0] for found in _MEANT.finditer(pattern) if not _TOKEN.fullmatch(found[0])), None):
        return f"has {wrong}; write {{SPAN}}, {{SPAN:4}} for four digits, {{VERSION}}, or {{YYYY}}, {{MM}} and {{DD}}"
    if twice := next((name for name in names if names.count(name) > 1), None):
        return f"has {{{twice}}} twice; leave one out, or put * in its place"
    dates = [name for name in _DATE if name in names]
    if dates and "SPAN" in names:
        return "has both {SPAN} and a date; a span is one of them"
    if dates and len(dates) < len(_DATE):
        return f"has {', '.join(f'{{{name}}}' for name in dates)}; a date is {{YYYY}}, {{MM}} and {{DD}}"
    if wide := next((name for name, width in tokens if width and name in _DATE), None):
        return f"has {{{wide}:…}}; the parts of a date have a fixed width: write {{{wide}}}"
    if names == ["VERSION"]:
        return "has {VERSION}, which needs {SPAN} or a date: a version belongs to a span"
    if re.search(r"\{(SPAN|VERSION)\}\{|\}\{(SPAN|VERSION)\}", pattern):
        return "has two numbers side by side; put something between them, or give both a width, such as {SPAN:4}"
    if re.search(r"[*?\]0-9]\{(?:SPAN|VERSION|YYYY|MM|DD)|(?:SPAN|VERSION|YYYY|MM|DD)(?::\d+)?\}[*?\[0-9]", pattern):
        return "has a digit or a wildcard beside a number, which could be a part of it; put another character between"
    if "**" in pattern.split("/") and any(_TOKEN.search(part) for part in _between_stars(pattern.split("/"))):
        return "has a span between two **; write * for each of these folders"
    return None


def find_spans(input_base: str, patterns: Mapping[str, str]) -> dict[str, dict[int, Span]]:
    """The spans that there are, by input split and number, each with its newest version.

    `patterns` are globs with tokens, by split. Raises InvalidInputError for a folder that is missing, a pattern that
    matches nothing, a number with another width than its pattern says, and a date that does not exist.
    """
    base = folder_with_inputs(input_base)
    return {split: _spans_of(base, input_base, pattern) for split, pattern in patterns.items()}


def spans_from(input_base: str, pattern: str, start: int | None) -> list[Span]:
    """The spans of one pattern in their order, from the number `start` on; raises what `find_spans` raises."""
    (found,) = find_spans(input_base, {"": pattern}).values()
    return [found[number] for number in sorted(found) if start is None or number >= start]


def in_all_splits(found: Mapping[str, Mapping[int, Span]], numbers: Sequence[int], asked_by: str) -> list[Span]:
    """The spans with these numbers; raises InvalidInputError unless every split has each, in the same version."""
    for split, spans in found.items():
        if missing := [number for number in numbers if number not in spans]:
            raise InvalidInputError(
                f"{asked_by}: input split {split!r} has no file of {listed(missing)}; it has {listed(sorted(spans))}. "
                "Add the missing files, or ask for other spans"
            )
    first, *others = found
    for number in numbers:
        for other in others:
            if found[other][number] != found[first][number]:
                raise InvalidInputError(
                    f"{asked_by}: input split {first!r} has {found[first][number]}, but {other!r} has "
                    f"{found[other][number]}; add the missing files"
                )
    return [found[first][number] for number in numbers]


def of_span(pattern: str, span: Span) -> str:
    """The glob for the files of one span."""
    day = span_date(span.number) if has_date(pattern) else _EPOCH
    numbers = {"SPAN": span.number, "VERSION": span.version or 0, "YYYY": day.year, "MM": day.month, "DD": day.day}
    return _TOKEN.sub(lambda token: f"{numbers[token[1]]:0{token[2] or _DATE.get(token[1], 1)}d}", pattern)


def _between_stars(parts: Sequence[str]) -> Sequence[str]:
    stars = [place for place, part in enumerate(parts) if part == "**"]
    return parts[stars[0] : stars[-1]]


def _spans_of(base: Path, input_base: str, pattern: str) -> dict[int, Span]:
    matches = glob.glob(_TOKEN.sub("*", pattern), root_dir=base, recursive=True)
    spans: dict[int, Span] = {}
    for match in sorted(matches):
        if (base / match).is_file() and (numbers := _numbers(pattern, match)) is not None:
            span = _span(numbers, pattern, str(base / match))
            spans[span.number] = max(span, spans.get(span.number, span), key=lambda each: each.version or 0)
    if not spans:
        raise no_match(base, input_base, pattern)
    return spans


def _numbers(pattern: str, match: str) -> dict[str, str] | None:
    """The digits in the place of each token; None if something else is there."""
    wanted, parts = pattern.split("/"), match.split("/")
    if "**" in wanted:  # it stands for any number of folders, so what is after it is counted from the end
        after = len(wanted) - 1 - wanted.index("**")
        wanted, parts = (
            [*wanted[: wanted.index("**")], *wanted[len(wanted) - after :]],
            [*parts[: wanted.index("**")], *parts[len(parts) - after :]],
        )
    found: dict[str, str] = {}
    for part, name in zip(wanted, parts, strict=True):
        if not _TOKEN.search(part):
            continue
        if (matched := _regex(part).fullmatch(name)) is None:
            return None
        found |= matched.groupdict()
    return found


@functools.cache
def _regex(part: str) -> re.Pattern[str]:
    """The regular expression of a folder's or file's pattern, with a group for each token.

    Of numbers side by side, the width says where one ends. Elsewhere any width matches: a wrong one is an error later.
    """
    tokens = list(_TOKEN.finditer(part))
    letters = {chr(0xE000 + place): token for place, token in enumerate(tokens)}  # letters that no name has
    for letter, token in letters.items():
        part = part.replace(token[0], letter)
    regex = fnmatch.translate(part)
    for letter, token in letters.items():
        before, _, after = part.partition(letter)
        is_beside_another = before[-1:] in letters or after[:1] in letters
        digits = f"[0-9]{{{token[2] or _DATE[token[1]]}}}" if is_beside_another else "[0-9]+"
        regex = regex.replace(letter, f"(?P<{token[1]}>{digits})")
    return re.compile(regex)


def _span(numbers: Mapping[str, str], pattern: str, path: str) -> Span:
    for token in _TOKEN.finditer(pattern):
        digits, width = numbers[token[1]], int(token[2] or _DATE.get(token[1], 0))
        if width and len(digits) != width:
            raise InvalidInputError(
                f"{path}: {digits} has {len(digits)} digits, but {token[0]} in {pattern!r} stands for {width}; rename "
                "the file, or correct the pattern"
            )
        if not width and digits != str(int(digits)):
            raise InvalidInputError(
                f"{path}: {digits} begins with a zero; write {{{token[1]}:{len(digits)}}} in {pattern!r} for numbers "
                f"of {len(digits)} digits"
            )
    version = int(numbers["VERSION"]) if "VERSION" in numbers else None
    if "SPAN" in numbers:
        return Span(number=int(numbers["SPAN"]), version=version)
    try:
        day = date(*(int(numbers[name]) for name in _DATE))
    except ValueError as error:
        raise InvalidInputError(f"{path}: there is no such date: {error}; rename the file") from error
    return Span(number=date_span(day), version=version)


def listed(numbers: Sequence[int]) -> str:
    """Spans as text, such as `spans 1-3, 7`."""
    runs = list(_runs(numbers))
    shown = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs[:_SHOWN])
    more = f" and {len(runs) - _SHOWN} more ranges" if len(runs) > _SHOWN else ""
    return f"span{'s' * (len(numbers) != 1)} {shown}{more}"


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and last number of each run without gaps."""
    first = last = numbers[0]
    for number in [*numbers[1:], None]:
        if number is not None and number == last + 1:
            last = number
            continue
        yield first, last
        first = last = number if number is not None else last


def check_range(config: Mapping[str, Mapping[str, int]], *, may_skip: bool = False) -> None:
    """Raises InvalidValueError for a range that has no span, and for one that skips the newest unless it `may_skip`."""
    if (static := config.get("static_range")) is not None:
        start, end = static.get("start_span_number", 0), static.get("end_span_number", 0)
        if end < start:
            raise InvalidValueError(f"range_config.static_range ends at {end}, before its start {start}")
        if end - start >= _MOST:
            raise InvalidValueError(
                f"range_config.static_range has {end - start + 1:,} spans; ask for {_MOST:,} at most"
            )
    elif (rolling := config.get("rolling_range")) is not None:
        if not 1 <= rolling.get("num_spans", 0) <= _MOST:
            raise InvalidValueError(f"range_config.rolling_range needs num_spans, from 1 to {_MOST:,}")
        skipped = rolling.get("skip_num_recent_spans", 0)
        if skipped and not may_skip:
            raise InvalidValueError(
                "range_config.rolling_range.skip_num_recent_spans is for a ResolverOperator; leave it out here"
            )
        if skipped < 0:
            raise InvalidValueError(f"range_config.rolling_range.skip_num_recent_spans is {skipped}; give 0 or more")
    else:
        raise InvalidValueError("range_config needs a static_range or a rolling_range")


def most_spans(config: Mapping[str, Mapping[str, int]]) -> int:
    """How many spans a checked range has at most."""
    if (static := config.get("static_range")) is not None:
        return static.get("end_span_number", 0) - static.get("start_span_number", 0) + 1
    return config["rolling_range"]["num_spans"]


def in_range(
    config: Mapping[str, Mapping[str, int]] | None,
    found: Mapping[str, Mapping[int, Span]],
    *,
    last: int | None = None,
) -> list[int]:
    """The numbers of the spans that a range stands for; without a range, of the span `last` (default: the newest).

    A rolling range ends with `last`, and has fewer spans where the data begins later. No number is left out:
    `in_all_splits` refuses one that is missing.
    """
    numbers = [number for spans in found.values() for number in spans]
    return numbers_of(config, last=max(numbers) if last is None else last, oldest=min(numbers))


def numbers_of(config: Mapping[str, Mapping[str, int]] | None, *, last: int, oldest: int | None = None) -> list[int]:
    """The numbers of the spans that a range stands for, if its last one is `last` and none is before `oldest`."""
    if config is None:
        return [last]
    if (static := config.get("static_range")) is not None:
        return list(range(static.get("start_span_number", 0), static.get("end_span_number", 0) + 1))
    rolling = config["rolling_range"]
    start, first = rolling.get("start_span_number", 0), last - rolling["num_spans"] + 1
    if last < start:
        raise InvalidInputError(f"span {last} is before range_config.rolling_range.start_span_number, {start}")
    return list(range(min(last, max(first, start, first if oldest is None else oldest)), last + 1))
