"""Apache Beam pipelines: in this process unless `beam_pipeline_args` name a runner."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext

_IN_MEMORY = (None, "DirectRunner", "SwitchingDirectRunner", "FnApiRunner")


def pipeline(args: Sequence[str] = ()) -> beam.Pipeline:
    """Create a Beam pipeline from `context.beam_pipeline_args`, for use in a `with` statement.

    With no `--runner` among `args`, or with `--runner=DirectRunner`, it runs in memory in this process. The runner is
    created here, and not looked up by the name DirectRunner: under that name, Beam may choose Prism, a binary that it
    would first download. Raises InvalidInputError for a runner that Beam does not know or does not accept.
    """
    options = PipelineOptions(list(args))
    runner = options.view_as(StandardOptions).runner
    if runner in _IN_MEMORY:
        return beam.Pipeline(runner=FnApiRunner(), options=options)
    try:
        return beam.Pipeline(options=options)
    except (ImportError, AttributeError, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise InvalidInputError(f"beam_pipeline_args: the runner {runner!r} cannot be used: {said}") from error


@contextlib.contextmanager
def temporary_folder(context: ExecutorContext) -> Iterator[str]:
    """Create a folder that both the runner's workers and this process see, and remove it afterwards.

    It is below `--temp_location`, which every runner on other machines needs, otherwise below `context.tmp_dir`.
    """
    options = PipelineOptions(list(context.beam_pipeline_args)).view_as(GoogleCloudOptions)
    folder = FileSystems.join(options.temp_location or context.tmp_dir, f"mlpipe-{uuid.uuid4().hex}")
    FileSystems.mkdirs(folder)
    try:
        yield folder
    finally:
        FileSystems.delete([folder])


def sorted_lines(pattern: str, width: int) -> Iterator[bytes]:
    """Yield the lines of all matching files, sorted by their first `width` bytes; only these are kept in memory."""
    for _, path, place in sorted(_placed(pattern, width)):
        with FileSystems.open(path) as lines:
            lines.seek(place)
            yield lines.readline().rstrip(b"\n")


def _placed(pattern: str, width: int) -> Iterator[tuple[bytes, str, int]]:
    for file in FileSystems.match([pattern])[0].metadata_list:
        with FileSystems.open(file.path) as lines:
            place = 0
            while line := lines.readline():
                yield line[:width], file.path, place
                place += len(line)
