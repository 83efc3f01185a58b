"""Channels: how one component's output becomes another's input.

An operator keeps a `Channel` in a template field. At parse time the channel draws the edge from its producer, both in
`create_dag` and in plain `with DAG(...)` code. At run time it resolves to the artifacts that its producer published in
this run. It asks the store and not XCom, since skipped tasks push no XCom and cleared tasks leave an old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from airflow.sdk.definitions._internal.mixins import DependencyMixin, ResolveMixin

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.forms import to_dict

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Operator

A = TypeVar("A", bound=Artifact)
T = TypeVar("T")


class Producer(Protocol):
    """What a channel needs from the operator that produces its artifacts."""

    @property
    def task_id(self) -> str:
        """The component's id."""

    def input_channels(self) -> Mapping[str, Channel[Any]]:
        """The channels that it reads, by input name."""

    def published_outputs(self, context: Context, key: str) -> list[Artifact]:
        """The artifacts that its newest complete or cached execution in the context's run published under `key`."""

    def set_upstream(self, task_or_task_list: Any, edge_modifier: Any = None) -> None:
        """Makes it wait for other tasks."""

    def set_downstream(self, task_or_task_list: Any, edge_modifier: Any = None) -> None:
        """Makes other tasks wait for it."""


class Channel(ResolveMixin, DependencyMixin, Generic[A]):
    """The artifacts that `producer` publishes under `key` in a run. Resolves to a list of plain artifact dicts."""

    def __init__(
        self,
        producer: Producer,
        key: str,
        artifact_type: type[A],
        *,
        count: int | None = None,
        is_previous: bool = False,
    ) -> None:
        self.producer = producer
        self.key = key
        self.artifact_type = artifact_type
        self.count = count
        self.is_previous = is_previous

    def __repr__(self) -> str:
        chosen = ".previous()" if self.is_previous else "" if self.count is None else f".newest({self.count})"
        return f"{self.producer.task_id}.outputs[{self.key!r}]{chosen} ({self.artifact_type.TYPE_NAME})"

    def newest(self, count: int = 1) -> Channel[A]:
        """The last `count` of its artifacts, such as the newest span; fewer where there are fewer.

        Raises PipelineError for less than one.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise PipelineError(f"{self!r}.newest({count!r}): give a whole number, 1 or more")
        return Channel(self.producer, self.key, self.artifact_type, count=count)

    def previous(self) -> Channel[A]:
        """What the producer published for the span before, in whichever run: to compare a day with the day before.

        For an artifact without a span, it is the one that the producer published before it. An optional input gets
        None if there is none.
        """
        return Channel(self.producer, self.key, self.artifact_type, is_previous=True)

    def selected(self, artifacts: Sequence[T]) -> Sequence[T]:
        """The artifacts that this channel passes on, of those that its producer published, which are in order."""
        return artifacts if self.count is None else artifacts[-self.count :]

    def is_of(self, other: Channel[Any]) -> bool:
        """Whether both have artifacts of the same output."""
        return self.producer is other.producer and self.key == other.key

    def iter_references(self) -> Iterator[tuple[Operator, str]]:
        """Yields the producing operator: Airflow draws the edge from it."""
        yield cast("Operator", self.producer), self.key

    def resolve(self, context: Context) -> list[dict[str, Any]]:
        """The artifacts that the producer's newest complete or cached execution of this run published."""
        artifacts = self.producer.published_outputs(context, self.key)
        return [to_dict(artifact) for artifact in self.selected(artifacts)]

    def serialize(self) -> dict[str, str | int]:
        """Deterministic, since Airflow hashes it for the DAG's version."""
        chosen: dict[str, str | int] = {} if self.count is None else {"newest": self.count}
        return {
            "channel": f"{self.producer.task_id}.{self.key}",
            "artifact_type": self.artifact_type.TYPE_NAME,
            **chosen,
            **({"previous": 1} if self.is_previous else {}),
        }

    @property
    def roots(self) -> Sequence[Any]:
        """The producing operator, for `channel >> task`."""
        return [self.producer]

    @property
    def leaves(self) -> Sequence[Any]:
        """The producing operator, for `task >> channel`."""
        return [self.producer]

    def set_upstream(self, other: DependencyMixin | Sequence[DependencyMixin], edge_modifier: Any = None) -> None:
        """`channel << task`: the producer waits for `other`."""
        self.producer.set_upstream(other, edge_modifier)

    def set_downstream(self, other: DependencyMixin | Sequence[DependencyMixin], edge_modifier: Any = None) -> None:
        """`channel >> task`: `other` waits for the producer."""
        self.producer.set_downstream(other, edge_modifier)
