"""Are the files of an artifact still there, as they were published?

Files are lost when their folder is gone, or when they differ from what was published. Files are out of reach when their
disk is not mounted, does not answer, or does not let this user read. What is out of reach may come back, so it never
counts as lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import TransientError
from airflow_provider_mlpipe.storage.digests import files_digest, path_digest, tree_digest, tree_size
from airflow_provider_mlpipe.storage.disk_errors import translated
from airflow_provider_mlpipe.storage.layout import folder_of

Verify = Literal["exists", "digest"]


def loss(artifact: Artifact, verify: Verify) -> str | None:
    """Why the files are lost, as text; None when they are there.

    "exists" compares their number and total size with what was published, "digest" also reads their content. Raises
    TransientError when they are out of reach, and InvalidInputError when this user may not read them.
    """
    folder = folder_of(artifact)
    try:
        if not _exists(folder):
            _refuse_if_unmounted(folder, artifact)
            return f"{folder} is gone"
        return _published_loss(folder, artifact, verify) if artifact.files else _imported_loss(folder, artifact, verify)
    except OSError as error:
        remedy = "Let this user read it, or work as the user of the Airflow workers"
        raise translated(error, f"{folder} is out of reach", remedy) from error


def _published_loss(folder: Path, artifact: Artifact, verify: Verify) -> str | None:
    assert artifact.files is not None
    count, size = tree_size(folder)
    if (count, size) != (artifact.files.count, artifact.files.bytes):
        return (
            f"{folder} has {count:,} files with {size:,} bytes, but was published with {artifact.files.count:,} files "
            f"and {artifact.files.bytes:,} bytes"
        )
    if verify == "digest" and tree_digest(folder) != artifact.files.digest:
        return f"the files in {folder} have changed since they were published"
    return None


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
