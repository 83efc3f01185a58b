"""Where the bytes of an artifact lie. Whatever reads or writes an artifact asks here for its folder.

::

    <pipeline_root>/<component id>/<output key>/<execution id>/      an artifact
        Split-<name>/         what belongs to one split
        Arrow-<name>/         the sidecar of a split of Examples
        Format-Serving/       of a Model: the SavedModel to serve
        Format-TFMA/          of a Model: the SavedModel to evaluate, if it is another
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Model
from airflow_provider_mlpipe.exceptions import InvalidInputError

_SPLIT, _SIDECAR = "Split-", "Arrow-"


def output_uri(pipeline_root: str, component_id: str, key: str, execution_id: int) -> str:
    """Where an execution writes an output: a path that no other execution ever has."""
    return str(Path(pipeline_root, component_id, key, str(execution_id)))


def folder_of(artifact: Artifact) -> Path:
    """The artifact's folder."""
    return Path(artifact.uri)


def split_folder(artifact: Artifact, split: str) -> Path:
    """The folder of one split of an artifact."""
    return folder_of(artifact) / f"{_SPLIT}{split}"


def sidecar_folder(examples: Examples, split: str) -> Path:
    """The folder of the sidecar of one split."""
    return folder_of(examples) / f"{_SIDECAR}{split}"


def sidecar_folder_beside(split_folder: Path) -> Path | None:
    """The folder of the sidecar that is beside a split's folder; None when this is no split's folder."""
    if not split_folder.name.startswith(_SPLIT):
        return None
    return split_folder.with_name(f"{_SIDECAR}{split_folder.name.removeprefix(_SPLIT)}")


def serving_model(model: Model) -> Path:
    """The folder of the SavedModel to serve."""
    return folder_of(model) / "Format-Serving"


def evaluation_model(model: Model) -> Path:
    """The folder of the SavedModel that is for evaluation alone; most models have none."""
    return folder_of(model) / "Format-TFMA"


def is_out_of_reach(artifact: Artifact) -> bool:
    """Whether not even the folder of its component is there: perhaps a volume that is not mounted."""
    return not folder_of(artifact).parents[1].is_dir()


def select_splits(artifact: Artifact, exclude: Sequence[str], parameter: str) -> list[str]:
    """Return the splits of `artifact` but those that `parameter` excludes.

    Raises InvalidInputError that lists the known ones when `exclude` names another, or when none is left.
    """
    known = list(artifact.properties.get("splits", ()))
    if unknown := [name for name in exclude if name not in known]:
        raise InvalidInputError(
            f"{parameter} names the split {unknown[0]!r}, which {artifact.TYPE_NAME} {artifact.uri} does not have; "
            f"it has: {', '.join(known) or 'none'}"
        )
    selected = [name for name in known if name not in exclude]
    if not selected:
        raise InvalidInputError(f"{artifact.TYPE_NAME} {artifact.uri} has no split left; {parameter} excludes {known}")
    return selected
