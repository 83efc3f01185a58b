"""Converts an artifact to a plain dict (XCom), a message (executor process) or a row (store), and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from airflow_provider_mlpipe.artifacts import (
    ARTIFACT_TYPES,
    Artifact,
    ArtifactState,
    FileSummary,
    PropertyType,
    artifact_class,
)
from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.metadata.values import check_text, decode, encoded
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import from_map, to_map


def to_dict(artifact: Artifact) -> dict[str, Any]:
    """The plain dict that XCom, templates and tasks of other operators see."""
    return {
        "id": artifact.id,
        "type": artifact.TYPE_NAME,
        "uri": artifact.uri,
        "digest": artifact.digest,
        "files": asdict(artifact.files) if artifact.files else None,
        "properties": dict(artifact.properties),
        "custom_properties": dict(artifact.custom_properties),
    }


def from_dict(plain: Mapping[str, Any]) -> Artifact:
    """The published artifact that `to_dict` made `plain` from."""
    known = ARTIFACT_TYPES.get(plain["type"], Artifact).PROPERTIES
    declared = {name: PropertyType.of(value) for name, value in plain["properties"].items() if name not in known}
    files = FileSummary(**plain["files"]) if plain.get("files") else None
    others = {key: value for key, value in plain.items() if key not in ("type", "files")}
    return artifact_class(plain["type"], declared)(**others, files=files, state=ArtifactState.LIVE)


def to_message(artifact: Artifact) -> pb.Artifact:
    """The message to the executor process. It declares the properties, since only the DAG file may define the class."""
    return pb.Artifact(
        type=artifact.TYPE_NAME,
        declared=declared_properties(artifact),
        uri=artifact.uri,
        id=artifact.id or 0,
        digest=artifact.digest or "",
        files=pb.FileSummary(**asdict(artifact.files)) if artifact.files else None,
        properties=to_map(artifact.properties),
        custom_properties=to_map(artifact.custom_properties),
    )


def to_messages(artifacts: Sequence[Artifact], *, several: bool = False) -> pb.ExecutorInvocation.Artifacts:
    """The artifacts of an input or output in one message; with `several`, the executor gets them as a list."""
    return pb.ExecutorInvocation.Artifacts(artifacts=map(to_message, artifacts), several=several)


def from_messages(message: pb.ExecutorInvocation.Artifacts) -> list[Artifact]:
    """The artifacts that `to_messages` made the message from."""
    return [from_message(one) for one in message.artifacts]


def from_message(message: pb.Artifact) -> Artifact:
    """The artifact that `to_message` made the message from; PENDING if it has no id."""
    return _class(message.type, message.declared)(
        uri=message.uri,
        id=message.id or None,
        digest=message.digest or None,
        files=summary_from_message(message.files) if message.HasField("files") else None,
        state=ArtifactState.LIVE if message.id else ArtifactState.PENDING,
        properties=from_map(message.properties),
        custom_properties=from_map(message.custom_properties),
    )


def summary_from_message(files: pb.FileSummary) -> FileSummary:
    """The summary of an artifact's files that is in a message."""
    return FileSummary(count=files.count, bytes=files.bytes, digest=files.digest, stamp=files.stamp)


def to_row(artifact: Artifact, where: str) -> dict[str, Any]:
    """The artifact's columns for the query `publish`; raises InvalidValueError, whose message begins with `where`."""
    for name, value in artifact.properties.items():
        # This was checked when the artifact was made, but the dict may have changed since then.
        declared = artifact.PROPERTIES.get(name)
        if not isinstance(declared, PropertyType) or not declared.admits(value):
            raise InvalidValueError(
                f"{where}.properties.{name}: {artifact.TYPE_NAME} does not declare this property with the type "
                f"{type(value).__name__}; declare it in its PROPERTIES or use custom_properties"
            )
    return {
        "id": artifact.id,
        "type": artifact.TYPE_NAME,
        "uri": check_text(artifact.uri, f"{where}.uri"),
        "digest": None if artifact.digest is None else check_text(artifact.digest, f"{where}.digest"),
        "file_count": artifact.files and artifact.files.count,
        "byte_count": artifact.files and artifact.files.bytes,
        "files_digest": artifact.files and artifact.files.digest,
        "files_stamp": artifact.files and artifact.files.stamp,
        "properties": encoded(artifact.properties, f"{where}.properties"),
        "custom_properties": encoded(artifact.custom_properties, f"{where}.custom_properties"),
    }


def from_row(row: Mapping[str, Any]) -> Artifact:
    """The artifact in a row of the view `typed_artifact`."""
    return _class(row["type"], row["declared"])(
        id=row["id"],
        uri=row["uri"],
        digest=row["digest"],
        state=ArtifactState(row["state"]),
        files=_files(row),
        properties=decode(row["properties"]),
        custom_properties=decode(row["custom_properties"]),
    )


def declared_properties(artifact: Artifact) -> dict[str, str]:
    """The properties that the artifact's type declares: {name: type}, with the names used in the store and messages."""
    return {name: kind.value for name, kind in artifact.PROPERTIES.items()}


def _class(type_name: str, declared: Mapping[str, str]) -> type[Artifact]:
    return artifact_class(type_name, {name: PropertyType(kind) for name, kind in declared.items()})


def _files(row: Mapping[str, Any]) -> FileSummary | None:
    if row["files_digest"] is None:
        return None
    return FileSummary(
        count=row["file_count"], bytes=row["byte_count"], digest=row["files_digest"], stamp=row["files_stamp"] or ""
    )
