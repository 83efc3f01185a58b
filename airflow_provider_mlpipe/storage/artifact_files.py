"""Are the files of an artifact still there, as they were published?

Files are lost when their folder is gone, or when they differ from what was published. Files are out of reach when their
disk is not mounted, does not answer, or does not let this user read. What is out of reach may come back, so it never
counts as lost.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from airflow_provider_mlpipe.artifacts import Artifact, FileSummary
from airflow_provider_mlpipe.exceptions import TransientError
from airflow_provider_mlpipe.storage.digests import files_digest, path_digest, tree_digest, tree_look
from airflow_provider_mlpipe.storage.disk_errors import translated
from airflow_provider_mlpipe.storage.layout import folder_of

Verify = Literal["exists", "digest"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Why the files are lost, or None; and their stamp before that was found out, if they were published."""

    problem: str | None
    stamp: str = ""


def loss(artifact: Artifact, verify: Verify) -> str | None:
    """Why the files are lost, as text; None when they are there. Raises what `look` raises."""
    return look(artifact, verify).problem


def look(artifact: Artifact, verify: Verify) -> Look:
    """Look at the files.

    "exists" looks at their inodes, sizes and times, and reads only what is another user's, or what was written or moved
    since it was published. "digest" reads all. Raises TransientError when they are out of reach, and InvalidInputError
    when this user may not read them.
    """
    folder = folder_of(artifact)
    try:
        if not _exists(folder):
            _refuse_if_unmounted(folder, artifact)
            return Look(problem=f"{folder} is gone")
        if artifact.files:
            return _published(folder, artifact.files, verify)
        return Look(problem=_imported_loss(folder, artifact, verify))
    except OSError as error:
        remedy = "Let this user read it, or work as the user of the Airflow workers"
        raise translated(error, f"{folder} is out of reach", remedy) from error


def _published(folder: Path, files: FileSummary, verify: Verify) -> Look:
    now = tree_look(folder)
    problem = None
    if (now.count, now.bytes) != (files.count, files.bytes):
        problem = (
            f"{folder} has {now.count:,} files with {now.bytes:,} bytes, but was published with {files.count:,} files "
            f"and {files.bytes:,} bytes"
        )
    elif verify == "exists" and now.stamp == files.stamp and folder.stat().st_uid == os.geteuid():
        pass
    elif tree_digest(folder) != files.digest:
        problem = f"the files in {folder} have changed since they were published"
    return Look(problem=problem, stamp=now.stamp)


def _imported_loss(folder: Path, artifact: Artifact, verify: Verify) -> str | None:
    """Only its digest was recorded: an Importer reads the files in every run, and nobody else has to."""
    if folder.is_dir() and _is_empty(folder) and artifact.digest != files_digest([]):
        raise _unmounted(folder, f"{folder} is empty")  # it may be a mount point itself
    if verify == "digest" and path_digest(folder) != artifact.digest:
        return f"the files in {folder} have changed since they were imported"
    return None


def _refuse_if_unmounted(folder: Path, artifact: Artifact) -> None:
    """Raises TransientError when the folders above are missing, too.

    Of a published artifact, its component's folder stays when single artifacts are deleted. Of an imported one, the
    folder above is at most a mount point without its disk if it is empty.
    """
    above = folder.parents[1] if artifact.files else folder.parent
    if not _exists(above):
        raise _unmounted(folder, f"{above} is missing")
    if not artifact.files and _is_empty(above):
        raise _unmounted(folder, f"{above} is empty")


def _unmounted(folder: Path, why: str) -> TransientError:
    return TransientError(
        f"{folder} is out of reach: {why}, so its disk may not be mounted. Mount it; if the files will not come back, "
        "`airflow mlpipe artifacts check --give-up` marks them as MISSING"
    )


def _exists(path: Path) -> bool:
    """Whether there is a file or folder. Unlike `Path.exists`, raises OSError where that cannot be known."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None
