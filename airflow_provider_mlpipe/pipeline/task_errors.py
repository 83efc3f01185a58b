"""How a task fails: without secrets in its error's text, and at once if the error is a permanent one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_mlpipe.exceptions import PermanentError
from airflow_provider_mlpipe.pipeline.masking import masked


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """The type of an error decides whether Airflow retries: a permanent one fails the task at once.

    Airflow masks the task's log, but not its copy on the standard output of a scheduler or worker.
    """
    try:
        yield
    except Exception as error:
        _mask(error)
        if isinstance(error, PermanentError):
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        raise


def _mask(error: BaseException) -> None:
    """Takes out what Airflow's masker knows, from this error and what it came from."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        found.args = tuple(masked(each) if isinstance(each, str) else each for each in found.args)
        found = found.__cause__ or found.__context__
