"""Kernels, and the two engines that run them over the chunks of a split: forks of this process, or Apache Beam.

Both engines return the results in the order of the chunks, and chunks do not depend on the machine. So a result does
not depend on the engine or the number of processes, not even in the last digit of a sum.
"""

from __future__ import annotations

import base64
import contextlib
import copyreg
import functools
import hmac
import itertools
import multiprocessing
import operator
import os
import pickle
import secrets
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import pandas  # noqa: F401  (else pyarrow imports it at its first use, in each fork)
import pyarrow as pa

from airflow_provider_mlpipe.exceptions import PermanentError, TransientError
from airflow_provider_mlpipe.execution import linux
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.short_columns import FEW_ROWS

A = TypeVar("A")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
T = TypeVar("T")

MIB = 1 << 20
PROCESS_MB = 1024
"""How much memory each fork gets, in MiB."""
_DIGEST_BYTES = 32
_KEY_BYTES = 19  # the numbers of a source and of its result, as `_attempts` writes them


def _reduced(batch: pa.RecordBatch) -> tuple[Any, ...]:
    """Pickle short columns as one stream; Arrow would pickle each, and of a slice all that it is cut from."""
    if batch.num_rows >= FEW_ROWS:
        return cast("tuple[Any, ...]", batch.__reduce__())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return _restored, (sink.getvalue().to_pybytes(),)


