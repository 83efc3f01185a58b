"""Pieces: the splits of one or several Examples, such as those of a window of spans, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.records.chunks import example_sources
from airflow_provider_mlpipe.records.engine import Chunk, Source
from airflow_provider_mlpipe.records.inputs import named_splits, split_files


@dataclass(frozen=True, eq=False)
class Piece:
    """A split of an Examples artifact. `name` tells it from the other pieces: `train`, or `train of span 31`.

    Each piece equals only itself.
    """

    examples: Examples
    split: str
    name: str

    @property
    def files(self) -> list[Path]:
        """Its record files; raises InvalidInputError if there are none."""
        return split_files(self.examples, self.split)

    def sources(self, *, schema: bytes | None = None, record_column: str | None = None) -> Sequence[Source[Chunk]]:
        """Its rows, as `example_sources` reads them."""
        return example_sources(self.examples, self.split, schema=schema, record_column=record_column)


def pieces_of(examples: Sequence[Examples], splits: Sequence[str], *, parameter: str) -> list[Piece]:
    """These splits of each artifact, artifact by artifact; without `splits`, all that an artifact has.

    Raises InvalidInputError, with `parameter` and the known splits, when an artifact lacks one.
    """
    return [
        Piece(one, split, name)
        for place, one in enumerate(examples)
        for split in named_splits(one, splits or one.properties.get("splits", []), parameter=parameter)
        for name in [piece_name(examples, place, split)]
    ]


def piece_name(artifacts: Sequence[Artifact], place: int, split: str) -> str:
    """What tells a split of one of several artifacts from those of the others, for people."""
    if len(artifacts) == 1:
        return split
    spans = [artifact.properties.get("span") for artifact in artifacts]
    is_told_by_span = spans[place] is not None and spans.count(spans[place]) == 1
    return f"{split} of {f'span {spans[place]}' if is_told_by_span else f'artifact {place + 1}'}"


def counts_by_split(counts: Mapping[Piece, int]) -> dict[str, int]:
    """The sums of the pieces' counts, by split."""
    sums: dict[str, int] = {}
    for piece, count in counts.items():
        sums[piece.split] = sums.get(piece.split, 0) + count
    return sums
