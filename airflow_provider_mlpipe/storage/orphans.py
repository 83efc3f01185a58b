"""Orphans: files below a pipeline_root that failed and killed tries wrote and did not publish."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow_provider_mlpipe.exceptions import ForeignRootError, InvalidInputError
from airflow_provider_mlpipe.metadata.store import STALE_AFTER, Execution, ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage import marker as markers
from airflow_provider_mlpipe.storage import ownership
from airflow_provider_mlpipe.storage.layout import CHECKPOINTS, FINISHED
from airflow_provider_mlpipe.storage.marker import Marker
from airflow_provider_mlpipe.storage.output_folders import OutputFolder, output_folders

_CLOCKS_DIFFER = timedelta(seconds=60)  # at most, between the worker's clock (dates of folders) and the database's
_BATCH = 1000
# An execution never leaves these states, and only a RUNNING execution can publish. So the folders of these executions
# cannot become artifacts any more, even if a worker still writes there. They can be deleted without a lock.
UNPUBLISHED = (ExecutionState.FAILED, ExecutionState.ABANDONED)


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """The folder of an output whose execution ended without publishing it."""

    execution_id: int
    state: ExecutionState
    component_id: str
    size: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Found:
    """The orphans, the executions that were found dead, and the folders that were left alone, with the reason."""

    orphans: list[Orphan] = field(default_factory=list)
    abandoned: list[int] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)


def find(store: MetadataStore, roots: Iterable[str], *, dry_run: bool = False) -> Found:
    """Looks below each pipeline_root for outputs whose execution is FAILED or ABANDONED.

    First it ends executions whose worker sends no heartbeat, so that their files count as orphans. With `dry_run` they
    count without that; then do not delete them, since they may publish. It leaves alone the files of artifacts, folders
    that this store does not know, and what may be another store's. Raises InvalidInputError for a root that is missing,
    cannot be read or has no marker, and ForeignRootError for one of another store.
    """
    places = [_marked(store, root) for root in _distinct(roots)]
    found = Found(abandoned=store.abandon_stale(STALE_AFTER, dry_run=dry_run))
    for marker, folders in places:
        for begin in range(0, len(folders), _BATCH):
            _sort_out(store, marker, folders[begin : begin + _BATCH], found)
    return found


def delete(orphans: Iterable[Orphan]) -> tuple[int, list[str]]:
    """Removes the folders; returns the number of bytes freed, and a message for each folder that it could not remove.

    The folders above them stay: from them the driver sees that the root is mounted.
    """
    freed, problems = 0, []
    for orphan in orphans:
        try:
            _remove(orphan.path)
            freed += orphan.size
        except OSError as error:
            problems.append(f"{orphan.path} cannot be removed: {error}. Run this as the user of the Airflow workers")
    return freed, problems


def _marked(store: MetadataStore, root: Path) -> tuple[Marker, list[OutputFolder]]:
    """The root's marker and the folders below it, which were made after it."""
    folders = list(output_folders(root))
    marker = ownership.own_marker(store, root)
    if marker is None and folders:
        raise InvalidInputError(
            f"the pipeline_root {root} has no marker, {markers.NAME}, that names its metadata store. The next output "
            "that a component makes below it writes the marker; until then nothing here counts as an orphan"
        )
    return marker or Marker(store=store.id, from_execution=0), folders


def _sort_out(store: MetadataStore, marker: Marker, folders: Sequence[OutputFolder], found: Found) -> None:
    known = store.executions_by_id({folder.execution_id for folder in folders})
    executions = {
        one.id: replace(one, state=ExecutionState.ABANDONED) if one.id in found.abandoned else one for one in known
    }
    mine = list(_of_this_store(marker, folders, executions, found.left_alone))
    ended = [(folder, execution) for folder, execution in mine if _is_of_no_use(folder, execution)]
    used = store.used_folders({uri for folder, _ in ended for uri in folder.uris})
    found.orphans.extend(_orphan(folder, execution) for folder, execution in ended if not folder.uris & used)


def _is_of_no_use(folder: OutputFolder, execution: Execution) -> bool:
    if folder.path.parent.name in (FINISHED, CHECKPOINTS):  # its task was killed after it had published the work
        return execution.state is not ExecutionState.RUNNING
    return execution.state in UNPUBLISHED


def _of_this_store(
    marker: Marker, folders: Iterable[OutputFolder], executions: Mapping[int, Execution], left_alone: list[str]
) -> Iterator[tuple[OutputFolder, Execution]]:
    for folder in folders:
        if execution := executions.get(folder.execution_id):
            if why := _not_its_own(marker, folder, execution):
                left_alone.append(f"{folder.path}: {why}")
            else:
                yield folder, execution


def _not_its_own(marker: Marker, folder: OutputFolder, execution: Execution) -> str | None:
    """Why the folder may not belong to the execution with its number, or None.

    Two stores may have shared the root before it had a marker, and copies of one store have the same marker.
    """
    if execution.component_id != folder.component_id:
        return f"execution {execution.id} belongs to the component {execution.component_id!r}"
    if execution.state not in UNPUBLISHED:
        return None
    if execution.id < marker.from_execution:
        return f"it may be older than {markers.NAME}, the marker of its pipeline_root"
    if (execution.error or "").startswith(f"{ForeignRootError.__name__}: "):
        return f"it existed before execution {execution.id}"
    with suppress(FileNotFoundError):
        if _modified(folder.path) < execution.started_at - _CLOCKS_DIFFER:
            return f"it is older than execution {execution.id}"
    return None


def _orphan(folder: OutputFolder, execution: Execution) -> Orphan:
    return Orphan(
        execution_id=execution.id,
        state=execution.state,
        component_id=execution.component_id,
        size=_size(folder.path),
        path=folder.path,
    )


def _distinct(roots: Iterable[str]) -> list[Path]:
    """The roots without duplicates, even if one is written in two ways."""
    found: dict[str, Path] = {}
    for root in roots:
        if not os.path.isdir(root):
            raise InvalidInputError(f"the pipeline_root {root} is not a folder; give the pipeline_root of the DAG")
        found.setdefault(os.path.realpath(root), Path(os.path.abspath(root)))
    return list(found.values())


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.lstat().st_mtime, timezone.utc)


def _size(path: Path) -> int:
    """The total size of its files in bytes; a link counts with its own size, not with its target's."""
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # an abandoned worker may still change files
                size += os.lstat(os.path.join(folder, name)).st_size
    return size


def _remove(path: Path) -> None:
    for folder in (path, *path.parents[:2]):
        if folder.is_symlink():
            raise OSError(f"{folder} has become a link")
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if path.exists():
            raise
