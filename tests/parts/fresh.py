"""Executors in a process that has imported the heavy libraries and not yet run TensorFlow, as a task has one.

They fork, which a process does not survive in which TensorFlow has run, as it has in that of the tests.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from taken import call_with_one

from airflow_provider_mlpipe.execution.contract import Produced

_FRESH = multiprocessing.get_context("forkserver")
_FRESH.set_forkserver_preload(
    [f"airflow_provider_mlpipe.components.{name}.executor" for name in ("transform", "evaluator")]
)


def in_fresh_process(work: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call `work` in a fork of a fresh process; raises what it raises."""
    with ProcessPoolExecutor(1, mp_context=_FRESH) as pool:
        return pool.submit(work, *arguments, **keywords).result()


@dataclass(frozen=True)
class Ran:
    """What an executor returned, and the lines that its component logged."""

    produced: dict[str, Produced]
    log: list[str]


def run_executor(executor: str, **given: Any) -> Ran:
    """Run an executor, `package.module:function`, in a fork of a fresh process; raises what it raises."""
    ran: Ran = in_fresh_process(_run, executor, given)
    return ran


def _run(executor: str, given: dict[str, Any]) -> Ran:
    name, _, function = executor.partition(":")
    module = importlib.import_module(name)
    lines = Lines()
    log = logging.getLogger(name.rpartition(".")[0])
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    return Ran(call_with_one(getattr(module, function), **given), lines.texts)


class Lines(logging.Handler):
    """The lines that were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
