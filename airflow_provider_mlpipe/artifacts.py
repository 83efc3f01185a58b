"""Artifacts, which components pass to each other, and their types.

An artifact is a directory at `uri` and a row in the metadata store. A type is a subclass of `Artifact` that declares
its properties; the store checks them on write. The standard types have the names of TFX's `standard_artifacts`; any
other subclass of `Artifact` is a user's own type.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, cast

from airflow_provider_mlpipe.exceptions import InvalidValueError, PipelineError
from airflow_provider_mlpipe.spelling import did_you_mean

PropertyValue = Any
"""bool, int (64 bits), float (64 bits), str, or lists and str-keyed dicts of them."""


class PropertyType(str, Enum):
    """The declared type of a property; its value is the type's name in the store."""

    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    BOOL = "bool"
    STRUCT = "struct"

    def admits(self, value: PropertyValue) -> bool:
        """Whether `value` is of this type. A bool is not an int; an int is accepted as a double."""
        return not (isinstance(value, bool) and self is not PropertyType.BOOL) and isinstance(value, _PYTHON[self])

    @classmethod
    def of(cls, value: PropertyValue) -> PropertyType:
        """The narrowest type that admits `value`."""
        return next((kind for kind in cls if kind.admits(value)), cls.STRUCT)


_PYTHON: dict[PropertyType, tuple[type, ...]] = {
    PropertyType.INT: (int,),
    PropertyType.DOUBLE: (float, int),
    PropertyType.STRING: (str,),
    PropertyType.BOOL: (bool,),
    PropertyType.STRUCT: (dict, list),
}


_EXACT_IN_DOUBLE = 2**53


class ArtifactState(str, Enum):
    """PENDING (not published yet, without a row), LIVE, or MISSING or DELETED (its files are gone)."""

    PENDING = "PENDING"
    LIVE = "LIVE"
    MISSING = "MISSING"
    DELETED = "DELETED"


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """The content of an artifact's folder when it was published; a hit is verified against it.

    `stamp` changes whenever somebody writes, replaces or moves a file; empty for one that an earlier version published.
    """

    count: int
    bytes: int
    digest: str
    stamp: str = ""


