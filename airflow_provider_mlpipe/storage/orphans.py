"""Orphans: files below a pipeline_root that failed and killed tries wrote and did not publish."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.store import STALE_AFTER, Execution, ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage.layout import output_uri

_CLOCKS_DIFFER = timedelta(seconds=60)  # at most, between the worker's clock (dates of folders) and the database's
_BATCH = 1000
# An execution never leaves these states, and only a RUNNING execution can publish. So the folders of these executions
# cannot become artifacts any more, even if a worker still writes there. They can be deleted without a lock.
_UNPUBLISHED = (ExecutionState.FAILED, ExecutionState.ABANDONED)
_REFUSED = (
    "belongs to another metadata store"  # from the error of pipeline/component.py for a folder that existed already
)


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


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """A folder with the name of an output: `<root>/<component id>/<output key>/<execution id>`."""

    path: Path
    component_id: str
    execution_id: int
    uris: frozenset[str]


def find(store: MetadataStore, roots: Iterable[str]) -> Found:
    """Looks below each pipeline_root for outputs whose execution is FAILED or ABANDONED.

    First it ends executions whose worker sends no heartbeat, so that their files count as orphans. It leaves alone the
    files of artifacts, folders that this store does not know, and folders that seem to belong to another store. Raises
    InvalidInputError for a root that is missing or cannot be read.
    """
    folders = [folder for root in _distinct(roots) for folder in _folders(root)]
    found = Found(abandoned=store.abandon_stale(STALE_AFTER))
    for begin in range(0, len(folders), _BATCH):
        _sort_out(store, folders[begin : begin + _BATCH], found)
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


def _sort_out(store: MetadataStore, folders: Sequence[_Folder], found: Found) -> None:
    executions = {execution.id: execution for execution in store.executions_by_id({f.execution_id for f in folders})}
    mine = list(_of_this_store(folders, executions, found.left_alone))
    ended = [(folder, execution) for folder, execution in mine if execution.state in _UNPUBLISHED]
    used = store.used_folders({uri for folder, _ in ended for uri in folder.uris})
    found.orphans.extend(_orphan(folder, execution) for folder, execution in ended if not folder.uris & used)


def _of_this_store(
    folders: Iterable[_Folder], executions: Mapping[int, Execution], left_alone: list[str]
) -> Iterator[tuple[_Folder, Execution]]:
    for folder in folders:
        if execution := executions.get(folder.execution_id):
            if why := _not_its_own(folder, execution):
                left_alone.append(f"{folder.path}: {why}")
            else:
                yield folder, execution


def _not_its_own(folder: _Folder, execution: Execution) -> str | None:
    """Why the folder does not belong to the execution with its number (two stores share or shared a root), or None."""
    if execution.component_id != folder.component_id:
        return f"execution {execution.id} belongs to the component {execution.component_id!r}"
    if execution.state not in _UNPUBLISHED:
        return None
    if _REFUSED in (execution.error or ""):
        return f"it existed before execution {execution.id}"
    with suppress(FileNotFoundError):
        if _modified(folder.path) < execution.started_at - _CLOCKS_DIFFER:
            return f"it is older than execution {execution.id}"
    return None


def _orphan(folder: _Folder, execution: Execution) -> Orphan:
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


def _folders(root: Path) -> Iterator[_Folder]:
    for component in _subfolders(root):
        for key in _subfolders(component):
            for path in _subfolders(key):
                if re.fullmatch(r"[1-9][0-9]{0,17}", path.name):  # an execution's id in the store, of 64 bits
                    place = (component.name, key.name, int(path.name))
                    uris = frozenset(output_uri(top, *place) for top in (str(root), os.path.realpath(root)))
                    yield _Folder(path=path, component_id=place[0], execution_id=place[2], uris=uris)


def _subfolders(folder: Path) -> list[Path]:
    """The subfolders, without symbolic links: their files do not belong to this root."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:  # another process has deleted it
        return []
    except OSError as error:
        raise InvalidInputError(
            f"{folder} cannot be read: {error}. Run this as the user of the Airflow workers"
        ) from error


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
