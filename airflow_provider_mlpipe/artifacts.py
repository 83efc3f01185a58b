"""Artifacts: what components pass to each other, and the types they have.

An artifact is a directory at `uri` and a row in the metadata store. A type is a subclass of `Artifact` that declares
its properties; the store checks them on write. Names follow TFX's `standard_artifacts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError

PropertyValue = Any
"""bool, int (64 bits), float (64 bits), str, or lists and str-keyed dicts of them."""


class PropertyType(str, Enum):
    """The declared type of a property, as the store names it."""

    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    BOOL = "bool"
    STRUCT = "struct"

    def admits(self, value: PropertyValue) -> bool:
        """Whether `value` is of this type (an int is no bool, a double may be given as an int)."""
        return not (isinstance(value, bool) and self is not PropertyType.BOOL) and isinstance(value, _PYTHON[self])


_PYTHON: dict[PropertyType, tuple[type, ...]] = {
    PropertyType.INT: (int,),
    PropertyType.DOUBLE: (float, int),
    PropertyType.STRING: (str,),
    PropertyType.BOOL: (bool,),
    PropertyType.STRUCT: (dict, list),
}


class ArtifactState(str, Enum):
    """PENDING until published (then it has no row yet), LIVE, or MISSING or DELETED when its files are gone."""

    PENDING = "PENDING"
    LIVE = "LIVE"
    MISSING = "MISSING"
    DELETED = "DELETED"


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """What was in an artifact's folder when it was published: by it a hit is verified."""

    count: int
    bytes: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One artifact. `id`, `digest` and `state` are None/PENDING until it is published, `files` is None if imported.

    Raises InvalidValueError when a declared property has a value of another type.
    """

    TYPE_NAME: ClassVar[str] = "Artifact"
    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {}

    uri: str
    id: int | None = None
    digest: str | None = None
    state: ArtifactState = ArtifactState.PENDING
    files: FileSummary | None = None
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    custom_properties: Mapping[str, PropertyValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.properties.items():
            declared = self.PROPERTIES.get(name)
            if declared is None:
                known = ", ".join(sorted(self.PROPERTIES)) or "none"
                raise InvalidValueError(
                    f"{self.TYPE_NAME} has no property {name!r} (it declares: {known}); use custom_properties"
                )
            if not declared.admits(value):
                raise InvalidValueError(
                    f"property {name!r} of {self.TYPE_NAME} is declared {declared.value}, got {type(value).__name__}"
                )

    def to_dict(self) -> dict[str, Any]:
        """The plain form that XCom, template rendering and foreign tasks see."""
        return {
            "id": self.id,
            "type": self.TYPE_NAME,
            "uri": self.uri,
            "digest": self.digest,
            "properties": dict(self.properties),
            "custom_properties": dict(self.custom_properties),
        }


_SPLITS = {"splits": PropertyType.STRUCT}


class Examples(Artifact):
    """tf.Example records, `Split-<name>/*.gz` TFRecord files, perhaps with a sidecar in `Arrow-<name>/`.

    `record_counts` is {split: records}.
    """

    TYPE_NAME = "Examples"
    PROPERTIES = _SPLITS | {
        "span": PropertyType.INT,
        "version": PropertyType.INT,
        "payload_format": PropertyType.STRING,
        "file_format": PropertyType.STRING,
        "record_counts": PropertyType.STRUCT,
    }


class ExampleStatistics(Artifact):
    """`Split-<name>/FeatureStats.pb`, a binary DatasetFeatureStatisticsList each."""

    TYPE_NAME = "ExampleStatistics"
    PROPERTIES = _SPLITS | {"span": PropertyType.INT}


class Schema(Artifact):
    """`schema.pbtxt`, a text tensorflow.metadata.v0.Schema."""

    TYPE_NAME = "Schema"


class ExampleAnomalies(Artifact):
    """`Split-<name>/SchemaDiff.pb`, a binary tensorflow.metadata.v0.Anomalies each; `blessed` is {split: 0 or 1}."""

    TYPE_NAME = "ExampleAnomalies"
    PROPERTIES = _SPLITS | {"span": PropertyType.INT, "blessed": PropertyType.STRUCT}


class TransformGraph(Artifact):
    """What TFT's `TFTransformOutput` reads."""

    TYPE_NAME = "TransformGraph"


class TransformCache(Artifact):
    """What Transform's analyzers have kept of the splits that they read: `<key>.state`, a file for each such state."""

    TYPE_NAME = "TransformCache"


class Model(Artifact):
    """`Format-Serving/`, a SavedModel, and perhaps `Format-TFMA/`."""

    TYPE_NAME = "Model"


class ModelRun(Artifact):
    """What training left beside the model: TensorBoard logs, checkpoints."""

    TYPE_NAME = "ModelRun"


class HyperParameters(Artifact):
    """`best_hyperparameters.txt`, KerasTuner's config as JSON."""

    TYPE_NAME = "HyperParameters"


class ModelEvaluation(Artifact):
    """TFMA's result files and a `summary.json` that needs no TensorFlow to read."""

    TYPE_NAME = "ModelEvaluation"


class ModelBlessing(Artifact):
    """A file BLESSED or NOT_BLESSED. `blessed` is 1 or 0, `reason` says why, `model_digest` of which model."""

    TYPE_NAME = "ModelBlessing"
    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {
        "blessed": PropertyType.INT,
        "reason": PropertyType.STRING,
        "model_digest": PropertyType.STRING,
        "model_id": PropertyType.INT,
    }


class InfraBlessing(Artifact):
    """A file INFRA_BLESSED or INFRA_NOT_BLESSED. `blessed` is 1 or 0."""

    TYPE_NAME = "InfraBlessing"
    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {"blessed": PropertyType.INT, "reason": PropertyType.STRING}


class PushedModel(Artifact):
    """A record of a push. `pushed` is 1 or 0; when 1, `destination` and `version` say where the model went."""

    TYPE_NAME = "PushedModel"
    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {
        "pushed": PropertyType.INT,
        "destination": PropertyType.STRING,
        "version": PropertyType.STRING,
        "reason": PropertyType.STRING,
        "model_digest": PropertyType.STRING,
    }


ARTIFACT_TYPES: dict[str, type[Artifact]] = {
    cls.TYPE_NAME: cls
    for cls in (
        Examples,
        ExampleStatistics,
        Schema,
        ExampleAnomalies,
        TransformGraph,
        TransformCache,
        Model,
        ModelRun,
        HyperParameters,
        ModelEvaluation,
        ModelBlessing,
        InfraBlessing,
        PushedModel,
    )
}
"""Every standard artifact type by the name it has in the store."""


def split_dir(artifact: Artifact, split: str) -> Path:
    """Return the directory of one split of `artifact`."""
    return Path(artifact.uri) / f"Split-{split}"


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
