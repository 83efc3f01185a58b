"""Errors in a DAG file name its line, such as `first.py, line 31: Trainer: give either module_file or run_fn`.

Airflow shows the last two calls of a traceback. Of these errors they are the line in the DAG file and the one here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from airflow.sdk.bases.operator import BaseOperatorMeta
from airflow.sdk.exceptions import AirflowException, DuplicateTaskIdFound

from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.declared import described
from airflow_provider_mlpipe.pipeline.plain_values import shown
from airflow_provider_mlpipe.spelling import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")

_LIBRARIES = {__name__.partition(".")[0], "airflow", *sys.stdlib_module_names}


def names_its_line(function: Callable[P, R]) -> Callable[P, R]:
    """What a DAG file calls: a PipelineError that it raises begins with the file and line of the call."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _check_call(function, args, kwargs)
            return function(*args, **kwargs)
        except PipelineError as error:
            error.place = error.place or _place(sys._getframe(1))
            raise error.with_traceback(None) from None

    return called


class AuthoredMeta(BaseOperatorMeta):
    """Makes the classes of operators whose errors name the component and its line, those of Airflow, too."""

    @names_its_line
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> Any:
        """`class MyOperator(ComponentOperator)`."""
        return super().__new__(cls, name, bases, namespace, **kwargs)  # type: ignore[no-untyped-call]

    @names_its_line
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """`MyOperator(...)`."""
        if args:
            raise PipelineError(f"{cls.__name__}: give arguments by name, not only {shown(args[0])}")
        with _airflows_errors_named(cls, kwargs):
            operator = super().__call__(**kwargs)
        operator.given_arguments = kwargs
        operator.as_constructed = dict(vars(operator))
        return operator


def construct_again(operator: Any, **more: Any) -> None:
    """Constructs the operator anew, with the arguments that it was given and `more`; it remains the same object.

    What was set on it since then stays.
    """
    before, known = operator.as_constructed, _arguments(type(operator))
    set_since = {name: value for name, value in vars(operator).items() if before.get(name, before) is not value}
    arguments = operator.given_arguments | {name: set_since.pop(name) for name in known & set_since.keys()} | more
    with _airflows_errors_named(type(operator), arguments):
        operator.__init__(**arguments)
    for name, value in set_since.items():
        setattr(operator, name, value)


def unknown_arguments(given: Iterable[str], known: Collection[str], own: Iterable[str]) -> str | None:
    """Which arguments are not `known`, and what may be meant, else the `own` ones; None if all are known."""
    return "; ".join(_no_such(name, known, own) for name in given if name not in known) or None


@contextlib.contextmanager
def _airflows_errors_named(operator: Any, arguments: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except PipelineError as error:
        if "_airflow_from_mapped" in arguments:  # it is made in its task, which has no line in the DAG file
            raise InvalidInputError(str(error)) from None
        raise
    except (TypeError, ValueError, AirflowException) as error:
        if not _is_airflows(error):
            raise
        component_id = arguments.get("task_id") or operator.__name__.removesuffix("Operator")
        raise PipelineError(f"{component_id}: {_said(operator, arguments, error)}") from None


def _check_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise PipelineError(f"{function.__qualname__.removesuffix('.__init__')}: {error}") from None


def _place(frame: FrameType | None) -> str:
    """File and line of the innermost call outside of this package, Airflow and Python's own modules."""
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _LIBRARIES:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}" if frame else ""


def _is_airflows(error: Exception) -> bool:
    """Whether Airflow raised it, and no code of the user's or of this package."""
    raised = error.__traceback__
    while raised is not None and raised.tb_next is not None:
        raised = raised.tb_next
    return raised is not None and str(raised.tb_frame.f_globals.get("__name__")).startswith("airflow.")


def _said(operator: Any, given: Mapping[str, Any], error: Exception) -> object:
    """What Airflow's error says, with the remedy where it is known."""
    if isinstance(error, DuplicateTaskIdFound):
        return "the DAG has another task of this id; give one of them another task_id"
    return _unknown(operator, given) or _missing(operator, error) or error


def _unknown(operator: Any, given: Mapping[str, Any]) -> str | None:
    """Which arguments no `__init__` of the operator has; None if there are none."""
    return unknown_arguments(
        given, _arguments(operator), (*sorted(operator.SPEC.inputs), *sorted(operator.SPEC.parameters))
    )


def _arguments(operator: Any) -> set[str]:
    """The names of the arguments that the operator or a base class of it takes."""
    inits = [cls.__dict__["__init__"] for cls in operator.__mro__ if "__init__" in cls.__dict__]
    return {name for init in inits for name in inspect.signature(init).parameters}


def _no_such(name: str, known: Iterable[str], own: Iterable[str]) -> str:
    meant = did_you_mean(name, known) or f"there are {', '.join(own)}"
    return f"there is no argument {name!r}; {meant}"


def _missing(operator: Any, error: Exception) -> str | None:
    """Which inputs and parameters are missing, and what to give; None if it is not that."""
    if not str(error).startswith("missing keyword argument"):
        return None
    inputs, types = operator.SPEC.inputs, operator.ARGUMENT_TYPES
    needed = [
        f"{name} is missing; pass a channel of {declared.artifact_type}, such as {name}=producer.outputs[...]"
        for name, declared in sorted(inputs.items())
        if repr(name) in str(error)
    ] + [
        f"{name} is missing; it takes {described(types[name].declared)}"
        for name in sorted(types)
        if repr(name) in str(error)
    ]
    return "; ".join(needed) or None
