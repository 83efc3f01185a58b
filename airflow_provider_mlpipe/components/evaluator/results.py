"""Turns the kernel's sums into TFMA's result files. TFMA's own code derives, validates and writes the metrics.

The order is TFMA's: derived metrics, differences of slices, differences of models, confidence intervals, metrics that
are derived from those, and the limit for small slices. The engine runs this in parallel, because AUC's ten thousand
buckets take time: each slice is a piece of work, or all slices are one if they are compared.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig

from airflow_provider_mlpipe.components.evaluator.kernel import Accumulator, Sampling, Task
from airflow_provider_mlpipe.components.evaluator.slicing import SliceKey
from airflow_provider_mlpipe.components.evaluator.tfma_internals import (
    ERROR,
    Computations,
    Metrics,
    computations,
    is_number,
    is_of,
    is_private,
    of_kind,
    public,
    with_intervals,
    write,
)
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.engine import map_chunks

Sliced = dict[Any, Metrics]
"""Metrics by slice key, or by a pair of slice keys that are compared."""


def write_results(
    task: Task, sums: Accumulator, models: Sequence[tfma.EvalSharedModel], output: str, context: ExecutorContext
) -> None:
    """Write metrics, plots, attributions, validations and the config to a folder, as TFMA does."""
    sliced = [pair for some in map_chunks(_pairs, _slices(task, sums), context) for pair in some]
    results = {
        kind: [(key, of_kind(key, metrics, kind)) for key, metrics in sliced]
        for kind in (tfma.METRICS_KEY, tfma.PLOTS_KEY, tfma.ATTRIBUTIONS_KEY)
    }
    write(Path(output), results, task.eval_config, models)


@dataclass(frozen=True)
class _Slices:
    """Slices whose metrics are derived together. It is both a source and its only chunk."""

    task: Task
    sums: Accumulator

    def chunks(self) -> Iterator[_Slices]:
        yield self


def _slices(task: Task, sums: Accumulator) -> list[_Slices]:
    if task.eval_config.cross_slicing_specs:
        return [_Slices(task, sums)]
    groups = Sampling.of(task.eval_config).groups
    return [
        _Slices(
            task,
            Accumulator(
                slices={key: 0},
                counts=sums.counts.part(number * groups, groups),
                sums=[one.part(number * groups, groups) for one in sums.sums],
            ),
        )
        for key, number in sums.slices.items()
    ]


def _pairs(slices: _Slices) -> list[tuple[Any, Metrics]]:
    """Derive the metrics of slices."""
    config = slices.task.eval_config
    return list(_sliced(config, _known(slices.task), slices.sums).items())


@functools.lru_cache(maxsize=1)
def _known(task: Task) -> Computations:
    return computations(task.eval_config, task.known_schema)


def _sliced(config: EvalConfig, known: Computations, sums: Accumulator) -> Sliced:
    sampling, numbers = Sampling.of(config), sums.slices
    full = _derived(config, known, {key: _base(known, sums, sampling.full(number)) for key, number in numbers.items()})
    if sampling is not Sampling.NONE:
        full = _with_intervals(config, known, sums, full)
    for metrics in full.values():
        for computation in known.ci_derived:
            metrics.update(computation.result(metrics))
    sizes = {key: _size(sums, sampling.full(number)) for key, number in numbers.items()}
    return _of_large_slices(config, sizes, {key: public(key, metrics) for key, metrics in full.items()})


def _with_intervals(config: EvalConfig, known: Computations, sums: Accumulator, full: Sliced) -> Sliced:
    sampling = Sampling.of(config)
    samples = [_derived(config, known, _sample(known, sums, sampling, number)) for number in range(sampling.size)]
    return {
        key: with_intervals(
            config,
            metrics,
            [sample[key] for sample in samples if key in sample],
            bootstrap=sampling is Sampling.BOOTSTRAP,
        )
        for key, metrics in full.items()
    }


def _sample(known: Computations, sums: Accumulator, sampling: Sampling, sample: int) -> Sliced:
    """Return a sample's metrics. As in TFMA, a jackknife sample lacks the slices of which it has no example."""
    groups = {key: sampling.sample(number, sample) for key, number in sums.slices.items()}
    return {
        key: _base(known, sums, some)
        for key, some in groups.items()
        if sampling is Sampling.BOOTSTRAP or _size(sums, some)
    }


def _size(sums: Accumulator, groups: Iterable[int]) -> int:
    return int(sums.counts.of_groups(groups)[1].sum())


def _base(known: Computations, sums: Accumulator, groups: Sequence[int]) -> Metrics:
    """Return the metrics that the combiners derive from the sums of some groups."""
    found: Metrics = {}
    for combined, one in zip(known.combined, sums.sums, strict=True):
        found.update(combined.metrics(*one.of_groups(groups)))
    return found


def _derived(config: EvalConfig, known: Computations, sliced: Sliced) -> Sliced:
    for metrics in sliced.values():
        for computation in known.derived:
            metrics.update(computation.result(metrics))
    compared = sliced | _cross_slices(config, known, sliced)
    baseline = next((spec.name for spec in config.model_specs if spec.is_baseline), None)
    if baseline:
        for metrics in compared.values():
            metrics.update(_differences(metrics, baseline))
    return compared


def _cross_slices(config: EvalConfig, known: Computations, sliced: Sliced) -> Sliced:
    """Compare slices: by pair of slice keys, the first slice's value minus the second's."""
    found: Sliced = {}
    for spec in config.cross_slicing_specs:
        bases = [key for key in sliced if is_of(key, [spec.baseline_spec])]
        others = [
            key
            for key in sliced
            if (is_of(key, spec.slicing_specs) if spec.slicing_specs else not is_of(key, [spec.baseline_spec]))
        ]
        for pair in ((base, other) for base in bases for other in others):
            found[pair] = _comparison(known, sliced[pair[0]], sliced[pair[1]])
    return found


def _comparison(known: Computations, base: Metrics, other: Metrics) -> Metrics:
    found = {
        key: base[key] - value
        for key, value in other.items()
        if key in base and type(key) is tfma.metrics.MetricKey and not is_private(key)
    }
    for computation in known.cross_slice:
        found.update(computation.cross_slice_comparison(base, other))
    return found


def _differences(metrics: Metrics, baseline: str) -> Metrics:
    """Return the candidate's metrics minus the baseline's."""
    found: Metrics = {}
    for key, value in metrics.items():
        if is_private(key) or key.is_diff or key.model_name == baseline or not is_number(value):
            continue
        if (other := metrics.get(key.make_baseline_key(baseline))) is not None:
            found[key.make_diff_key()] = value - other
    return found


def _of_large_slices(config: EvalConfig, sizes: Mapping[SliceKey, int], sliced: Sliced) -> Sliced:
    """Replace the metrics of slices with fewer examples than `min_slice_size` by TFMA's message.

    The slice of all examples keeps its metrics.
    """
    least = config.options.min_slice_size.value
    if least <= 1:
        return sliced
    message = (
        f"Example count for this slice key is lower than the minimum required value: {least}. "
        "No data is aggregated for this slice."
    )
    return {key: metrics if not key or sizes[key] >= least else {ERROR: message} for key, metrics in sliced.items()}
