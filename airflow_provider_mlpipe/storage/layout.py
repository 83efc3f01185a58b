"""Where the files of an artifact are. All code that reads or writes an artifact gets its folder from here.

::

    <pipeline_root>/<component id>/<output key>/<execution id>/      an artifact; of several, `<execution id>/<number>/`
        Split-<name>/         the files of one split
        Arrow-<name>/         the sidecar of a split of Examples
        Format-Serving/       of a Model: the SavedModel to serve
        Format-TFMA/          of a Model: the SavedModel to evaluate, if it is a different one
    <pipeline_root>/<component id>/.finished/<execution id>/         what its task has to publish yet
    <pipeline_root>/<component id>/.checkpoints/<execution id>/      what its next try goes on from
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Model
from airflow_provider_mlpipe.exceptions import InvalidInputError

A = TypeVar("A", bound=Artifact)

FINISHED = ".finished"
"""In the place of an output's key: what an executor has finished, until it is published."""

CHECKPOINTS = ".checkpoints"
"""In the place of an output's key: an executor's checkpoints, until it has finished."""

_SPLIT, _SIDECAR = "Split-", "Arrow-"
_LONGEST = 200  # bytes; file systems allow 255 for a name, and ours have a prefix or suffix


def as_path_part(name: str, what: str) -> str:
    """The name, which may be the name of a file or folder. All names that become part of a path come through here.

    Raises InvalidInputError, whose message begins with `what`, for a name that could lead elsewhere or is too long.
    """
    if problem := path_part_problem(name):
        raise InvalidInputError(f"{what} {name!r} {problem}")
    return name


def path_part_problem(name: str) -> str | None:
    """Why the name cannot be the name of a file or folder, or None."""
    if name in ("", ".", ".."):
        return "cannot be the name of a folder: give it another name"
    if strange := {character for character in name if character == "/" or not character.isprintable()}:
        return f"has {', '.join(sorted(map(repr, strange)))}, which the name of a folder cannot have: leave it out"
    if len(os.fsencode(name)) > _LONGEST:
        return f"is longer than {_LONGEST} bytes: shorten it"
    return None


def output_uri(pipeline_root: str, component_id: str, key: str, execution_id: int) -> str:
    """The path where an execution writes an output; no other execution ever uses it."""
    return str(Path(pipeline_root, as_path_part(component_id, "the component"), key, str(execution_id)))


def output_uris(pipeline_root: str, component_id: str, key: str, execution_id: int, count: int) -> list[str]:
    """The paths of an output with several artifacts, `<execution id>/0`, `/1` and so on; one is `<execution id>`."""
    uri = output_uri(pipeline_root, component_id, key, execution_id)
    return [uri] if count == 1 else [f"{uri}/{place}" for place in range(count)]


def absolute(path: str) -> str:
    """The path, also for a process that works in another folder; a URI with a scheme stays as it is."""
    return path if "://" in path else os.path.abspath(path)


def in_full(artifact: A) -> A:
    """The artifact with its `absolute` URI."""
    return replace(artifact, uri=absolute(artifact.uri))


def folder_of(artifact: Artifact) -> Path:
    """The artifact's folder."""
    return Path(artifact.uri)


def file_of(artifact: Artifact) -> Path:
    """The file of an artifact whose type is a single file. What was imported may have another name.

    Raises InvalidInputError for a folder that lacks the file and does not have exactly one other.
    """
    path, name = folder_of(artifact), artifact.FILE
    if name is None or not path.is_dir():
        return path
    if (path / name).exists():
        return path / name
    files = [each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")]
    if len(files) != 1:
        raise InvalidInputError(
            f"{path / name} does not exist, and {path} has {len(files)} other files instead of one; run its producer "
            "again, or import the file itself"
        )
    return files[0]


def root_of(output: Artifact) -> Path:
    """The pipeline_root of what an execution publishes."""
    folder = folder_of(output)
    is_one_of_several = folder.parent.name.isdigit()  # an output's key is no number
    return folder.parents[3 if is_one_of_several else 2]


def is_below(root: str, artifact: Artifact) -> bool:
    """Whether the artifact's folder is below the folder `root`, by their names."""
    return bool(root) and Path(absolute(root)) in Path(absolute(artifact.uri)).parents


def split_folder(artifact: Artifact, split: str) -> Path:
    """The folder of one split of an artifact."""
    return folder_of(artifact) / f"{_SPLIT}{as_path_part(split, 'the split')}"


def sidecar_folder(examples: Examples, split: str) -> Path:
    """The folder of the sidecar of one split."""
    return folder_of(examples) / f"{_SIDECAR}{as_path_part(split, 'the split')}"


def sidecar_folder_beside(split_folder: Path) -> Path | None:
    """The folder of the sidecar beside a split's folder; None when `split_folder` is not a split's folder."""
    if not split_folder.name.startswith(_SPLIT):
        return None
    return split_folder.with_name(f"{_SIDECAR}{split_folder.name.removeprefix(_SPLIT)}")


def split_of(file: Path) -> str:
    """The name of the split that a file in a split's folder, or in the folder of its sidecar, belongs to."""
    return file.parent.name.removeprefix(_SPLIT).removeprefix(_SIDECAR)


def serving_model(model: Model) -> Path:
    """The folder of the SavedModel to serve."""
    return folder_of(model) / "Format-Serving"


def base_model(model: Model) -> Path:
    """What a training can start from: the SavedModel to serve, or else what was imported, a folder or its only file."""
    folder, serving = folder_of(model), serving_model(model)
    if serving.is_dir() or not folder.is_dir():
        return serving
    visible = [each for each in folder.iterdir() if not each.name.startswith(".")]
    return visible[0] if len(visible) == 1 and visible[0].is_file() else folder


def evaluation_model(model: Model) -> Path:
    """The folder of the SavedModel that is used only for evaluation; most models do not have it."""
    return folder_of(model) / "Format-TFMA"


def select_splits(artifact: Artifact, exclude: Sequence[str], parameter: str) -> list[str]:
    """Return the splits of `artifact` without those in `exclude`; `parameter` is its name in errors.

    Raises InvalidInputError, which lists the known splits, when `exclude` has an unknown split or no split is left; and
    for a split whose name cannot be the name of a folder.
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
    return [as_path_part(name, f"{artifact.TYPE_NAME} {artifact.uri}: the split") for name in selected]