ARTIFACT_TYPES: dict[str, type[Artifact]] = {}
"""Every artifact type whose class was defined in this process, by its name in the store."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One artifact. Until it is published, `id` and `digest` are None and `state` is PENDING.

    `files` is None if it was imported. A subclass is a type: `PROPERTIES` declares its properties, `TYPE_NAME` is its
    name in the store (default: the name of the class), and `DESCRIPTIVE` names properties that only describe it and so
    do not count in the fingerprints of its readers. `FILE` is the name of its file if it is a single one. Only such a
    type may be imported as a file without its folder.
    Raises InvalidValueError when a property is not declared or has a value of another type, and PipelineError for a
    subclass whose name or properties are not valid.
    """

    TYPE_NAME: ClassVar[str] = "Artifact"
    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {}
    DESCRIPTIVE: ClassVar[frozenset[str]] = frozenset()
    FILE: ClassVar[str | None] = None

    uri: str
    id: int | None = None
    digest: str | None = None
    state: ArtifactState = ArtifactState.PENDING
    files: FileSummary | None = None
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    custom_properties: Mapping[str, PropertyValue] = field(default_factory=dict)

    def __init_subclass__(cls, *, is_known: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "TYPE_NAME" not in cls.__dict__:
            cls.TYPE_NAME = cls.__name__
        if is_known:
            _check_declaration(cls)
            ARTIFACT_TYPES[cls.TYPE_NAME] = cls

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
        object.__setattr__(
            self, "properties", {name: self._stored(name, self.properties[name]) for name in self.properties}
        )

    def _stored(self, name: str, value: PropertyValue) -> PropertyValue:
        """The value as the store returns it: an int that is declared DOUBLE is a float there."""
        is_exact_int = isinstance(value, int) and abs(value) <= _EXACT_IN_DOUBLE
        return float(value) if self.PROPERTIES[name] is PropertyType.DOUBLE and is_exact_int else value

    @property
    def files_digest(self) -> str | None:
        """The digest of its files as they were published or imported; `digest` may be one of what they mean."""
        return self.files.digest if self.files else self.digest

    @classmethod
    def type_names(cls) -> list[str]:
        """The names of this type and of its base types, the nearest first."""
        return [base.TYPE_NAME for base in cls.__mro__ if issubclass(base, Artifact)]

    def summary(self) -> str:
        """The artifact's content in a few words; empty by default."""
        return ""


def find_type(given: type[Artifact] | str, where: str) -> type[Artifact]:
    """The class, given itself or by its name; raises PipelineError that begins with `where` for anything else."""
    if isinstance(given, type) and issubclass(given, Artifact) and given is not Artifact:
        return given
    if isinstance(given, str) and given in ARTIFACT_TYPES:
        return ARTIFACT_TYPES[given]
    meant = did_you_mean(str(given), ARTIFACT_TYPES) or f"known: {', '.join(sorted(ARTIFACT_TYPES))}"
    raise PipelineError(f"{where}: unknown artifact_type {given!r}; {meant}")


def artifact_class(type_name: str, declared: Mapping[str, PropertyType]) -> type[Artifact]:
    """The class of a type: the one defined in this process, or else a new one with the `declared` properties.

    If the defined class declares other properties, the artifact was written by older or newer code. Then the result is
    a subclass that declares them as given, so that this code can read it.
    """
    known = ARTIFACT_TYPES.get(type_name, Artifact)
    if type_name == known.TYPE_NAME and declared.items() <= known.PROPERTIES.items():
        return known
    hashable: Any = known
    return _redeclared(hashable, type_name, tuple(sorted(declared.items())))


@functools.cache
def _redeclared(known: Any, type_name: str, declared: tuple[tuple[str, PropertyType], ...]) -> type[Artifact]:
    attributes = {
        "TYPE_NAME": type_name,
        "PROPERTIES": {**known.PROPERTIES, **dict(declared)},
        "__doc__": known.__doc__,
        "__reduce__": lambda self: (_unpickled, (type_name, dict(declared), vars(self))),
    }
    return cast("type[Artifact]", type(type_name, (known,), attributes, is_known=False))


def _unpickled(type_name: str, declared: Mapping[str, PropertyType], fields: Mapping[str, Any]) -> Artifact:
    """In a process that has not the class, either, such as one that an executor starts."""
    return artifact_class(type_name, declared)(**fields)


def _check_declaration(cls: type[Artifact]) -> None:
    where, name, properties = f"{cls.__module__}.{cls.__qualname__}", cls.TYPE_NAME, cls.PROPERTIES
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise PipelineError(f"{where}: TYPE_NAME has letters, digits, '_', '.' and '-', but it is {name!r}")
    taken = ARTIFACT_TYPES.get(name)
    if name == Artifact.TYPE_NAME or (taken and taken.__module__ == __name__ != cls.__module__):
        raise PipelineError(f"{where}: the artifact type {name} is a standard one; give the class another TYPE_NAME")
    if not isinstance(properties, Mapping) or not all(
        isinstance(key, str) and isinstance(kind, PropertyType) for key, kind in properties.items()
    ):
        raise PipelineError(f"{where}: PROPERTIES maps names to PropertyType, such as PropertyType.INT: {properties!r}")


_SPLITS = {"splits": PropertyType.STRUCT}


class Examples(Artifact):
    """tf.Example records in TFRecord files, `Split-<name>/*.gz`. A split may have a sidecar in `Arrow-<name>/`.

    `record_counts` is {split: number of records}.
    """

    PROPERTIES = _SPLITS | {
        "span": PropertyType.INT,
        "version": PropertyType.INT,
        "payload_format": PropertyType.STRING,
        "file_format": PropertyType.STRING,
        "record_counts": PropertyType.STRUCT,
    }
    DESCRIPTIVE = frozenset({"record_counts"})

    def summary(self) -> str:
        """The number of records of each split."""
        counts = self.properties.get("record_counts") or {}
        return ", ".join(f"{split} {count:,}" for split, count in counts.items())


class ExampleStatistics(Artifact):
    """`Split-<name>/FeatureStats.pb`, a binary DatasetFeatureStatisticsList each."""

    PROPERTIES = _SPLITS | {"span": PropertyType.INT}


class Schema(Artifact):
    """`schema.pbtxt`, a text tensorflow.metadata.v0.Schema."""

    FILE: ClassVar[str] = "schema.pbtxt"


class ExampleAnomalies(Artifact):
    """`Split-<name>/SchemaDiff.pb`, a binary tensorflow.metadata.v0.Anomalies each; `blessed` is {split: 0 or 1}.

    DistributionValidator's are of pairs of splits, `<test>_<base>`: `SplitPair-<pair>/SchemaDiff.pb`, and `blessed` is
    {pair: 0, 1, or 2 if it was not compared}.
    After SQL checks there is also `Split-<name>/sql_checks.json`.
    """

    PROPERTIES = _SPLITS | {"span": PropertyType.INT, "blessed": PropertyType.STRUCT}

    def summary(self) -> str:
        """The splits that have anomalies, or that nothing was compared."""
        blessed = self.properties.get("blessed") or {}
        found = [split for split, value in blessed.items() if not value]
        if found:
            return f"anomalies in {', '.join(found)}"
        return "not compared" if 2 in blessed.values() else "no anomalies"


class ExamplesDiff(Artifact):
    """`SplitPair-<test>_<base>/`, TFX's files for each pair of splits, and `summary.json`, the same without TensorFlow.

    `pair_counts` is {pair of splits: number of pairs of examples}, `differing_counts` the same of those that differ.
    """

    PROPERTIES = _SPLITS | {
        "span": PropertyType.INT,
        "pair_counts": PropertyType.STRUCT,
        "differing_counts": PropertyType.STRUCT,
    }

    def summary(self) -> str:
        """How many of the pairs of examples differ, for each pair of splits."""
        counts, differing = (self.properties.get(name) or {} for name in ("pair_counts", "differing_counts"))
        return ", ".join(f"{pair}: {differing.get(pair, 0):,} of {count:,} differ" for pair, count in counts.items())


class TransformGraph(Artifact):
    """The folder that TFT's `TFTransformOutput` reads."""


class TransformCache(Artifact):
    """The states that Transform's analyzers computed from their splits, each in a file `<key>.state`."""


class Model(Artifact):
    """`Format-Serving/`, a SavedModel, and optionally `Format-TFMA/`.

    `span` is the newest span that it was trained on.
    """

    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {"span": PropertyType.INT}


class ModelRun(Artifact):
    """The other files that training wrote: TensorBoard logs, checkpoints."""


class HyperParameters(Artifact):
    """`best_hyperparameters.txt`, KerasTuner's config as JSON."""

    FILE: ClassVar[str] = "best_hyperparameters.txt"


class ModelEvaluation(Artifact):
    """TFMA's result files and a `summary.json` that can be read without TensorFlow."""


class ModelBlessing(Artifact):
    """A file BLESSED or NOT_BLESSED. `blessed` is 1 or 0, `reason` says why.

    `model_digest` and `model_id` say which model was judged.
    """

    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {
        "blessed": PropertyType.INT,
        "reason": PropertyType.STRING,
        "model_digest": PropertyType.STRING,
        "model_id": PropertyType.INT,
    }
    DESCRIPTIVE = frozenset({"reason", "model_id"})

    def summary(self) -> str:
        """Whether the model is blessed; if not, why."""
        return "blessed" if self.properties.get("blessed") else f"not blessed: {self.properties.get('reason', '')}"


class InfraBlessing(Artifact):
    """A file INFRA_BLESSED or INFRA_NOT_BLESSED. `blessed` is 1 or 0."""

    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {"blessed": PropertyType.INT, "reason": PropertyType.STRING}
    DESCRIPTIVE = frozenset({"reason"})


class PushedModel(Artifact):
    """A record of a push. `pushed` is 1 or 0; when 1, `destination` and `version` say where the model went."""

    PROPERTIES: ClassVar[Mapping[str, PropertyType]] = {
        "pushed": PropertyType.INT,
        "destination": PropertyType.STRING,
        "version": PropertyType.STRING,
        "reason": PropertyType.STRING,
        "model_digest": PropertyType.STRING,
        "span": PropertyType.INT,
    }
    DESCRIPTIVE = frozenset({"reason"})

    def summary(self) -> str:
        """Which version was pushed, or why none was."""
        if self.properties.get("pushed"):
            return f"pushed as version {self.properties.get('version', '')}"
        return f"not pushed: {self.properties.get('reason', '')}"
