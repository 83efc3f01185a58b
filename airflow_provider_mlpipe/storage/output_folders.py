"""Finds the folders of outputs below a pipeline_root, whoever made them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlpipe.storage.disk_errors import translated
from airflow_provider_mlpipe.storage.layout import output_uri


@dataclass(frozen=True, kw_only=True)
class OutputFolder:
    """A folder with the name of an output: `<root>/<component id>/<output key>/<execution id>`."""

    path: Path
    component_id: str
    execution_id: int
    uris: frozenset[str]


def output_folders(root: Path) -> Iterator[OutputFolder]:
    """Yield the folders in order, without those behind symbolic links: their files do not belong to this root.

    Raises InvalidInputError or TransientError where a folder cannot be read.
    """
    for component in _subfolders(root):
        for key in _subfolders(component):
            for path in _subfolders(key):
                if re.fullmatch(r"[1-9][0-9]{0,17}", path.name):  # an execution's id in the store, of 64 bits
                    place = (component.name, key.name, int(path.name))
                    uris = frozenset(output_uri(top, *place) for top in (str(root), os.path.realpath(root)))
                    yield OutputFolder(path=path, component_id=place[0], execution_id=place[2], uris=uris)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:  # another process has deleted it
        return []
    except OSError as error:
        raise translated(error, f"{folder} cannot be read", "Run this as the user of the Airflow workers") from error
