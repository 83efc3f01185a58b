"""The executor process: reads the invocation, calls the executor, writes the result, and ends.

`python -m airflow_provider_mlpipe.execution.runner REQUEST ANSWER SOCKET` starts a keeper (`keeper.py`) with an
executor process that imports everything itself. The arguments are the paths of the two messages and the descriptor of
the socket to the launcher. `warm_parent.py` forks an executor process in which the libraries are imported already.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import (
    PERMANENT_ERRORS,
    ExecutorFailedError,
    InvalidInputError,
    InvalidValueError,
    PermanentError,
    TransientError,
)
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.execution.keeper import keep
from airflow_provider_mlpipe.execution.user_code import (
    check_arguments,
    import_from_source,
    imported_user_files,
    load_executor,
)
from airflow_provider_mlpipe.execution.user_errors import headline
from airflow_provider_mlpipe.execution.watch import Watch
from airflow_provider_mlpipe.forms import from_messages
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import from_map, to_map
from airflow_provider_mlpipe.storage import marker
from airflow_provider_mlpipe.storage.digests import tree_summary
from airflow_provider_mlpipe.storage.layout import folder_of, root_of

_WITHOUT_OUTPUT = Produced()
_MAX_MESSAGE = 1 << 16
_NOISE = re.compile(r"Feature %s has .*Setting to |Sharding callback duration", re.DOTALL)
"""Messages of tfx-bsl's, up to four lines for each feature whenever it reads a schema; TensorFlow's of a checkpoint."""


def main(request: str, answer: str, connection: str) -> NoReturn:
    """Becomes the keeper of a process that runs one invocation."""
    keep(socket.socket(fileno=int(connection)), os.getppid(), functools.partial(_prepare_and_run, request, answer))


def prepare() -> None:
    """Sets up the interpreter; must run before any heavy import."""
    import_from_source()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stdout)
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not _NOISE.match(str(record.msg)))


def run(request: str, answer: str) -> NoReturn:
    """Runs one invocation. Success or failure is in the result file, not in the exit code."""
    invocation = pb.ExecutorInvocation.FromString(Path(request).read_bytes())
    os.chdir(Path(answer).with_name("work"))  # what user code writes by a relative path is not left to other runs
    watch = _watch(invocation, Path(answer).parent)
    result = _run(invocation)
    result.user_files.extend(imported_user_files(generated=Path(tempfile.gettempdir())))
    seen = watch.seen(result.user_files)
    result.reads_problem = seen.problem
    result.reads.extend(
        pb.ExecutorResult.Read(path=read.path, content=read.content, stamp=read.stamp) for read in seen.reads
    )
    barrier("runner.before_result")
    try:
        _write_whole(Path(answer), result.SerializeToString())
    except OSError as error:
        sys.exit(f"the result cannot be written to {answer}, below the worker's TMPDIR: {error}")
    barrier("runner.after_result")
    # Without this, libraries with their own threads have crashed at interpreter exit, after all outputs were complete.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _prepare_and_run(request: str, answer: str) -> NoReturn:
    prepare()
    run(request, answer)


def _watch(invocation: pb.ExecutorInvocation, folder: Path) -> Watch:
    folders = [str(folder_of(one)) for one in _listed([*invocation.inputs.values(), *invocation.outputs.values()])]
    if invocation.checkpoint_dir:
        folders.append(invocation.checkpoint_dir)
    watch = Watch(folder / "reads", apart=[str(folder), *folders, *invocation.covered])
    watch.start()
    return watch


def _run(invocation: pb.ExecutorInvocation) -> pb.ExecutorResult:
    try:
        return pb.ExecutorResult(success=_execute(invocation))
    except PermanentError as error:
        return _failure(_nearest(error), str(error))
    except BaseException as error:  # noqa: BLE001 - any error of user code, also SystemExit, is the result
        whole = f"{headline(error)}\n{''.join(traceback.format_exception(error))}"
        return _failure(ExecutorFailedError.__name__, _with_space(invocation, whole))


def _with_space(invocation: pb.ExecutorInvocation, error: str) -> str:
    """Adds the free space below the first line of an error about a full disk, since Python does not name the disk."""
    if os.strerror(errno.ENOSPC) not in error and os.strerror(errno.EDQUOT) not in error:
        return error
    outputs = sorted(folder_of(artifact) for artifact in _listed(invocation.outputs.values()))
    places = [place for place in (*outputs, Path(invocation.tmp_dir)) if place.exists()]
    free = ", ".join(f"{shutil.disk_usage(place).free:,} bytes at {place}" for place in places)
    first, _, rest = error.partition("\n")
    remedy = "`airflow mlpipe orphans --delete` deletes the files of failed tries"
    return f"{first}\nFree space: {free}. {remedy}.\n{rest}"


def _execute(invocation: pb.ExecutorInvocation) -> pb.ExecutorResult.Outputs:
    run = load_executor(invocation.executor)
    outputs = {key: _given(message) for key, message in invocation.outputs.items()}
    inputs = {key: _given(message) for key, message in invocation.inputs.items()}
    arguments = {**inputs, **from_map(invocation.parameters), **outputs, "context": _context(invocation)}
    check_arguments(run, list(arguments))
    barrier(f"{invocation.component_id}.executor.before")
    produced = _checked(invocation.executor, run(**arguments) or {}, outputs)
    barrier(f"{invocation.component_id}.executor.after")
    return pb.ExecutorResult.Outputs(
        outputs={
            key: pb.ExecutorResult.OfKey(
                artifacts=[_output(one, made) for one, made in zip(_list(given), produced[key], strict=True)]
            )
            for key, given in outputs.items()
        }
    )


def _checked(
    executor: str, produced: Any, outputs: Mapping[str, Artifact | list[Artifact]]
) -> Mapping[str, list[Produced]]:
    """What the executor returned for each artifact; raises InvalidValueError if `contract.py` does not allow it."""
    if not isinstance(produced, Mapping):
        raise InvalidValueError(f"{executor} must return a dict of Produced by output key, but returned {produced!r}")
    if unknown := sorted(produced.keys() - outputs.keys()):
        raise InvalidValueError(
            f"{executor} returned unknown outputs: {', '.join(unknown)}; its outputs are: {', '.join(sorted(outputs))}"
        )
    whole: dict[str, list[Produced]] = {}
    for key, given in outputs.items():
        without = [_WITHOUT_OUTPUT] * len(given) if isinstance(given, list) else _WITHOUT_OUTPUT
        made = produced.get(key, without)
        whole[key] = _list(made)
        fits = isinstance(made, list) == isinstance(given, list) and len(whole[key]) == len(_list(given))
        if not fits or not all(isinstance(one, Produced) for one in whole[key]):
            wanted = f"a list of {len(given)} Produced" if isinstance(given, list) else "a Produced"
            raise InvalidValueError(f"{executor} must return {wanted} for its output {key!r}, but returned {made!r}")
        for artifact in _list(given):
            if not folder_of(artifact).is_dir():
                _refuse_if_unmounted(root_of(artifact))
                raise InvalidValueError(f"{executor} has removed {artifact.uri}, the folder of its output {key!r}")
    return whole


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _refuse_if_unmounted(root: Path) -> None:
    if marker.read(root) is None:
        raise TransientError(
            f"pipeline_root {root} is out of reach: its marker, {marker.NAME}, is missing. Its disk may not be mounted"
        )


def _context(invocation: pb.ExecutorInvocation) -> ExecutorContext:
    return ExecutorContext(
        component_id=invocation.component_id,
        execution_id=invocation.execution_id,
        tmp_dir=invocation.tmp_dir,
        checkpoint_dir=invocation.checkpoint_dir or None,
        beam_pipeline_args=tuple(invocation.beam_pipeline_args),
        max_memory_mb=invocation.max_memory_mb or None,
    )


def _given(message: pb.ExecutorInvocation.Artifacts) -> Any:
    """What an executor gets: a list of artifacts, or one artifact, or None."""
    artifacts = from_messages(message)
    return artifacts if message.several else next(iter(artifacts), None)


def _listed(messages: Iterable[pb.ExecutorInvocation.Artifacts]) -> list[Artifact]:
    return [artifact for message in messages for artifact in from_messages(message)]


def _output(artifact: Artifact, produced: Produced) -> pb.ExecutorResult.Output:
    type(artifact)(uri=artifact.uri, properties=produced.properties)  # checks the declared properties
    files = tree_summary(folder_of(artifact))
    return pb.ExecutorResult.Output(
        properties=to_map(produced.properties, artifact.TYPE_NAME),
        custom_properties=to_map(produced.custom_properties, artifact.TYPE_NAME),
        digest=produced.digest or files.digest,
        files=pb.FileSummary(**asdict(files)),
    )


def _nearest(error: PermanentError) -> str:
    """The name of the error's nearest base class that is in PERMANENT_ERRORS."""
    known = (cls.__name__ for cls in type(error).__mro__ if cls in PERMANENT_ERRORS.values())
    return next(known, InvalidInputError.__name__)


def _failure(type_name: str, message: str) -> pb.ExecutorResult:
    text = message.encode(errors="backslashreplace").decode()
    if len(text) > _MAX_MESSAGE:
        half = _MAX_MESSAGE // 2
        text = f"{text[:half]}\n… {len(text) - _MAX_MESSAGE:,} characters left out …\n{text[-half:]}"
    return pb.ExecutorResult(error=pb.ExecutorResult.Error(type=type_name, message=text))


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it appears complete or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
