"""Accumulators for each kind of analyzer: they compute states batch by batch, and merge them.

They know neither TensorFlow nor TFT's nodes. A `Combiner` is the basis of TFT's own analyzers: an object with
create_accumulator, add_input, merge_accumulators and extract_output, as in `tensorflow_transform.analyzers`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from airflow_provider_mlpipe.exceptions import UserCodeError

Values: TypeAlias = Sequence[npt.NDArray[Any]]
"""An analyzer's input from one batch: the values of its input tensors, in their order."""


class Accumulator(Protocol):
    """One analyzer's part of the pass over the data. It is picklable, and holds no state itself."""

    def create(self) -> Any:
        """An empty state."""

    def add(self, state: Any, values: Values) -> Any:
        """The state with the values of another batch added; may change the given state."""

    def merge(self, states: Iterable[Any]) -> Any:
        """One or more states merged into one; may change the given states."""


@dataclass(frozen=True)
class Analyzer:
    """An analyzer's part in a pass over the data: the names of its input tensors, and its accumulator.

    Analyzers with the same `digest` compute equal states from equal rows; None if that is not certain.
    """

    tensors: tuple[str, ...]
    accumulator: Accumulator
    digest: str | None = None


@dataclass(frozen=True)
class Combined:
    """Runs a combiner: for means and variances, sums, extremes, quantiles, covariances."""

    combiner: Any

    def create(self) -> Any:
        """The combiner's empty accumulator."""
        return self.combiner.create_accumulator()

    def add(self, state: Any, values: Values) -> Any:
        """The combiner's accumulator with another batch added."""
        return self.combiner.add_input(state, values)

    def merge(self, states: Iterable[Any]) -> Any:
        """The combiner's accumulators, merged into one."""
        return self.combiner.merge_accumulators(list(states))


@dataclass(frozen=True)
class CombinedByKey:
    """Runs a combiner on the rows of each key: {key: the combiner's accumulator}."""

    combiner: Any

    def create(self) -> dict[Any, Any]:
        """A state without keys."""
        return {}

    def add(self, state: dict[Any, Any], values: Values) -> dict[Any, Any]:
        """Add every row to the accumulator of its key; raises UserCodeError unless each row has one key."""
        keys, *arguments = values
        if keys.ndim != 1 or any(argument.shape[:1] != keys.shape for argument in arguments):
            shapes = ", ".join(str(argument.shape) for argument in arguments)
            raise UserCodeError(
                f"an analyzer by key got keys of shape {keys.shape} and values of shape {shapes}; give each row one key"
            )
        for row, key in enumerate(keys.tolist()):
            accumulator = state[key] if key in state else self.combiner.create_accumulator()
            state[key] = self.combiner.add_input(accumulator, [argument[row] for argument in arguments])
        return state

    def merge(self, states: Iterable[dict[Any, Any]]) -> dict[Any, Any]:
        """Merge the accumulators of each key."""
        found = defaultdict(list)
        for state in states:
            for key, accumulator in state.items():
                found[key].append(accumulator)
        return {key: self.combiner.merge_accumulators(accumulators) for key, accumulators in found.items()}


@dataclass(frozen=True)
class TokenCounts:
    """Counts how often each token occurs: {token: count}."""

    def create(self) -> Counter[Any]:
        """A state without counts."""
        return Counter()

    def add(self, state: Counter[Any], values: Values) -> Counter[Any]:
        """Count the tokens of a batch."""
        (tokens,) = values
        state.update(np.ravel(tokens).tolist())
        return state

    def merge(self, states: Iterable[Counter[Any]]) -> Counter[Any]:
        """Add up the counts in the first state."""
        merged, *others = states
        for other in others:
            merged.update(other)
        return merged


@dataclass(frozen=True)
class TokenWeights:
    """Adds up the weights of each token: {token: weight}."""

    def create(self) -> dict[Any, float]:
        """A state without weights."""
        return defaultdict(float)

    def add(self, state: dict[Any, float], values: Values) -> dict[Any, float]:
        """Add the weights of a batch's tokens."""
        tokens, weights = values
        for token, weight in zip(tokens.tolist(), weights.tolist(), strict=True):
            state[token] += weight
        return state

    def merge(self, states: Iterable[dict[Any, float]]) -> dict[Any, float]:
        """Add up the weights in the first state."""
        merged, *others = states
        for other in others:
            for token, weight in other.items():
                merged[token] += weight
        return merged
