"""What an executor has finished and its task has not published yet.

It is in `<pipeline_root>/<component id>/.finished/<execution id>/` until it is published. If the store stays away, or
the task is killed, the task's next try takes it up, and the executor does not run again.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching import reads
from airflow_provider_mlpipe.caching.driver import Decision
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExecutorResult, FinishedWork
from airflow_provider_mlpipe.storage.digests import tree_summary
from airflow_provider_mlpipe.storage.layout import FINISHED, folder_of, output_uri, output_uris
from airflow_provider_mlpipe.storage.orphans import UNPUBLISHED

_FILE = "work.pb"

log = logging.getLogger(__name__)


def place_of(root: str, component_id: str, execution_id: int) -> Path:
    """The folder for an execution's finished work; it has an output's form, so it becomes an orphan as outputs do."""
    return Path(output_uri(root, component_id, FINISHED, execution_id))


def keep(place: Path, work: FinishedWork) -> None:
    """Writes the work down. Where that is not possible, it is only logged: the work itself can still be published."""
    try:
        place.mkdir(parents=True)
        (place / f"{_FILE}.partial").write_bytes(work.SerializeToString())
        (place / f"{_FILE}.partial").rename(place / _FILE)
    except OSError as error:
        log.warning("if this try cannot publish, the next one has to run the executor again: %s", error)


def forget(place: Path) -> None:
    """Removes what is written down, when it is published."""
    shutil.rmtree(place, ignore_errors=True)


def take_up(
    store: MetadataStore, place: Path, decision: Decision, pending: Mapping[str, Sequence[Artifact]]
) -> FinishedWork | None:
    """The newest work of a failed try of this task, now kept at `place`, with its files in the `pending` outputs.

    None if there is none, if something that user code read has changed since, or if a file of it has. The files are
    linked: whoever deletes those of the failed try meanwhile leaves these alone.
    """
    for earlier in _failed_before(store, place, decision.start):
        work = _read(earlier / _FILE)
        if work is not None and not _is_outdated(work.result, decision) and _link_outputs(earlier, work, pending):
            earlier.rename(place)
            os.utime(place)  # what is older than its execution would not count as its own
            log.info("the executor does not run again: execution %s had finished this work", earlier.name)
            return work
    return None


def _failed_before(store: MetadataStore, place: Path, start: ExecutionStart) -> list[Path]:
    """The places of this task's tries that failed, newest first."""
    ids = [int(path.parent.name) for path in place.parent.glob(f"*/{_FILE}")]
    failed = [
        execution.id
        for execution in (store.executions_by_id(ids) if ids else [])
        if execution.state in UNPUBLISHED
        and (execution.run_key, execution.component_id, execution.map_index, execution.fingerprint)
        == (start.run.key, start.component_id, start.map_index, start.fingerprint)
    ]
    return [place.with_name(str(execution_id)) for execution_id in sorted(failed, reverse=True)]


def _read(path: Path) -> FinishedWork | None:
    try:
        return FinishedWork.FromString(path.read_bytes())
    except (OSError, DecodeError):  # it was deleted, or the machine stopped while it was written
        return None


def _is_outdated(result: ExecutorResult, decision: Decision) -> bool:
    return any(reads.changes(reads.of_result(result, decision.source_folders), decision.source_folders))


def _link_outputs(earlier: Path, work: FinishedWork, pending: Mapping[str, Sequence[Artifact]]) -> bool:
    """Whether all files were there as the executor left them; if not, the folders of the outputs are empty again."""
    made = work.result.success.outputs
    outputs = [
        (folder_of(artifact), _folder_of(earlier, key, number, len(artifacts)), made[key].artifacts[number].files)
        for key, artifacts in pending.items()
        for number, artifact in enumerate(artifacts)
    ]
    try:
        for folder, before, _ in outputs:
            shutil.copytree(before, folder, copy_function=_link, dirs_exist_ok=True)
            os.utime(folder)  # the copy has the other folder's time
        now = [tree_summary(folder) for folder, _, _ in outputs]
        if all(found.digest == files.digest for found, (_, _, files) in zip(now, outputs, strict=True)):
            for found, (_, _, files) in zip(now, outputs, strict=True):
                files.stamp = found.stamp  # a new link changes it
            return True
        log.warning("the files of execution %s have changed since it finished", earlier.name)
    except OSError as error:
        log.warning("execution %s had finished its work, but its files cannot be used: %s", earlier.name, error)
    for folder, _, _ in outputs:
        shutil.rmtree(folder)
        folder.mkdir()
    return False


def _folder_of(place: Path, key: str, number: int, count: int) -> Path:
    """The folder of one artifact of the execution with this place for its finished work."""
    component = place.parents[1]
    return Path(output_uris(str(component.parent), component.name, key, int(place.name), count)[number])


def _link(source: str, target: str) -> None:
    """Links a file, where that is possible; else copies it."""
    try:
        if not os.path.islink(source):
            os.link(source, target)
            return
    except OSError:
        pass
    shutil.copy2(source, target)
