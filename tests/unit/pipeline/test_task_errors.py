"""What a task's error says, and whether Airflow retries it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow.sdk._shared.secrets_masker import _secrets_masker
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.execution.log_lines import LogLines, obituary
from airflow_provider_mlpipe.pipeline.task_errors import as_airflow_errors


@pytest.fixture(autouse=True)
def _masker() -> Iterator[None]:
    masker = _secrets_masker()
    before = set(masker.patterns), masker.replacer
    masker.add_mask("hunter2-hunter2")
    yield
    masker.patterns, masker.replacer = before


def test_a_permanent_error_is_not_retried_and_others_are() -> None:
    with pytest.raises(AirflowFailException, match="InvalidInputError: no"), as_airflow_errors():
        raise InvalidInputError("no")
    with pytest.raises(TransientError, match="later"), as_airflow_errors():
        raise TransientError("later")


@pytest.mark.parametrize("kind", [InvalidInputError, TransientError, ValueError])
def test_no_error_and_no_cause_of_it_quotes_a_secret(kind: type[Exception]) -> None:
    with pytest.raises(Exception, match=r"it is \*\*\*$") as caught, as_airflow_errors():
        _fail(kind)
    error = caught.value.__cause__ if kind is InvalidInputError else caught.value
    assert isinstance(error, kind)
    texts = [str(caught.value), str(error), str(error.__cause__)]
    assert not [text for text in texts if "hunter2" in text]
    assert texts[2] == "('***', 7)"


def _fail(kind: type[Exception]) -> None:
    try:
        raise KeyError("hunter2-hunter2", 7)
    except KeyError as cause:
        raise kind("it is hunter2-hunter2") from cause


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("hunter2-hunter2"), KeyError("hunter2-hunter2")
    first.__cause__, second.__cause__ = second, first
    with pytest.raises(ValueError, match=r"^\*\*\*$"), as_airflow_errors():
        raise first


def test_neither_a_line_nor_the_last_words_of_an_executor_tell_a_secret() -> None:
    told: list[str] = []
    lines = LogLines(told.append)
    lines.write(b"it is hunter2-")
    lines.write(b"hunter2\nfine\n")
    assert told == ["it is ***", "fine"]
    assert obituary("Make", 1, lines.tail).endswith("it is ***\nfine")
