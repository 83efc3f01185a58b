"""What each kind of analyzer keeps of the data: accumulators that are filled batch by batch, and merged.

They know neither TensorFlow nor TFT's nodes. A `Combiner` is what TFT's own analyzers are made of: an object with
create_accumulator, add_input, merge_accumulators and extract_output, as `tensorflow_transform.analyzers` has.
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
"""What one analyzer is given of a batch: the values of its input tensors, in their order."""


class Accumulator(Protocol):
    """One analyzer's part of the pass over the data; picklable, and without state of its own."""

    def create(self) -> Any:
        """An empty state."""

    def add(self, state: Any, values: Values) -> Any:
        """The state with the values of another batch; may change the one that it is given."""

    def merge(self, states: Iterable[Any]) -> Any:
        """One state of at least one; may change them."""


@dataclass(frozen=True)
class Analyzer:
    """An analyzer's part in a pass over the data: the tensors it is given, by name, and what it keeps of them.

    What has the same `digest` keeps the same of equal rows; None if that cannot be told.
    """

    tensors: tuple[str, ...]
    accumulator: Accumulator
    digest: str | None = None


@dataclass(frozen=True)
class Combined:
    """Whatever a combiner computes: means and variances, sums, extremes, quantiles, covariances."""

    combiner: Any

    def create(self) -> Any:
        """The combiner's empty accumulator."""
        return self.combiner.create_accumulator()

    def add(self, state: Any, values: Values) -> Any:
        """The combiner's accumulator with a batch more."""
        return self.combiner.add_input(state, values)

    def merge(self, states: Iterable[Any]) -> Any:
        """The combiner's accumulators as one."""
        return self.combiner.merge_accumulators(list(states))


@dataclass(frozen=True)
class CombinedByKey:
    """What a combiner computes of the rows of each key: {key: the combiner's accumulator}."""

    combiner: Any

    def create(self) -> dict[Any, Any]:
        """No key yet."""
        return {}

    def add(self, state: dict[Any, Any], values: Values) -> dict[Any, Any]:
        """Add every row to the accumulator of its key; raises UserCodeError when keys and values are not rows."""
        keys, *arguments = values
        if keys.ndim != 1 or any(argument.shape[:1] != keys.shape for argument in arguments):
            shapes = ", ".join(str(argument.shape) for argument in arguments)
            raise UserCodeError(f"an analyzer by key got keys of the shape {keys.shape} and values of {shapes}")
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
    """How often each token occurs: {token: count}."""

    def create(self) -> Counter[Any]:
        """Nothing counted yet."""
        return Counter()

    def add(self, state: Counter[Any], values: Values) -> Counter[Any]:
        """Count the tokens of a batch."""
        (tokens,) = values
        state.update(np.ravel(tokens).tolist())
        return state

    def merge(self, states: Iterable[Counter[Any]]) -> Counter[Any]:
        """Add the counts up, in the first of the states."""
        merged, *others = states
        for other in others:
            merged.update(other)
        return merged


@dataclass(frozen=True)
class TokenWeights:
    """What the occurrences of each token weigh together: {token: weight}."""

    def create(self) -> dict[Any, float]:
        """Nothing weighed yet."""
        return defaultdict(float)

    def add(self, state: dict[Any, float], values: Values) -> dict[Any, float]:
        """Add the weights of a batch's tokens."""
        tokens, weights = values
        for token, weight in zip(tokens.tolist(), weights.tolist(), strict=True):
            state[token] += weight
        return state

    def merge(self, states: Iterable[dict[Any, float]]) -> dict[Any, float]:
        """Add the weights up, in the first of the states."""
        merged, *others = states
        for other in others:
            for token, weight in other.items():
                merged[token] += weight
        return merged
