"""Where a process's time goes, step by step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from tables import table

T = TypeVar("T")


class Clock:
    """CPU seconds of this process by step; of a step within another only the inner one's."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._steps, self._since = ["before"], 0.0

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self._switch()
        self._steps.append(step)
        yield
        self._switch()
        self._steps.pop()

    def _switch(self) -> None:
        now = time.process_time()
        if len(self._steps) > 1:
            self.seconds[self._steps[-1]] += now - self._since
        self._since = now

    def time(self, owner: object, name: str, step: str) -> None:
        function = getattr(owner, name)

        def timed(*args: object, **kwargs: object) -> object:
            with self(step):
                return function(*args, **kwargs)

        setattr(owner, name, timed)

    def each(self, step: str, items: Iterator[T]) -> Iterator[T]:
        while True:
            with self(step):
                item = next(items, None)
            if item is None:
                return
            yield item

    def table(self) -> str:
        """The steps, in the order in which they first ended."""
        rows = [[step, f"{seconds:.1f}"] for step, seconds in self.seconds.items()]
        return table(["step", "CPU seconds"], [*rows, ["all", f"{sum(self.seconds.values()):.1f}"]])
