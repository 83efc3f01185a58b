"""A Kernel that runs all analyzers of a phase in one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from airflow_provider_mlpipe.components.transform.accumulators import Analyzer
from airflow_provider_mlpipe.components.transform.saved_graph import SavedGraph, of_split


@dataclass(frozen=True)
class AnalyzersKernel:
    """Computes the states of a phase's analyzers from batches of raw rows of a split: {label: state}.

    `graph` is the graph of the phase, which outputs the analyzers' input tensors.
    """

    graph: SavedGraph
    analyzers: Mapping[str, Analyzer]
    split: str = ""

    def create(self) -> dict[str, Any]:
        """Return every analyzer's empty state."""
        return {label: analyzer.accumulator.create() for label, analyzer in self.analyzers.items()}

    def add(self, states: dict[str, Any], batch: pa.RecordBatch) -> dict[str, Any]:
        """Apply the graph to a batch, and give each analyzer its tensors; raises GraphError where an op fails."""
        with of_split(self.split):
            outputs = {name: np.asarray(tensor) for name, tensor in self.graph.apply(batch).items()}
        for label, analyzer in self.analyzers.items():
            values = tuple(outputs[name] for name in analyzer.tensors)
            states[label] = analyzer.accumulator.add(states[label], values)
        return states

    def merge(self, accumulators: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Merge the states of each analyzer, in the order in which they come."""
        merged: dict[str, Any] | None = None
        for states in accumulators:
            merged = states if merged is None else self._merge_two(merged, states)
        return self.create() if merged is None else merged

    def _merge_two(self, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
        return {
            label: analyzer.accumulator.merge([first[label], second[label]])
            for label, analyzer in self.analyzers.items()
        }

    def extract(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Return the states as they are: TFT's nodes compute values from them."""
        return accumulator
