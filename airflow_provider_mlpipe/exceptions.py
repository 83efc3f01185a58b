"""Every error of this package, in one tree. The type says whether a retry makes sense.

::

    MlpipeError
    ├── PermanentError            a retry would fail, too: Airflow does not retry
    │   ├── PipelineError           the DAG is wired wrongly (raised while the DAG file is parsed)
    │   ├── InvalidInputError       data, a file or a parameter is wrong; names the place
    │   │   └── ForeignRootError      a pipeline_root belongs to another metadata store
    │   ├── UserCodeError           a module is missing or wrong, or its graph fails on the data; names the line
    │   ├── AnomaliesFoundError     a gate fails: the data has anomalies at or above `fail_on`
    │   ├── InvalidValueError       the store cannot hold this value
    │   └── SchemaVersionError      the store's schema has another version than this code expects
    └── TransientError            a retry may succeed: Airflow retries as often as the task's settings say
        ├── StoreUnavailableError   Postgres cannot be reached, or the connection broke
        ├── LostClaimError          another try has taken over the execution, or it was ended
        ├── InProgressError         an equal execution is running
        ├── ExecutorFailedError     user code or a library raised while the executor ran
        └── ExecutorDiedError       the executor's process ended without a result
"""

from __future__ import annotations


class MlpipeError(Exception):
    """Base of all errors of this package."""


class PermanentError(MlpipeError):
    """A retry cannot help."""


class PipelineError(PermanentError):
    """A DAG is wired wrongly; the message names both ends, and begins with the DAG file's line where that is known."""

    place: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {super().__str__()}" if self.place else super().__str__()


class InvalidInputError(PermanentError):
    """Data, a file or a parameter is wrong; the message names the place and the remedy."""


class ForeignRootError(InvalidInputError):
    """A pipeline_root, or a folder below it, belongs to another metadata store."""


class UserCodeError(PermanentError):
    """A user module is missing, cannot be imported or lacks a function, or TensorFlow cannot run what it describes."""


class AnomaliesFoundError(PermanentError):
    """Anomalies at or above the `fail_on` severity were found (and published)."""


class InvalidValueError(PermanentError):
    """A value cannot be stored exactly; the message names its key."""


class SchemaVersionError(PermanentError):
    """The metadata schema is missing, or older or newer than this code expects."""


class TransientError(MlpipeError):
    """A retry may help."""


class StoreUnavailableError(TransientError):
    """Postgres cannot be reached, or the connection broke inside a transaction."""


class LostClaimError(TransientError):
    """This try no longer owns its execution, so it may not publish."""


class InProgressError(TransientError):
    """An equal execution, `execution_id`, is running: wait until it ends, then look for its result."""

    def __init__(self, message: str, execution_id: int) -> None:
        super().__init__(message)
        self.execution_id = execution_id


class ExecutorFailedError(TransientError):
    """User code or a library raised while the executor ran; the message ends with its traceback."""


class ExecutorDiedError(TransientError):
    """The executor's process ended without a result (killed, out of memory, crashed)."""


PERMANENT_ERRORS: dict[str, type[PermanentError]] = {
    error.__name__: error
    for error in (PipelineError, InvalidInputError, UserCodeError, AnomaliesFoundError, InvalidValueError)
}
"""Errors that keep their type on the way from the executor process to the task, by name."""
