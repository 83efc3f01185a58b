"""Kernels, and the two engines that run them over the chunks of a split: forks of this process, or Apache Beam.

Both engines give the result of each chunk in the order of the chunks, and chunks do not depend on the machine. So
neither the engine nor the number of processes shows in a result, not even in the last digit of a sum.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import multiprocessing
import operator
import os
import pickle
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import pandas  # noqa: F401  (pyarrow imports it when first used, and then each fork would)
import pyarrow as pa

from airflow_provider_mlpipe.exceptions import PermanentError, TransientError
from airflow_provider_mlpipe.execution import linux
from airflow_provider_mlpipe.execution.contract import ExecutorContext

A = TypeVar("A")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
T = TypeVar("T")

MIB = 1 << 20
PROCESS_MB = 1024
"""How much memory a fork is given, in MiB."""
_KEY_BYTES = 19  # the numbers of a source and of its result, as `_attempts` writes them


class Chunk(Protocol):
    """Some rows of a split, as many on every machine. It can be pickled, to be worked on elsewhere."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, a bounded number at a time."""
        ...


class Source(Protocol[C_co]):
    """Something to be read, such as a file. It can be pickled, to be read elsewhere."""

    def chunks(self) -> Iterator[C_co]:
        """Yield what is read in pieces of work, in order."""
        ...


class Kernel(Protocol[A, R_co]):
    """What a data component does with its rows. It can be pickled, as its accumulators can, and knows no files.

    An accumulator that was added to or merged may be changed by it, and is not used again.
    """

    def create(self) -> A:
        """Return the accumulator of no rows."""
        ...

    def add(self, accumulator: A, batch: pa.RecordBatch) -> A:
        """Return the accumulator with the rows of `batch` added."""
        ...

    def merge(self, accumulators: Iterable[A]) -> A:
        """Return the accumulator of the rows of all, which come in the order of their rows."""
        ...

    def extract(self, accumulator: A) -> R_co:
        """Return the result."""
        ...


def run_kernels(
    kernels: Mapping[str, Kernel[Any, R]], sources: Mapping[str, Sequence[Source[Chunk]]], context: ExecutorContext
) -> dict[str, R]:
    """Run a kernel per split over all its rows: an accumulator for each chunk, merged in their order.

    `kernels`, `sources` and the result are by split. Raises as `map_chunks` does.
    """

    def result(split: str, accumulators: Iterator[Any]) -> R:
        return kernels[split].extract(kernels[split].merge(accumulators))

    return map_splits(functools.partial(_accumulate, kernels), sources, result, context)


def _accumulate(kernels: Mapping[str, Kernel[A, Any]], split: str, chunk: Chunk) -> Iterator[A]:
    yield functools.reduce(kernels[split].add, chunk.batches(), kernels[split].create())


def map_splits(
    work: Callable[[str, C], Iterable[T]],
    sources: Mapping[str, Sequence[Source[C]]],
    gather: Callable[[str, Iterator[T]], R],
    context: ExecutorContext,
    *,
    in_this_process: bool = False,
) -> dict[str, R]:
    """Return by split what `gather(split, results)` makes of all that `work(split, chunk)` yields, in their order.

    A split without chunks has no results. Raises as `map_chunks` does.
    """
    works = [_OfSplit(split, source) for split in sources for source in sources[split]]
    results = flat_map_chunks(functools.partial(_work_on, work), works, context, in_this_process=in_this_process)
    gathered = {
        split: gather(split, (result for _, result in some))
        for split, some in itertools.groupby(results, key=operator.itemgetter(0))
    }
    return {split: gathered[split] if split in gathered else gather(split, iter(())) for split in sources}


@dataclass(frozen=True)
class _OfSplit:
    split: str
    source: Source[Any]

    def chunks(self) -> Iterator[tuple[str, Any]]:
        for chunk in self.source.chunks():
            yield self.split, chunk


def _work_on(work: Callable[[str, C], Iterable[T]], chunk: tuple[str, C]) -> Iterator[tuple[str, T]]:
    for result in work(*chunk):
        yield chunk[0], result


def map_chunks(work: Callable[[C], T], sources: Sequence[Source[C]], context: ExecutorContext) -> Iterator[T]:
    """Yield `work(chunk)` of every chunk of every source, in their order; else as `flat_map_chunks`."""
    return flat_map_chunks(functools.partial(_single, work), sources, context)


def _single(work: Callable[..., T], *arguments: Any) -> Iterator[T]:
    yield work(*arguments)


def flat_map_chunks(
    work: Callable[[C], Iterable[T]],
    sources: Sequence[Source[C]],
    context: ExecutorContext,
    *,
    in_this_process: bool = False,
) -> Iterator[T]:
    """Yield all that `work(chunk)` yields, of every chunk of every source, in their order.

    All that is given and got can be pickled. What a fork yields may take more memory than there is, but no single
    result: they wait in files.

    On Beam, which reads the sources too, when `context.beam_pipeline_args` name a runner; else this process reads and
    forks of it work. They alone do, so that TensorFlow, once it has run in `work`, hinders no later fork; but for work
    that nobody else can do, which is done `in_this_process`.

    Raises what `work` raises, on Beam only if it is a PermanentError, and TransientError when a fork dies.
    """
    chunks = itertools.chain.from_iterable(source.chunks() for source in sources)
    if in_this_process:
        yield from itertools.chain.from_iterable(map(work, chunks))
    elif names_runner(context.beam_pipeline_args):
        yield from _on_beam(work, sources, context)
    else:
        yield from _in_forks(work, chunks, context)


