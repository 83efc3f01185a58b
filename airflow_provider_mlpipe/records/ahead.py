"""Work on the next block while the last one is being used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(blocks: Iterator[T]) -> Iterator[T]:
    """Yield the same blocks in the same order, each made in a thread while the consumer works on the one before.

    Pays where making a block releases the interpreter lock, as Arrow does. Errors of `blocks` are raised here.
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, blocks, end)
        while (block := upcoming.result()) is not end:
            upcoming = thread.submit(next, blocks, end)
            yield block  # type: ignore[misc]