def _restored(stream: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(stream).read_next_batch()


copyreg.pickle(pa.RecordBatch, _reduced)


class Chunk(Protocol):
    """Some rows of a split, the same on every machine. It is picklable, so that another process can work on it."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, a bounded number at a time."""
        ...


class Source(Protocol[C_co]):
    """Something to read, such as a file. It is picklable, so that another process can read it."""

    def chunks(self) -> Iterator[C_co]:
        """Yield the content as chunks, in order."""
        ...


def batches_of(source: Source[Chunk]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a source in order."""
    for chunk in source.chunks():
        yield from chunk.batches()


class Kernel(Protocol[A, R_co]):
    """What a data component does with its rows. It knows no files. It is picklable, and so are its accumulators.

    `add` and `merge` may change the accumulators that they take, so these are not used again.
    """

    def create(self) -> A:
        """Return an empty accumulator."""
        ...

    def add(self, accumulator: A, batch: pa.RecordBatch) -> A:
        """Return the accumulator with the rows of `batch` added."""
        ...

    def merge(self, accumulators: Iterable[A]) -> A:
        """Merge accumulators, which come in the order of their rows."""
        ...

    def extract(self, accumulator: A) -> R_co:
        """Return the result."""
        ...


def run_kernels(
    kernels: Mapping[str, Kernel[Any, R]], sources: Mapping[str, Sequence[Source[Chunk]]], context: ExecutorContext
) -> dict[str, R]:
    """Run one kernel per split over all its rows: one accumulator per chunk, merged in the order of the chunks.

    `kernels`, `sources` and the result are by split. Raises the same errors as `map_chunks`.
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
    """Return `gather(split, results)` by split. The results are all that `work(split, chunk)` yields, in order.

    A split without chunks has no results. Raises the same errors as `map_chunks`.
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
    """Yield `work(chunk)` for every chunk of every source, in order; otherwise like `flat_map_chunks`."""
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
    """Yield all that `work(chunk)` yields, for every chunk of every source, in order.

    Arguments and results must be picklable. The results of a fork wait in files, so all of them together may be larger
    than the memory, but a single one must fit.

    If `context.beam_pipeline_args` name a runner, Beam reads the sources and does the work. Otherwise this process
    reads, and only its forks work: `work` may run TensorFlow, after which a process must not fork. The exception is
    work that only this process can do, with `in_this_process`.

    Raises the errors of `work`, and TransientError when a fork dies. On Beam, only a PermanentError keeps its type.
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
    """Fork this process now, before TensorFlow runs in it, or to run TensorFlow in the fork instead.

    Yields a function that calls a given function with arguments in the fork. It returns the result or raises the error
    of that call; it raises TransientError when the fork dies.
    """
    with _forks(1, context) as submit:

        def call(work: Callable[..., T], *arguments: Any) -> T:
            (result,) = _kept(submit(_single, work, *arguments))
            return cast("T", result)

        call(os.getpid)
        yield call


def names_runner(beam_pipeline_args: Sequence[str]) -> bool:
    """Whether Beam is to do the work: only an argument `--runner` asks for it."""
    return any(arg.partition("=")[0] == "--runner" for arg in beam_pipeline_args)


def process_count(context: ExecutorContext) -> int:
    """Return how many processes may work at once: at most one per core, and one per PROCESS_MB of the memory."""
    return max(1, min(len(os.sched_getaffinity(0)), memory_mb(context) // PROCESS_MB))


def memory_mb(context: ExecutorContext) -> int:
    """Return how much memory, in MiB, this process and its forks may use; by default half of the machine's memory."""
    return context.max_memory_mb or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 // MIB


def _in_forks(work: Callable[[C], Iterable[T]], chunks: Iterable[C], context: ExecutorContext) -> Iterator[T]:
    processes = process_count(context)
    with _forks(processes, context) as submit:
        waiting: deque[Future[str]] = deque()
        for chunk in chunks:
            waiting.append(submit(work, chunk))
            if len(waiting) > 2 * processes:  # no further ahead of the consumer: waiting results take disk space
                yield from _kept(waiting.popleft())
        while waiting:
            yield from _kept(waiting.popleft())


@contextlib.contextmanager
def _forks(count: int, context: ExecutorContext) -> Iterator[Callable[..., Future[str]]]:
    """Fork this process, and yield a function that submits work to the forks.

    The forks end with this process. Otherwise it would seem alive: others see by the end of a pipe that it is dead, and
    the forks keep that pipe open.
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
                f"one of {count} worker processes crashed or was killed, perhaps because memory ran out: lower "
                f"[mlpipe] max_memory_mb, of which each process gets {PROCESS_MB} MiB, or give the machine more memory"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _keep(folder: str, work: Callable[..., Iterable[Any]], *arguments: Any) -> str:
    """Write the results to a file, and return its path.

    With a pipe, the reader would keep waiting for the rest if a fork was killed while it wrote.
    """
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        for result in work(*arguments):
            pickle.dump(result, file)
    return file.name


def _kept(path: Future[str]) -> Iterator[Any]:
    """Yield the results from the file, and remove it."""
    with open(path.result(), "rb") as file:
        os.unlink(file.name)
        while file.peek(1):
            yield pickle.load(file)  # noqa: S301 - a worker of ours wrote it, in a folder of this user alone


def _on_beam(work: Callable[[C], Iterable[T]], sources: Sequence[Source[C]], context: ExecutorContext) -> Iterator[T]:
    """Do the work on the runner, and read the results from files below `--temp_location` or the temporary folder.

    Others may write there, and unpickling may run any code. So each result is signed, with a secret that goes to the
    workers with the work.
    """
    import apache_beam as beam

    from airflow_provider_mlpipe.records.beam import pipeline, sorted_lines, temporary_folder

    secret = secrets.token_bytes(_DIGEST_BYTES)
    with temporary_folder(context) as folder:
        with pipeline(context.beam_pipeline_args) as run:
            numbered = run | beam.Create(list(enumerate(sources))) | beam.Reshuffle()
            _ = numbered | beam.FlatMap(_attempts, work, secret) | beam.io.WriteToText(f"{folder}/results")
        for line in sorted_lines(f"{folder}/results*", _KEY_BYTES):
            result = pickle.loads(_signed_by(secret, line, folder))  # noqa: S301 - it is signed
            if isinstance(result, PermanentError):
                raise result
            yield result


def _attempts(numbered: tuple[int, Source[C]], work: Callable[[C], Iterable[Any]], secret: bytes) -> Iterator[str]:
    """Yield a line for each result, with its numbers. An error is a result, too: a runner would keep only its text."""
    number, source = numbered
    for place, result in enumerate(_results(work, source)):
        numbers, pickled = f"{number:09} {place:09}", pickle.dumps(result)
        yield f"{numbers} {base64.b64encode(_signature(secret, numbers.encode(), pickled) + pickled).decode()}"


def _signature(secret: bytes, numbers: bytes, pickled: bytes) -> bytes:
    return hmac.digest(secret, numbers + pickled, "sha256")


def _signed_by(secret: bytes, line: bytes, folder: str) -> bytes:
    """Return the pickled result in a line; raises TransientError unless a worker of this run wrote it."""
    numbers = line[:_KEY_BYTES]
    try:
        signed = base64.b64decode(line[_KEY_BYTES + 1 :], validate=True)
    except ValueError:
        signed = b""
    signature, pickled = signed[:_DIGEST_BYTES], signed[_DIGEST_BYTES:]
    if not hmac.compare_digest(signature, _signature(secret, numbers, pickled)):
        raise TransientError(
            f"{folder} has a result that no worker of this run wrote: let nobody else write to --temp_location"
        )
    return pickled


def _results(work: Callable[[C], Iterable[Any]], source: Source[C]) -> Iterator[Any]:
    try:
        yield from itertools.chain.from_iterable(map(work, source.chunks()))
    except PermanentError as error:
        yield error