@contextlib.contextmanager
def fork_aside(context: ExecutorContext) -> Iterator[Callable[..., Any]]:
    """A fork of this process, made now, that works: before TensorFlow runs here, or lest it does.

    What it gives calls a function there with arguments, and returns or raises what that does; or TransientError when
    the fork dies.
    """
    with _forks(1, context) as submit:

        def call(work: Callable[..., T], *arguments: Any) -> T:
            (result,) = _kept(submit(_single, work, *arguments))
            return cast("T", result)

        call(os.getpid)
        yield call


def names_runner(beam_pipeline_args: Sequence[str]) -> bool:
    """Whether the work is to be done by Beam: other arguments alone ask for no runner."""
    return any(arg.partition("=")[0] == "--runner" for arg in beam_pipeline_args)


def process_count(context: ExecutorContext) -> int:
    """Return how many processes may work at once: one per core, and per PROCESS_MB of the memory."""
    return max(1, min(len(os.sched_getaffinity(0)), memory_mb(context) // PROCESS_MB))


def memory_mb(context: ExecutorContext) -> int:
    """Return how much memory, in MiB, this process and its forks may use: half of the machine's, if nothing is said."""
    return context.max_memory_mb or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 // MIB


def _in_forks(work: Callable[[C], Iterable[T]], chunks: Iterable[C], context: ExecutorContext) -> Iterator[T]:
    processes = process_count(context)
    with _forks(processes, context) as submit:
        waiting: deque[Future[str]] = deque()
        for chunk in chunks:
            waiting.append(submit(work, chunk))
            if len(waiting) > 2 * processes:  # no further ahead of the consumer: what waits takes room
                yield from _kept(waiting.popleft())
        while waiting:
            yield from _kept(waiting.popleft())


@contextlib.contextmanager
def _forks(count: int, context: ExecutorContext) -> Iterator[Callable[..., Future[str]]]:
    """Forks of this process, and how to have one of them work.

    They end with it, lest it seem alive: they hold the pipe by whose end others see that it is not.
    """
    end_too = (os.getpid(), signal.SIGKILL)
    with (
        tempfile.TemporaryDirectory(dir=context.tmp_dir) as folder,
        ProcessPoolExecutor(count, multiprocessing.get_context("fork"), linux.die_with, end_too) as pool,
    ):
        try:
            yield lambda work, *arguments: pool.submit(_keep, folder, work, *arguments)
        except BrokenProcessPool as error:
            raise TransientError(
                f"one of {count} worker processes crashed or was killed, perhaps for want of memory: lower "
                f"[mlpipe] max_memory_mb, of which each process is given {PROCESS_MB} MiB, or give the machine more"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _keep(folder: str, work: Callable[..., Iterable[Any]], *arguments: Any) -> str:
    """Write the results to a file, and return its path.

    A pipe would hold what a fork has begun to write, and who reads it would wait for the rest when that is killed.
    """
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        for result in work(*arguments):
            pickle.dump(result, file)
    return file.name


def _kept(path: Future[str]) -> Iterator[Any]:
    """Yield what was kept, once: the file is removed."""
    with open(path.result(), "rb") as file:
        os.unlink(file.name)
        while file.peek(1):
            yield pickle.load(file)


def _on_beam(work: Callable[[C], Iterable[T]], sources: Sequence[Source[C]], context: ExecutorContext) -> Iterator[T]:
    """Work where the runner does, and fetch the results from files below `--temp_location` or the temporary folder."""
    import apache_beam as beam

    from airflow_provider_mlpipe.records.beam import pipeline, sorted_lines, temporary_folder

    with temporary_folder(context) as folder:
        with pipeline(context.beam_pipeline_args) as run:
            numbered = run | beam.Create(list(enumerate(sources))) | beam.Reshuffle()
            _ = numbered | beam.FlatMap(_attempts, work) | beam.io.WriteToText(f"{folder}/results")
        for line in sorted_lines(f"{folder}/results*", _KEY_BYTES):
            result = pickle.loads(base64.b64decode(line.split()[-1]))
            if isinstance(result, PermanentError):
                raise result
            yield result


def _attempts(numbered: tuple[int, Source[C]], work: Callable[[C], Iterable[Any]]) -> Iterator[str]:
    """Yield a line for each result: its number and itself, or an error, of which a runner would keep the text."""
    number, source = numbered
    for place, result in enumerate(_results(work, source)):
        yield f"{number:09} {place:09} {base64.b64encode(pickle.dumps(result)).decode()}"


def _results(work: Callable[[C], Iterable[Any]], source: Source[C]) -> Iterator[Any]:
    try:
        yield from itertools.chain.from_iterable(map(work, source.chunks()))
    except PermanentError as error:
        yield error
