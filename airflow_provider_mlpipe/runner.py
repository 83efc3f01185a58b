"""The executor's process: reads the invocation, calls the executor, writes the result, and leaves.

Started by `launcher.py` with the paths of both messages and the file descriptor of the lifeline.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES, Artifact, ArtifactState
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.digests import tree_digest
from airflow_provider_mlpipe.exceptions import PermanentError
from airflow_provider_mlpipe.executors import ExecutorContext, Produced
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import from_map, to_map
from airflow_provider_mlpipe.user_code import imported_user_files

_WITHOUT_OUTPUT = Produced()


def main(request: str, answer: str, lifeline: str) -> None:
    """Runs one invocation; the exit code says nothing, the result file does."""
    threading.Thread(target=_die_with_task, args=[int(lifeline)], daemon=True).start()
    # One pinned Keras: importing tensorflow_transform first would otherwise turn tf.keras into the legacy one.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stdout)
    result = _run(pb.ExecutorInvocation.FromString(Path(request).read_bytes()))
    result.user_files.extend(imported_user_files(generated=Path(tempfile.gettempdir())))
    barrier("runner.before_result")
    _write_whole(Path(answer), result.SerializeToString())
    barrier("runner.after_result")
    # Libraries with threads of their own have been seen to crash at interpreter exit, with all outputs complete.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_task(lifeline: int) -> None:
    """Blocks until the task's process is gone, then kills this process and all that it started."""
    os.read(lifeline, 1)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _run(invocation: pb.ExecutorInvocation) -> pb.ExecutorResult:
    try:
        return pb.ExecutorResult(success=_execute(invocation))
    except PermanentError as error:
        return _failure(type(error).__name__, f"{error}")
    except BaseException as error:  # noqa: BLE001 - whatever user code raises, SystemExit too, is the result
        return _failure(type(error).__name__, f"{error!r}\n{_user_traceback(error)}")


def _execute(invocation: pb.ExecutorInvocation) -> pb.ExecutorResult.Outputs:
    barrier(f"{invocation.component_id}.executor.before")
    module, _, function = invocation.executor.partition(":")
    run = getattr(importlib.import_module(module), function)
    outputs = {key: _artifact(message) for key, message in invocation.outputs.items()}
    produced: Mapping[str, Produced] = run(**_arguments(invocation), **outputs) or {}
    barrier(f"{invocation.component_id}.executor.after")
    return pb.ExecutorResult.Outputs(
        outputs={key: _output(artifact, produced.get(key, _WITHOUT_OUTPUT)) for key, artifact in outputs.items()}
    )


def _arguments(invocation: pb.ExecutorInvocation) -> dict[str, Any]:
    context = ExecutorContext(
        component_id=invocation.component_id,
        execution_id=invocation.execution_id,
        tmp_dir=invocation.tmp_dir,
        beam_pipeline_args=tuple(invocation.beam_pipeline_args),
    )
    inputs: dict[str, Artifact | None] = {key: _artifact(message) for key, message in invocation.inputs.items()}
    inputs |= dict.fromkeys(invocation.absent_inputs)
    return {**inputs, **from_map(invocation.parameters), "context": context}


def _artifact(message: pb.Artifact) -> Artifact:
    return ARTIFACT_TYPES.get(message.type, Artifact)(
        uri=message.uri,
        id=message.id or None,
        digest=message.digest or None,
        state=ArtifactState.LIVE if message.id else ArtifactState.PENDING,
        properties=from_map(message.properties),
        custom_properties=from_map(message.custom_properties),
    )


def _output(artifact: Artifact, produced: Produced) -> pb.ExecutorResult.Output:
    type(artifact)(uri=artifact.uri, properties=produced.properties)  # checks the declared properties
    return pb.ExecutorResult.Output(
        properties=to_map(produced.properties, artifact.TYPE_NAME),
        custom_properties=to_map(produced.custom_properties, artifact.TYPE_NAME),
        digest=produced.digest or tree_digest(Path(artifact.uri)),
    )


def _failure(type_name: str, message: str) -> pb.ExecutorResult:
    return pb.ExecutorResult(error=pb.ExecutorResult.Error(type=type_name, message=message))


def _user_traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _write_whole(path: Path, content: bytes) -> None:
    """The file is there with all of its bytes, or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
