"""Pairs of splits that a component compares: one of an artifact under test, and one of a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError
from airflow_provider_mlpipe.spelling import listed
from airflow_provider_mlpipe.storage.layout import as_path_part, folder_of

_PARAMETER = "include_split_pairs"


@dataclass(frozen=True, kw_only=True)
class SplitPair:
    """Two splits by their names; as text `<test>_<base>`, the pair's name in TFX."""

    test: str
    base: str

    def __str__(self) -> str:
        return f"{self.test}_{self.base}"


def split_pair_folder(artifact: Artifact, pair: SplitPair) -> Path:
    """The folder of one pair of splits, named as TFX names it."""
    return folder_of(artifact) / f"SplitPair-{as_path_part(str(pair), 'the pair of splits')}"


def check_split_pairs(given: object) -> None:
    """Raises InvalidValueError unless the known part of `include_split_pairs` is pairs; None is all right."""
    if not isinstance(given, (list, tuple)):
        return
    if not given:
        raise InvalidValueError(f"{_PARAMETER} is empty; leave it out to compare the splits of the same name")
    for place, pair in enumerate(given):
        if isinstance(pair, (list, tuple)) and len(pair) != 2:
            raise InvalidValueError(f"{_PARAMETER}[{place}] takes two names, [test split, base split], but got {pair}")


def select_split_pairs(
    test: Artifact, base: Artifact | None, include: Sequence[Sequence[str]] | None
) -> list[SplitPair]:
    """The pairs to compare: those of `include`, or else those of the same name. `base` is None if there is no baseline.

    Raises InvalidInputError, which lists the known splits, for an unknown split and when no name is in both artifacts;
    and for two pairs that would have the same folder.
    """
    known_test = _splits(test)
    known_base = known_test if base is None else _splits(base)
    if include is None:
        pairs = [SplitPair(test=name, base=name) for name in known_test if name in known_base]
        if not pairs:
            raise InvalidInputError(
                f"no split of {_described(test, known_test)} has the name of a split of "
                f"{_described(base or test, known_base)}; name the pairs in {_PARAMETER}"
            )
        return pairs
    check_split_pairs(include)
    pairs = list(dict.fromkeys(SplitPair(test=test_split, base=base_split) for test_split, base_split in include))
    for pair in pairs:
        _check_known(pair.test, test, known_test)
        if base is not None:
            _check_known(pair.base, base, known_base)
    _check_names(pairs)
    return pairs


def _splits(artifact: Artifact) -> list[str]:
    return list(artifact.properties.get("splits", ()))


def _described(artifact: Artifact, known: Sequence[str]) -> str:
    return f"{artifact.TYPE_NAME} {artifact.uri} ({listed(known) or 'none'})"


def _check_known(split: str, artifact: Artifact, known: Sequence[str]) -> None:
    if split not in known:
        raise InvalidInputError(
            f"{_PARAMETER} names the split {split!r}, which {artifact.TYPE_NAME} {artifact.uri} does not have; it has: "
            f"{listed(known) or 'none'}"
        )


def _check_names(pairs: Sequence[SplitPair]) -> None:
    named: dict[str, SplitPair] = {}
    for pair in pairs:
        other = named.setdefault(str(pair), pair)
        if other != pair:
            raise InvalidInputError(
                f"{_PARAMETER}: [{other.test!r}, {other.base!r}] and [{pair.test!r}, {pair.base!r}] would both be in "
                f"the folder SplitPair-{pair}; compare them in two components"
            )
