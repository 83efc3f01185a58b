"""What the Evaluator's kernel draws for confidence intervals, as examples that TFMA evaluates without any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from evaluations import Evaluated, write_examples

from airflow_provider_mlpipe.artifacts import Examples

if TYPE_CHECKING:
    from airflow_provider_mlpipe.components.evaluator.sums import Array, Members

SAMPLES = 20  # TFMA's default, of either method
SLICED_BY_SAMPLE = {"slicing_specs": [{"feature_keys": ["sample"]}], "options": {}}
"""What an eval_config has instead, to evaluate each of Samples."""


@dataclass(frozen=True)
class Samples:
    """The slices, as `Evaluated` names them, with their numbers; and what samples of them have, by number."""

    numbers: Mapping[str, int]
    examples: Examples

    def values(self, evaluated: Evaluated, place: str, metric: str) -> Array | None:
        """A metric of a slice in each sample; None if there is a sample without an example of the slice."""
        keys = [(_text((("sample", f"{self.numbers[place]} {sample}".encode()),)), metric) for sample in range(SAMPLES)]
        if not evaluated.metrics.keys() >= {*keys}:
            return None
        return np.array([evaluated.metrics[key]["value"]["double_value"] for key in keys], np.float64)


def write_samples(folder: Path, config: Mapping[str, Any], examples: Examples) -> Samples:
    """Write each example as often as samples of its slices have it; its feature `sample` says of which, in which."""
    import pyarrow as pa
    import tensorflow_model_analysis as tfma

    from airflow_provider_mlpipe.components.evaluator import executor, kernel, slicing, tfma_internals
    from airflow_provider_mlpipe.records.batches import columns_of, of_columns, taken
    from airflow_provider_mlpipe.records.chunks import example_sources

    sources = example_sources(examples, "eval", record_column=tfma.ARROW_INPUT_COLUMN)
    (batch,) = (batch for source in sources for chunk in source.chunks() for batch in chunk.batches())
    columns = columns_of(batch)
    records = columns.pop(tfma.ARROW_INPUT_COLUMN).flatten()
    parsed = executor._parse(config)
    numbers: dict[slicing.SliceKey, int] = {}
    row, number = slicing.Slicer(tfma_internals.slice_specs(parsed)).pairs(len(records), [], columns, numbers)
    rows, names = zip(*_drawn(kernel.dealt(kernel.Sampling.of(parsed), row, number, records)), strict=True)
    resampled = columns_of(taken(of_columns(columns, len(records)), pa.array(rows)))
    written = write_examples(folder, resampled | {"sample": pa.array(names)})
    return Samples({_text(key): number for key, number in numbers.items()}, written)


def _drawn(members: Members) -> Iterator[tuple[int, str]]:
    """Yield the row of an example for each time that a sample has it, and which: numbers of its slice and of itself."""
    for place, (row, group) in enumerate(zip(members.row, members.group, strict=True)):
        number, part = divmod(group, SAMPLES + 1)
        if members.times is None:  # a jackknife: all samples but one
            yield from ((row, f"{number} {sample}") for sample in range(SAMPLES) if sample != part - 1)
        elif part:  # else it is the slice itself
            yield from [(row, f"{number} {part - 1}")] * members.times[place]


def _text(key: Any) -> str:
    from google.protobuf import json_format
    from tensorflow_model_analysis.slicer import slicer_lib

    plain = json_format.MessageToDict(slicer_lib.serialize_slice_key(key), preserving_proto_field_name=True)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)
