"""Blocks made ahead: the same ones, in order, never more than one more than was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_mlpipe.records.ahead import ahead


def test_order_and_end() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter([]))) == []
    assert list(ahead(iter([None, None]))) == [None, None]


def test_one_block_ahead_and_no_more() -> None:
    made = []

    def blocks() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    for number in ahead(blocks()):
        assert len(made) <= number + 2


def test_an_error_is_raised_in_its_place() -> None:
    def blocks() -> Iterator[int]:
        yield 1
        raise ValueError("second")

    reader = ahead(blocks())
    assert next(reader) == 1
    with pytest.raises(ValueError, match="second"):
        next(reader)
