"""A pipeline_root belongs to one metadata store: the one that made the first output below it.

So two stores never take each other's files for their own. The root's marker (`marker.py`) names the store.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from airflow_provider_mlpipe.exceptions import ForeignRootError
from airflow_provider_mlpipe.metadata.store import ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage import marker as markers
from airflow_provider_mlpipe.storage.disk_errors import translated
from airflow_provider_mlpipe.storage.marker import Marker
from airflow_provider_mlpipe.storage.output_folders import output_folders

_REMEDY = "Give each metadata store a pipeline_root of its own"
_BATCH = 1000


def take(store: MetadataStore, root: Path, execution_id: int) -> None:
    """Let the root belong to the store, if it belongs to no other. An execution calls it before it makes its outputs.

    Raises ForeignRootError when the root belongs to another store, also when it has no marker yet, but outputs that
    this store did not make; and OSError.
    """
    marker = markers.read(root)
    if marker is None:
        root.mkdir(parents=True, exist_ok=True)
        first = next(output_folders(root), None)
        if first is not None:
            _refuse_unknown(store, root, execution_id)
        marker = markers.write(root, Marker(store=store.id, from_execution=execution_id if first else 0))
    _refuse_foreign(store, root, marker)


def own_marker(store: MetadataStore, root: Path) -> Marker | None:
    """The root's marker, if it has one.

    Raises ForeignRootError when it names another store, and InvalidInputError or TransientError when it cannot be read.
    """
    try:
        marker = markers.read(root)
    except OSError as error:
        remedy = "Run this as the user of the Airflow workers"
        raise translated(error, f"{root / markers.NAME} cannot be read", remedy) from error
    if marker is not None:
        _refuse_foreign(store, root, marker)
    return marker


def _refuse_foreign(store: MetadataStore, root: Path, marker: Marker) -> None:
    if marker.store != store.id:
        raise ForeignRootError(
            f"pipeline_root {root} belongs to another metadata store: {root / markers.NAME} names {marker.store}, but "
            f"this store is {store.id}. {_REMEDY}"
        )


def _refuse_unknown(store: MetadataStore, root: Path, execution_id: int) -> None:
    """Raises ForeignRootError for a folder that no earlier execution of this store can have made."""
    folders = output_folders(root)
    while batch := list(islice(folders, _BATCH)):
        executions = store.executions_by_id({folder.execution_id for folder in batch})
        earlier = {(each.id, each.component_id) for each in executions if each.state is not ExecutionState.CACHED}
        for folder in batch:
            if folder.execution_id == execution_id or (folder.execution_id, folder.component_id) not in earlier:
                raise ForeignRootError(
                    f"pipeline_root {root} belongs to another metadata store: this one did not make {folder.path}. "
                    f"{_REMEDY}"
                )
