"""The frozen dataclasses that the store takes and returns; `from_row` makes one from a row of a query."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Generic, Literal, TypeVar

from airflow_provider_mlpipe.artifacts import Artifact, PropertyValue
from airflow_provider_mlpipe.forms import from_row
from airflow_provider_mlpipe.metadata import values

Row = Mapping[str, Any]
NO_VERSION = -1
"""In the place of a span's version where data has no versions."""

T = TypeVar("T")


class ExecutionState(str, Enum):
    """RUNNING until its try publishes (COMPLETE), fails (FAILED) or dies (ABANDONED); CACHED for a cache hit."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    CACHED = "CACHED"
    FAILED = "FAILED"
    ABANDONED = "ABANDONED"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a DAG. `key`, a UUID, differs for a run that was deleted and made again with the same id."""

    pipeline: str
    run_id: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of a task's work an execution is: the one with this `number`, from 0, of `count`.

    The parts of one try, or of one plan, have the same `set`, a UUID.
    """

    set: str = field(default_factory=lambda: str(uuid.uuid4()))
    number: int = 0
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class ExecutionStart:
    """What is known when a part of a try begins. `inputs` has the artifact ids by key, `properties` the parameters.

    Only one execution with the same `flight` is RUNNING at a time; the others wait. An execution with the flight None
    does not wait, and no other waits for it. Of a try that failed before it could begin, only the first six are known.
    """

    component_type: str
    run: Run
    component_id: str
    map_index: int = -1
    try_number: int = 1
    triggered_by: str | None
    fingerprint: str = ""
    fingerprint_parts: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Sequence[int]] = field(default_factory=dict)
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    environment: Mapping[str, PropertyValue] = field(default_factory=dict)
    flight: str | None = None
    part: Part = field(default_factory=Part)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to publish an execution, as long as it is RUNNING."""

    execution_id: int
    token: str


@dataclass(frozen=True, kw_only=True)
class CachedExecution:
    """A COMPLETE execution that a hit may reuse, its outputs by key, and the files that user code read for it."""

    execution_id: int
    outputs: Mapping[str, list[Artifact]]
    reads: Mapping[str, PropertyValue] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PlannedTask:
    """What a plan says about one component: its verdict, the reason, and whether its task is skipped.

    `part_set` is the set of executions that the plan recorded; None for a task that decides itself or is left out.
    """

    component_id: str
    verdict: str
    reason: str
    is_skipped: bool
    part_set: str | None


@dataclass(frozen=True, kw_only=True, order=True)
class Span:
    """A span of data: its number, and the version of it where data has versions."""

    number: int
    version: int | None = None

    def __str__(self) -> str:
        version = "" if self.version is None else f", version {self.version}"
        return f"span {self.number}{version}"


@dataclass(frozen=True, kw_only=True)
class AnnouncedSpan:
    """A span that a task has announced, or was about to announce if it is not confirmed."""

    span: Span
    pipeline: str
    run_id: str
    task_id: str
    is_confirmed: bool
    announced_at: datetime

    @property
    def task(self) -> tuple[str, str, str]:
        """The task's pipeline, run and id."""
        return self.pipeline, self.run_id, self.task_id

    @classmethod
    def from_row(cls, row: Row) -> AnnouncedSpan:
        """Make one from a row of the query `announced_spans`."""
        version = None if row["version"] == NO_VERSION else row["version"]
        others = {name: row[name] for name in cls.__dataclass_fields__ if name != "span"}
        return cls(span=Span(number=row["span"], version=version), **others)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One part of one try of one component. The times are from the database's clock."""

    id: int
    type: str
    pipeline: str
    run_id: str
    run_key: str
    component_id: str
    map_index: int
    try_number: int
    part_set: str
    part: int
    parts: int
    state: ExecutionState
    fingerprint: str
    fingerprint_parts: Mapping[str, str]
    reusable: bool
    not_reusable_reason: str | None
    cached_from: int | None
    triggered_by: str | None
    environment: Mapping[str, PropertyValue]
    properties: Mapping[str, PropertyValue]
    error: str | None
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None

    @property
    def has_executor(self) -> bool:
        """Whether an executor does its work; an Importer or Resolver only looks up artifacts."""
        return "executor" in self.fingerprint_parts

    @classmethod
    def from_row(cls, row: Row) -> Execution:
        """Make one from a row of `execution` with the name of its type."""
        decoded = {name: values.decode(row[name]) for name in ("fingerprint_parts", "environment", "properties")}
        plain = {name: row[name] for name in cls.__dataclass_fields__ if name not in decoded}
        return cls(**plain | decoded | {"state": ExecutionState(row["state"])})


@dataclass(frozen=True, kw_only=True)
class InvalidatedExecution:
    """A COMPLETE execution that later runs do not reuse any more."""

    id: int
    type: str
    pipeline: str
    component_id: str

    @classmethod
    def from_row(cls, row: Row) -> InvalidatedExecution:
        """Make one from a row of the query `invalidate`."""
        return cls(**row)


@dataclass(frozen=True, kw_only=True)
class Context:
    """A pipeline, one of its runs ("<pipeline>/<run>") or one of its nodes ("<pipeline>/<component>")."""

    id: int
    type: str
    name: str
    properties: Mapping[str, PropertyValue]
    custom_properties: Mapping[str, PropertyValue]
    created_at: datetime

    @classmethod
    def from_row(cls, row: Row) -> Context:
        """Make one from a row of `context` with the name of its type."""
        decoded = {name: values.decode(row[name]) for name in ("properties", "custom_properties")}
        return cls(**{name: row[name] for name in cls.__dataclass_fields__} | decoded)


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Items, newest first, and the `cursor` to ask for the next page; None on the last page."""

    items: list[T]
    cursor: int | None


def all_items(read: Callable[[int | None], Page[T]]) -> Iterator[T]:
    """Yield the items of all pages; `read` returns the page of a cursor, the first one for None."""
    cursor = None
    while True:
        page = read(cursor)
        yield from page.items
        if (cursor := page.cursor) is None:
            return


@dataclass(frozen=True, kw_only=True)
class LineageNode:
    """An artifact (`label` is its URI) or execution (`label` is the component's id), `depth` steps from the start."""

    kind: Literal["artifact", "execution"]
    id: int
    depth: int
    type: str
    state: str
    label: str

    @classmethod
    def from_row(cls, row: Row) -> LineageNode:
        """Make one from a row of the query `lineage`."""
        return cls(**row)


@dataclass(frozen=True, kw_only=True)
class LineageEdge:
    """An event: the execution had the artifact as INPUT or OUTPUT, under this key and index."""

    execution_id: int
    artifact_id: int
    type: Literal["INPUT", "OUTPUT"]
    key: str
    index: int

    @classmethod
    def from_row(cls, row: Row) -> LineageEdge:
        """Make one from a row of `event`."""
        return cls(**row)


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Nodes, nearest first, and the edges between them; `truncated` if there are more nodes."""

    nodes: list[LineageNode]
    edges: list[LineageEdge]
    truncated: bool


def artifacts_by_key(rows: Sequence[Row]) -> dict[str, list[Artifact]]:
    """Group rows of events with their artifacts by key, in order; rows without an artifact are ignored."""
    grouped: dict[str, list[Artifact]] = {}
    for row in rows:
        if row["id"] is not None:
            grouped.setdefault(row["key"], []).append(from_row(row))
    return grouped
