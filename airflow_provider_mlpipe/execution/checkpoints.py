"""The checkpoints of an executor, from which another try of the same work goes on.

They are in `<pipeline_root>/<component id>/.checkpoints/<execution id>/` until the execution is complete. A try begins
with a copy of what the newest failed try of its flight has there, whichever run and component that was of.

A checkpoint is a file or folder there. It is whole once it has its name: who writes one gives it a name that begins
with a dot, and then renames it. What begins with a dot is never copied.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import MlpipeError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.storage.digests import file_stamp, tree_look
from airflow_provider_mlpipe.storage.layout import CHECKPOINTS, output_uri

_DRAFT = ".draft"
"""Has what is copied, until all of it is."""
_ATTEMPTS = 3

log = logging.getLogger(__name__)


def place_of(root: str, component_id: str, execution_id: int) -> Path:
    """The folder for an execution's checkpoints; it has an output's form, so it becomes an orphan as outputs do."""
    return Path(output_uri(root, component_id, CHECKPOINTS, execution_id))


def seed(store: MetadataStore, place: Path, flight: str | None) -> None:
    """Copies the newest checkpoints of a failed try to the empty folder `place`; then those of failed tries go.

    Nothing is copied without a `flight`, as a component has none that reuses no results. What cannot be copied is
    logged: then the work begins anew.
    """
    for earlier in _failed(store, place, flight):
        if _is_seeded(place, earlier):
            log.info("goes on from the checkpoints of execution %s", earlier.name)
            barrier("checkpoints.seeded")
            forget_failed(store, place, flight)
            return


def forget(store: MetadataStore, place: Path, flight: str | None) -> None:
    """Removes the checkpoints of a complete execution, and those of failed tries of its flight."""
    shutil.rmtree(place, ignore_errors=True)
    try:
        forget_failed(store, place, flight)
    except MlpipeError as error:  # the execution is complete; what is left becomes an orphan
        log.warning("checkpoints of failed tries could not be looked for: %s", error)


def forget_failed(store: MetadataStore, place: Path, flight: str | None) -> None:
    """Removes the checkpoints of failed tries of a flight."""
    for earlier in _failed(store, place, flight):
        shutil.rmtree(earlier, ignore_errors=True)


def _failed(store: MetadataStore, place: Path, flight: str | None) -> list[Path]:
    """The folders of failed tries of the flight below the same pipeline_root, newest first."""
    if flight is None:
        return []
    root = place.parents[2]
    folders = {int(path.name): path for path in root.glob(f"*/{CHECKPOINTS}/*") if path.name.isdecimal()}
    failed = store.failed_of_flight(flight, among=folders.keys()) if folders else []
    return [folders[execution_id] for execution_id in failed]


def _is_seeded(place: Path, earlier: Path) -> bool:
    """Whether all that is whole was copied as it was at one moment: the process of a failed try may still write."""
    draft = place / _DRAFT
    try:
        for _ in range(_ATTEMPTS):
            names = _copied(earlier, draft)
            if names is not None:
                for name in names:
                    (draft / name).rename(place / name)
                draft.rmdir()
                return bool(names)
        log.warning("the checkpoints of execution %s are not used: they changed while they were copied", earlier.name)
    except OSError as error:
        log.warning("the checkpoints of execution %s cannot be used: %s", earlier.name, error)
    for left in place.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return False


def _copied(earlier: Path, draft: Path) -> Collection[str] | None:
    """The names of what was copied to an empty `draft`; None if it changed meanwhile."""
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        stamps = _whole(earlier)
        for name in stamps:
            barrier("checkpoints.copy")
            path = earlier / name
            shutil.copytree(path, draft / name) if path.is_dir() else shutil.copy2(path, draft / name)
        return stamps.keys() if _whole(earlier) == stamps else None
    except (FileNotFoundError, shutil.Error):
        return None


def _whole(folder: Path) -> Mapping[str, str]:
    """The stamps of whole checkpoints by name; none in a folder that was not itself seeded to the end."""
    if (folder / _DRAFT).exists():
        return {}
    return {
        path.name: tree_look(path).stamp if path.is_dir() else file_stamp(path.stat())
        for path in sorted(folder.glob("[!.]*"))
    }
