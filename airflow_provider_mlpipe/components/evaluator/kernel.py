"""The Evaluator's kernel: runs the models, and adds up by slice the sums that TFMA's metrics are derived from.

For confidence intervals it draws samples as TFMA does: independently for each pair of example and slice.
"""

from __future__ import annotations

import enum
import functools
import itertools
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto.config_pb2 import ConfidenceIntervalOptions, EvalConfig, ModelSpec
from tfx_bsl.public.tfxio import TFExampleRecord

from airflow_provider_mlpipe.components.evaluator.measures import NotCovered, improbable
from airflow_provider_mlpipe.components.evaluator.slicing import SliceKey, Slicer, comparable, listed
from airflow_provider_mlpipe.components.evaluator.sums import Members, Numbers, Places, Sums
from airflow_provider_mlpipe.components.evaluator.tfma_internals import (
    BOOTSTRAP_SAMPLES,
    DEFAULT_TRANSFORMS,
    JACKKNIFE_SAMPLES,
    Computations,
    Extractors,
    computations,
    signature_inputs,
    slice_specs,
)
from airflow_provider_mlpipe.records.batches import columns_of

_MERGED_AT_ONCE = 8


class Sampling(enum.Enum):
    """How samples for confidence intervals are drawn.

    NONE: no samples; JACKKNIFE: each sample leaves out a part of the examples; BOOTSTRAP: each sample counts each
    example a random number of times.
    """

    NONE = enum.auto()
    JACKKNIFE = enum.auto()
    BOOTSTRAP = enum.auto()

    @classmethod
    def of(cls, config: EvalConfig) -> Sampling:
        """Read it from the config's `options`."""
        if not config.options.compute_confidence_intervals.value:
            return cls.NONE
        method = config.options.confidence_intervals.method
        return cls.BOOTSTRAP if method == ConfidenceIntervalOptions.POISSON_BOOTSTRAP else cls.JACKKNIFE

    @property
    def size(self) -> int:
        """How many samples there are."""
        sizes: dict[Sampling, int] = {
            Sampling.NONE: 0,
            Sampling.JACKKNIFE: JACKKNIFE_SAMPLES,
            Sampling.BOOTSTRAP: BOOTSTRAP_SAMPLES,
        }
        return sizes[self]

    @property
    def groups(self) -> int:
        """How many groups a slice has: one for all its examples (empty in a jackknife), and one per sample."""
        return self.size + 1

    def full(self, number: int) -> list[int]:
        """Which groups make up all examples of the slice with this number."""
        first = number * self.groups
        return list(range(first, first + self.groups)) if self is Sampling.JACKKNIFE else [first]

    def sample(self, number: int, sample: int) -> list[int]:
        """Which groups make up a sample of that slice; samples are numbered from 0."""
        first = number * self.groups
        if self is Sampling.JACKKNIFE:
            return [first + one for one in range(1, self.groups) if one != sample + 1]
        return [first + 1 + sample]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to evaluate, in picklable form: an EvalConfig, the names and folders of its models, and a Schema."""

    config: bytes
    models: tuple[tuple[str, str], ...]
    schema: bytes | None

    @property
    def eval_config(self) -> EvalConfig:
        """The EvalConfig."""
        return EvalConfig.FromString(self.config)

    @property
    def known_schema(self) -> schema_pb2.Schema | None:
        """The Schema."""
        return None if self.schema is None else schema_pb2.Schema.FromString(self.schema)

    def read_schema(self) -> bytes | None:
        """Return the part of the schema to read the examples with: only features that are used.

        Only labels and weights may be dense. Slices take any number of values.
        """
        if self.schema is None:
            return None
        config, part = self.eval_config, self.known_schema
        assert part is not None
        values = value_keys(config)
        used = values | {name for spec in slice_specs(config) for name in spec.features}
        kept = [feature for feature in part.feature if feature.name in used]
        for feature in kept:
            if feature.name not in values:
                feature.ClearField("shape")
        del part.feature[:]
        part.feature.extend(kept)
        read: bytes = part.SerializeToString(deterministic=True)
        return read

    def representations(self) -> dict[str, schema_pb2.TensorRepresentation]:
        """How TFMA reads features, by name; none without a schema."""
        if self.schema is None:
            return {}
        reader = TFExampleRecord(
            file_pattern="", schema=self.known_schema, telemetry_descriptors=["mlpipe", "Evaluator"]
        )
        return dict(reader.TensorRepresentations())


def signatures(task: Task, spec: ModelSpec) -> list[tuple[str, dict[str, int]]]:
    """List the signatures to call on a model, with {input: DataType}; raises NotCovered if it lacks a required one."""
    model, transforms = dict(task.models)[spec.name], list(spec.preprocessing_function_names)
    return [
        *signature_inputs(model, [spec.signature_name], required=True),
        *signature_inputs(model, transforms or DEFAULT_TRANSFORMS, required=bool(transforms)),
    ]


def value_keys(config: EvalConfig) -> set[str]:
    """Name the features that labels and weights are read from."""
    keys = {key for spec in config.model_specs for key in (spec.label_key, spec.example_weight_key)}
    for spec in config.model_specs:
        keys |= {*spec.label_keys.values(), *spec.example_weight_keys.values()}
    return keys - {""}


@dataclass
class Accumulator:
    """The sums over `rows` examples. `slices` numbers the slices; `counts` is the number of examples in each group.

    `improbable` is the number of predictions outside 0 to 1 that a metric takes as probabilities.
    """

    rows: int = 0
    slices: dict[SliceKey, int] = field(default_factory=dict)
    counts: Sums = field(default_factory=lambda: Sums(1))
    sums: list[Sums] = field(default_factory=list)
    improbable: int = 0


@dataclass(frozen=True)
class EvaluationKernel:
    """Adds up a task's metrics over batches that have the serialized examples in tfma.ARROW_INPUT_COLUMN."""

    task: Task

    def create(self) -> Accumulator:
        """Return empty sums."""
        return Accumulator()

    def add(self, accumulator: Accumulator, batch: pa.RecordBatch) -> Accumulator:
        """Return the sums with a batch added; raises NotCovered for data that only TFMA's pipeline handles."""
        return self.merge([accumulator, _loaded(self.task).sums(batch)])

    def merge(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        """Merge the sums, a few at a time, so that memory does not grow with their number."""
        coming, merged = iter(accumulators), Accumulator()
        while some := list(itertools.islice(coming, _MERGED_AT_ONCE)):
            merged = self._merged([merged, *some])
        return merged

    def _merged(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        samples = Sampling.of(self.task.eval_config).groups
        slices: dict[SliceKey, int] = {}
        rows, improbable, counts, sums = 0, 0, [], []
        for one in accumulators:
            numbers = np.array([slices.setdefault(comparable(key), len(slices)) for key in one.slices], np.int64)
            groups = (numbers[:, None] * samples + np.arange(samples)).ravel()
            rows += one.rows
            improbable += one.improbable
            counts.append(one.counts.renumbered(groups))
            sums.append([each.renumbered(groups) for each in one.sums])
        filled = [some for some in sums if some]
        merged = [Sums.merged(parts[0].width, parts) for parts in zip(*filled, strict=True)]
        return Accumulator(rows, slices, Sums.merged(1, counts), merged, improbable)

    def extract(self, accumulator: Accumulator) -> Accumulator:
        """Return the sums."""
        return accumulator


@functools.lru_cache(maxsize=1)
def _loaded(task: Task) -> Loaded:
    """Load the models once per process."""
    return Loaded(task)


class Loaded:
    """A task with its models loaded."""

    def __init__(self, task: Task) -> None:
        config = task.eval_config
        self._sampling = Sampling.of(config)
        self._computations: Computations = computations(config, task.known_schema)
        self._slicer = Slicer(slice_specs(config))
        self._sliced_by = {name for spec in self._slicer.specs for name in spec.features}
        self._valued_by = value_keys(config)
        known_schema = task.known_schema
        self._inputs = {name for spec in config.model_specs for _, one in signatures(task, spec) for name in one}
        self._fields = None if known_schema is None else {one.name for one in known_schema.feature}
        models = [
            tfma.default_eval_shared_model(eval_saved_model_path=uri, model_name=name, eval_config=config)
            for name, uri in task.models
        ]
        representations = {name: one for name, one in task.representations().items() if name in self._valued_by}
        self._extractors = Extractors(config, models, representations)

    def sums(self, batch: pa.RecordBatch) -> Accumulator:
        """Add up a batch."""
        columns = columns_of(batch)
        records = columns.pop(tfma.ARROW_INPUT_COLUMN).flatten()
        raw = {name: one for name, one in columns.items() if self._is_feature(name, one)}
        if fed := self._inputs & raw.keys():
            raise NotCovered(f"a model's input has the name of a feature of the examples: {', '.join(sorted(fed))}")
        values = {name: one for name, one in raw.items() if name in self._valued_by}
        inputs, transformed = self._extractors(
            pa.RecordBatch.from_arrays(list(values.values()), names=list(values)),
            np.asarray(records),
        )
        slices: dict[SliceKey, int] = {}
        row, number = self._slicer.pairs(
            batch.num_rows,
            [{name: listed(one[name]) for name in self._sliced_by if name in one} for one in transformed],
            {name: one for name, one in raw.items() if name in self._sliced_by},
            slices,
        )
        members = dealt(self._sampling, row, number, records)
        return Accumulator(
            rows=batch.num_rows,
            slices=slices,
            counts=Sums.added(1, members.group, np.zeros(len(members.group), np.int64), _ones(members)),
            sums=[one.measure.sums(inputs, members) for one in self._computations.combined],
            improbable=max((improbable(one.measure, inputs) for one in self._computations.combined), default=0),
        )

    def _is_feature(self, name: str, column: pa.Array) -> bool:
        """Whether TFMA would see a column: some example has a value of it, and the schema, if there is one, has it."""
        return pa.types.is_large_list(column.type) and (self._fields is None or name in self._fields)


def dealt(sampling: Sampling, row: Places, number: Places, records: pa.Array) -> Members:
    """Assign the pairs of example and slice to samples, by the content of the examples."""
    group, size = number * sampling.groups, sampling.size
    if sampling is Sampling.NONE:
        return Members(row, group)
    random = np.random.default_rng(_checksum(records))
    if sampling is Sampling.JACKKNIFE:
        return Members(row, group + 1 + random.integers(size, size=len(row)))
    times = np.concatenate([np.ones((len(row), 1), np.int64), random.poisson(1, (len(row), size))], axis=1)
    pair, sample = np.nonzero(times)
    return Members(row[pair], group[pair] + sample, times[pair, sample])


def _ones(members: Members) -> Numbers:
    times = np.ones(len(members.group)) if members.times is None else members.times
    return times.reshape(-1, 1).astype(np.float64)


def _checksum(records: pa.Array) -> int:
    """Return a seed that depends on the data only, so that every engine samples equal data equally."""
    return zlib.crc32(b"".join(records.to_pylist()))
