"""The only module that uses TFMA's private API: combiners and accumulators, extractors, steps after the combiners.

The parts used here are the same in TFMA 0.47 and 0.52. `tests/executors/evaluator/test_tfma_internals.py` names what a
later version has changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow.python.saved_model import loader_impl
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.contrib.aggregates import binary_confusion_matrices as threshold_counts
from tensorflow_model_analysis.evaluators import confidence_intervals_util as samples
from tensorflow_model_analysis.evaluators import jackknife, metrics_validator, poisson_bootstrap
from tensorflow_model_analysis.evaluators import metrics_plots_and_validations_evaluator as evaluator
from tensorflow_model_analysis.extractors import transformed_features_extractor
from tensorflow_model_analysis.metrics import (
    aggregation,
    binary_confusion_matrices,
    calibration,
    calibration_histogram,
    cross_entropy_metrics,
    example_count,
    mean_regression_error,
    metric_specs,
    metric_types,
    metric_util,
    multi_class_confusion_matrix_metrics,
    squared_pearson_correlation,
    tf_metric_wrapper,
    tjur_discrimination,
)
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig, MetricsSpec, SlicingSpec
from tensorflow_model_analysis.slicer import slice_accessor, slicer_lib
from tensorflow_model_analysis.utils import model_util, util
from tensorflow_model_analysis.writers import eval_config_writer
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as results_writer

from airflow_provider_mlpipe.components.evaluator.measures import (
    BinaryCrossEntropy,
    ClassCounts,
    ClassWeights,
    Explained,
    Histogram,
    Inputs,
    Measure,
    Moments,
    NotCovered,
    RegressionError,
    Selection,
    ThresholdCounts,
    Totals,
    WeightSum,
    one_hot,
)
from airflow_provider_mlpipe.components.evaluator.slicing import SliceKey, SliceSpec
from airflow_provider_mlpipe.components.evaluator.sums import Array, Members, Numbers, Places, Sums
from airflow_provider_mlpipe.exceptions import InvalidInputError

Metrics = dict[Any, Any]
"""Values of a slice by MetricKey, PlotKey or AttributionsKey, as in TFMA."""

JACKKNIFE_SAMPLES = evaluator._DEFAULT_NUM_JACKKNIFE_BUCKETS
BOOTSTRAP_SAMPLES = evaluator._DEFAULT_NUM_BOOTSTRAP_SAMPLES


ERROR: str = constants.ERROR_METRIC_NAME
"""The key under which a slice says why it has no metrics."""


# ---- combiners


@dataclass(frozen=True)
class Combined:
    """A TFMA combiner, the measure that computes its sums, and a function that fills its accumulator with the sums."""

    combiner: Any
    measure: Measure
    fill: Callable[[Any, Any, Places, Numbers], Any]

    def metrics(self, cell: Places, values: Numbers) -> Metrics:
        """Derive the combiner's metrics from the sums of a slice."""
        accumulator = self.fill(self.combiner, self.measure, cell, values)
        found: Metrics = self.combiner.extract_output(accumulator)
        return found


@dataclass(frozen=True)
class Computations:
    """The metrics of an EvalConfig: `combined` are computed from examples, the others from metrics."""

    combined: list[Combined]
    derived: list[Any]
    cross_slice: list[Any]
    ci_derived: list[Any]


def computations(config: EvalConfig, schema: schema_pb2.Schema | None) -> Computations:
    """Build the computations of a config; raises NotCovered for one without a measure.

    Creates Keras metrics, so it runs TensorFlow ops.
    """
    specs = list(config.metrics_specs)
    found = evaluator._filter_and_separate_computations(
        metric_specs.to_computations(specs, eval_config=config, schema=schema)
    )
    combined = [_combined(one) for one in found.non_derived_computations]
    return Computations(
        combined, found.derived_computations, found.cross_slice_computations, found.ci_derived_computations
    )


def _combined(computation: Any) -> Combined:
    combiner = computation.combiner
    kind = type(combiner)
    if kind is example_count._ExampleCountCombiner:
        return Combined(combiner, _example_count(combiner), _fill_example_count)
    if computation.preprocessors or kind not in _COMBINERS:
        raise NotCovered(f"only TFMA computes the sums of {kind.__name__.strip('_')}")
    extract = getattr(combiner, "_extract_label_prediction_and_weight", None)
    if extract not in (None, metric_util.to_label_prediction_example_weight):
        raise NotCovered(f"{kind.__name__.strip('_')} takes labels and predictions in its own way")
    measure, fill = _COMBINERS[kind]
    return Combined(combiner, measure(combiner), fill)


def _selection(combiner: Any, *, flatten: bool = True, fractional: bool = False) -> Selection:
    key = getattr(combiner, "_key", None) or combiner._metric_key
    return Selection(
        model=key.model_name or "",
        output=key.output_name or "",
        of_classes=_of_classes(key.sub_key, getattr(combiner, "_aggregation_type", None)),
        class_weights=_class_weights(combiner),
        weighted=bool(combiner._example_weighted),
        fractional=fractional,
        flatten=flatten,
    )


def _of_classes(sub_key: Any, aggregation_type: Any) -> Callable[[Array, Array], tuple[Array, Array]] | None:
    return None if sub_key is None else functools.partial(_choose_classes, sub_key, aggregation_type)


def _choose_classes(sub_key: Any, aggregation_type: Any, label: Array, prediction: Array) -> tuple[Array, Array]:
    """Choose a class, or the top ones, of [rows, classes] with TFMA's own code."""
    inputs = metric_types.StandardMetricInputs({tfma.LABELS_KEY: label, tfma.PREDICTIONS_KEY: prediction})
    try:
        ((label, prediction, _),) = metric_util.to_label_prediction_example_weight(
            inputs, sub_key=sub_key, aggregation_type=aggregation_type, flatten=False, squeeze=False
        )
    except ValueError as error:
        raise NotCovered(str(error)) from error
    return label, prediction


def _class_weights(combiner: Any) -> tuple[tuple[int, float], ...]:
    return tuple(sorted((getattr(combiner, "_class_weights", None) or {}).items()))


def _example_count(combiner: Any) -> WeightSum:
    return WeightSum(
        Selection(model=combiner._model_name, output=combiner._output_name, weighted=combiner._example_weighted)
    )


def _fill_example_count(combiner: Any, measure: WeightSum, cell: Places, values: Numbers) -> float:
    return _sum(values, measure)[0]


def _sum(values: Numbers, measure: Measure) -> list[float]:
    """Return the values of the only cell; zeros for an empty slice."""
    summed: list[float] = (values.sum(axis=0) if len(values) else np.zeros(measure.width)).tolist()
    return summed


def _totals(combiner: Any) -> Totals:
    if combiner._key.sub_key and combiner._key.sub_key.top_k is not None:
        raise NotCovered("calibration at top_k")
    return Totals(_selection(combiner))


def _fill_totals(combiner: Any, measure: Totals, cell: Places, values: Numbers) -> Any:
    filled = combiner.create_accumulator()
    filled.total_weighted_labels, filled.total_weighted_predictions, filled.total_weighted_examples = _sum(
        values, measure
    )
    return filled


def _histogram(combiner: Any) -> Histogram:
    return Histogram(
        selection=_selection(combiner, fractional=combiner._fractional_labels),
        buckets=combiner._num_buckets,
        left=combiner._left,
        range=combiner._range,
        by_prediction=combiner._prediction_based_bucketing,
    )


def _fill_histogram(combiner: Any, measure: Histogram, cell: Places, values: Numbers) -> Any:
    buckets = zip(cell.tolist(), values.tolist(), strict=True)
    return {bucket: calibration_histogram.Bucket(bucket, *numbers) for bucket, numbers in buckets}


def _threshold_counts(combiner: Any) -> ThresholdCounts:
    counts = combiner._binary_confusion_matrices
    thresholds = [float(one) for one in counts._thresholds]
    if combiner._example_id_key or len(set(thresholds)) < len(thresholds):
        raise NotCovered("a confusion matrix with example ids, or with the same threshold twice")
    fractional = counts._enable_fractional_labels
    return ThresholdCounts(
        selection=_selection(combiner, fractional=fractional),
        thresholds=tuple(sorted(thresholds)),
        compare_labels=not fractional,
    )


def _fill_threshold_counts(combiner: Any, measure: ThresholdCounts, cell: Places, values: Numbers) -> Any:
    def entry(threshold: float) -> Any:
        counts = measure.matrix(cell, values[:, 0], measure.thresholds.index(threshold))
        return threshold_counts._ThresholdEntry(threshold_counts.Matrix(*counts), [], [], [], [])

    return {threshold: entry(float(threshold)) for threshold in combiner._binary_confusion_matrices._thresholds}


def _class_counts(combiner: Any) -> ClassCounts:
    return ClassCounts(_selection(combiner, flatten=False), tuple(combiner._thresholds))


def _fill_class_counts(combiner: Any, measure: ClassCounts, cell: Places, values: Numbers) -> Any:
    filled = combiner.create_accumulator()
    for place, (weight,) in zip(cell.tolist(), values.tolist(), strict=True):
        threshold, actual, predicted = measure.place(place)
        key = multi_class_confusion_matrix_metrics.MatrixEntryKey(actual, predicted)
        filled.setdefault(threshold, {})[key] = weight
    return filled


def _regression_error(kind: str) -> Callable[[Any], RegressionError]:
    return lambda combiner: RegressionError(_selection(combiner), kind)


def _fill_regression_error(combiner: Any, measure: RegressionError, cell: Places, values: Numbers) -> Any:
    filled = combiner.create_accumulator()
    filled.total_regression_error, filled.total_example_weights = _sum(values, measure)
    return filled


def _cross_entropy(combiner: Any) -> BinaryCrossEntropy:
    return BinaryCrossEntropy(
        _selection(combiner, flatten=False), bool(combiner._from_logits), float(combiner._label_smoothing)
    )


def _fill_cross_entropy(combiner: Any, measure: BinaryCrossEntropy, cell: Places, values: Numbers) -> Any:
    filled = combiner.create_accumulator()
    filled.total_cross_entropy, filled.total_example_weights = _sum(values, measure)
    return filled


_CORRELATION = {
    "total_weighted_labels": "l",
    "total_weighted_predictions": "p",
    "total_weighted_squared_labels": "ll",
    "total_weighted_squared_predictions": "pp",
    "total_weighted_labels_times_predictions": "lp",
    "total_weighted_examples": "",
}
_DISCRIMINATION = {
    "total_negative_weighted_predictions": "np",
    "total_negative_weighted_labels": "n",
    "total_positive_weighted_predictions": "lp",
    "total_positive_weighted_labels": "l",
}


def _moments(terms: Mapping[str, str]) -> tuple[Callable[[Any], Moments], Callable[..., Any]]:
    def fill(combiner: Any, measure: Moments, cell: Places, values: Numbers) -> Any:
        filled = combiner.create_accumulator()
        for name, value in zip(terms, _sum(values, measure), strict=True):
            setattr(filled, name, value)
        return filled

    return lambda combiner: Moments(_selection(combiner), tuple(terms.values())), fill


def _label_weights(combiner: Any) -> ClassWeights:
    return ClassWeights(_selection(combiner, flatten=False), tuple(combiner._class_ids))


def _fill_label_weights(combiner: Any, measure: ClassWeights, cell: Places, values: Numbers) -> dict[int, float]:
    return dict(zip(measure.classes, _sum(values, measure), strict=True))


@dataclass(frozen=True)
class KerasMetrics:
    """The variables of Keras metrics, one after the other in a vector. TFMA adds them up over batches, too."""

    combiner: Any

    @functools.cached_property
    def metrics(self) -> list[list[Any]]:
        """The metrics of each output."""
        self.combiner.setup()
        return [self.combiner._metrics[output] for output in self.combiner._output_names]

    @functools.cached_property
    def shapes(self) -> list[list[list[tuple[int, ...]]]]:
        """The shapes of the variables of each metric of each output."""
        return [[[np.shape(one) for one in metric.get_weights()] for metric in some] for some in self.metrics]

    @property
    def width(self) -> int:
        """How many numbers the variables have."""
        return sum(int(np.prod(shape)) for some in self.shapes for metric in some for shape in metric)

    def sums(self, inputs: Inputs, members: Members) -> Sums:
        """Update the metrics with the examples of each group, and return their variables."""
        chosen = [self._examples(inputs, output) for output in self.combiner._output_names]
        order = np.argsort(members.group, kind="stable")
        group, first = np.unique(members.group[order], return_index=True)
        rows = np.split(order, first[1:])
        values = [self._variables(chosen, members, pairs) for pairs in rows]
        return Sums.added(self.width, group, np.zeros(len(group), np.int64), np.array(values).reshape(-1, self.width))

    def _examples(self, inputs: Inputs, output: str) -> tuple[Array, Array, Array, int]:
        combiner = self.combiner
        micro = bool(combiner._aggregation_type and combiner._aggregation_type.micro_average)
        sub_key = None if combiner._sub_key_in_config else combiner._sub_key
        chosen = Selection(
            model=combiner._model_name or "",
            output=output,
            of_classes=_of_classes(sub_key, combiner._aggregation_type),
            class_weights=_class_weights(combiner),
            weighted=bool(combiner._example_weighted),
            flatten=micro,
        ).examples(inputs)
        label = chosen.known_label()
        if combiner._sub_key_in_config:
            label = one_hot(label, chosen.prediction)
        return label, chosen.prediction, chosen.weight.reshape(-1, 1), len(chosen.row) // max(1, inputs.rows)

    def _variables(self, chosen: Sequence[Any], members: Members, pairs: Places) -> Numbers:
        row = members.row[pairs]
        if members.times is not None:
            row = np.repeat(row, members.times[pairs])
        found: list[Numbers] = []
        for metrics, (label, prediction, weight, classes) in zip(self.metrics, chosen, strict=True):
            places = (row[:, None] * classes + np.arange(classes)).ravel()
            for metric in metrics:
                metric.reset_states()
                if len(places):
                    metric.update_state(label[places], prediction[places], weight[places])
                found.extend(np.ravel(variable).astype(np.float64) for variable in metric.get_weights())
        return np.concatenate(found)


def _keras_metrics(combiner: Any) -> KerasMetrics:
    return KerasMetrics(combiner)


def _fill_keras_metrics(combiner: Any, measure: KerasMetrics, cell: Places, values: Numbers) -> Any:
    combiner.setup()
    filled = combiner.create_accumulator()
    numbers = iter(_sum(values, measure))
    for output, metrics in enumerate(measure.shapes if len(values) else []):
        for metric, shapes in enumerate(metrics):
            weights = [
                np.fromiter(numbers, np.float64, count=int(np.prod(shape))).reshape(shape).astype(np.float32)
                for shape in shapes
            ]
            filled.add_weights(output, metric, weights)
    return filled


_COMBINERS: dict[type, tuple[Callable[[Any], Measure], Callable[..., Any]]] = {
    calibration._WeightedLabelsPredictionsExamplesCombiner: (_totals, _fill_totals),
    calibration_histogram._CalibrationHistogramCombiner: (_histogram, _fill_histogram),
    binary_confusion_matrices._BinaryConfusionMatrixCombiner: (_threshold_counts, _fill_threshold_counts),
    multi_class_confusion_matrix_metrics._MultiClassConfusionMatrixCombiner: (_class_counts, _fill_class_counts),
    mean_regression_error._MeanAbsoluteErrorCombiner: (_regression_error("absolute"), _fill_regression_error),
    mean_regression_error._MeanSquaredErrorCombiner: (_regression_error("squared"), _fill_regression_error),
    mean_regression_error._MeanAbsolutePercentageErrorCombiner: (
        _regression_error("percentage"),
        _fill_regression_error,
    ),
    mean_regression_error._MeanSquaredLogarithmicErrorCombiner: (
        _regression_error("squared_logarithmic"),
        _fill_regression_error,
    ),
    cross_entropy_metrics._BinaryCrossEntropyCombiner: (_cross_entropy, _fill_cross_entropy),
    squared_pearson_correlation._SquaredPearsonCorrelationCombiner: _moments(_CORRELATION),
    tjur_discrimination._TjurDiscriminationCombiner: _moments(_DISCRIMINATION),
    aggregation._ClassWeightsFromLabelsCombiner: (_label_weights, _fill_label_weights),
    tf_metric_wrapper._CompilableMetricsCombiner: (_keras_metrics, _fill_keras_metrics),
}


# ---- extractors


class Extractors:
    """Does what TFMA's extractors do with a whole batch: transformed features, predictions, labels, weights.

    The constructor loads the models.
    """

    def __init__(
        self,
        config: EvalConfig,
        models: Sequence[tfma.EvalSharedModel],
        representations: Mapping[str, schema_pb2.TensorRepresentation],
    ) -> None:
        self._specs = list(config.model_specs)
        self._representations = dict(representations)
        shared = {model.model_name: model for model in model_util.verify_and_update_eval_shared_models(list(models))}
        names = {spec.name: spec.name if len(self._specs) > 1 else "" for spec in self._specs}
        self._transform = model_util.ModelSignaturesDoFn(
            model_specs=self._specs,
            eval_shared_models=shared,
            output_keypath=[constants.TRANSFORMED_FEATURES_KEY],
            signature_names={names[spec.name]: list(spec.preprocessing_function_names) for spec in self._specs},
            default_signature_names=list(transformed_features_extractor._DEFAULT_SIGNATURE_NAMES),
            prefer_dict_outputs=True,
        )
        self._predict = model_util.ModelSignaturesDoFn(
            model_specs=self._specs,
            eval_shared_models=shared,
            output_keypath=[tfma.PREDICTIONS_KEY],
            signature_names={names[spec.name]: [spec.signature_name] for spec in self._specs},
            prefer_dict_outputs=False,
        )
        for step in (self._transform, self._predict):
            step.setup()

    def __call__(self, features: pa.RecordBatch, records: Array) -> tuple[Inputs, list[dict[str, Array]]]:
        """Return the inputs of metrics, and the transformed features, by name, of each model that has some."""
        extracts = {
            tfma.FEATURES_KEY: util.record_batch_to_tensor_values(features, self._representations),
            tfma.INPUT_KEY: records,
        }
        for step in (self._transform, self._predict):
            extracts, *others = step.process(extracts)
            if others:  # TFMA has called the model again for each example
                raise NotCovered("the model fails on a batch of examples, or does not return a row for each")
        keys = [spec.name if len(self._specs) > 1 else "" for spec in self._specs]
        inputs = Inputs(
            rows=len(records),
            labels=_each(_dense, self._values("label_key", "label_keys", extracts, allow_missing=True)),
            predictions=extracts[tfma.PREDICTIONS_KEY],
            weights=_each(_dense, self._values("example_weight_key", "example_weight_keys", extracts)),
            label_key=dict(zip(keys, (spec.label_key for spec in self._specs), strict=True)),
            prediction_key=dict(zip(keys, (spec.prediction_key for spec in self._specs), strict=True)),
        )
        return inputs, self._transformed(extracts[constants.TRANSFORMED_FEATURES_KEY])

    def _values(self, field: str, by_output: str, extracts: Any, *, allow_missing: bool = False) -> Any:
        return model_util.get_feature_values_for_model_spec_field(
            self._specs, field, by_output, extracts, allow_missing
        )

    def _transformed(self, features: Mapping[str, Any]) -> list[dict[str, Array]]:
        if len(self._specs) == 1:
            return [dict(features)] if features else []
        return [dict(features[spec.name]) for spec in self._specs if spec.name in features]


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _each(change, one) for key, one in value.items()}
    return value if value is None else change(value)


def _dense(value: Any) -> Any:
    """Return values as an array [rows, n]; raises NotCovered unless each example has the same number of them."""
    if not isinstance(value, tfma.types.VarLenTensorValue):
        return value
    rows = int(value.dense_shape[0])
    count = np.bincount(value.indices[:, 0], minlength=rows)
    if not rows or not count.min() or count.min() != count.max():
        raise NotCovered("a label or a weight of which some examples have no value, or more values than others")
    return np.asarray(value.values).reshape(rows, -1)


def signature_inputs(model: str, names: Iterable[str], *, required: bool) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield names of signatures with {input: DataType}, without loading the SavedModel; skips those that it lacks.

    Raises NotCovered for a missing one that is `required`.
    """
    saved = loader_impl.parse_saved_model(model)
    for name in names:
        try:
            signature = model_util.get_signature_def_from_saved_model_proto(name, saved)
        except ValueError as error:
            if required:
                known = sorted({key for graph in saved.meta_graphs for key in graph.signature_def} - _NOT_TO_CALL)
                raise Explained(
                    f"the model {model} has no signature {name!r}; it has {', '.join(known) or 'none'}"
                ) from error
            continue
        yield name, {key: value.dtype for key, value in signature.inputs.items()}


_NOT_TO_CALL = {"__saved_model_init_op", "__saved_model_train_op"}
DEFAULT_TRANSFORMS: tuple[str, ...] = transformed_features_extractor._DEFAULT_SIGNATURE_NAMES


# ---- slices


def slice_specs(config: EvalConfig) -> list[SliceSpec]:
    """Return what to slice by: the slicing_specs, and the specs that cross_slicing_specs compare."""
    specs = list(config.slicing_specs)
    for cross in config.cross_slicing_specs:
        specs += [cross.baseline_spec, *cross.slicing_specs]
    unique = dict.fromkeys(slicer_lib.SingleSliceSpec(spec=spec) for spec in specs)
    return [_slice_spec(spec) for spec in unique or [slicer_lib.SingleSliceSpec()]]


def _slice_spec(spec: Any) -> SliceSpec:
    names = {*spec._columns, *(name for name, _ in spec._features)}

    def keys(transformed: list[dict[str, Array]], raw: dict[str, Array]) -> frozenset[SliceKey]:
        return frozenset(spec.generate_slices(slice_accessor.SliceAccessor(transformed, raw)))

    return SliceSpec(tuple(sorted(names)), keys)


def is_of(slice_key: SliceKey, specs: Iterable[SlicingSpec]) -> bool:
    """Whether one of the specs selects a slice."""
    return any(slicer_lib.SingleSliceSpec(spec=spec).is_slice_applicable(slice_key) for spec in specs)


# ---- after the combiners


def is_private(key: Any) -> bool:
    """Whether a metric exists only to derive other metrics from it."""
    private: bool = evaluator._is_private_metrics(key)
    return private


def is_number(value: Any) -> bool:
    """Whether TFMA can take a difference of such values."""
    diffable: bool = evaluator._is_metric_diffable(value)
    return diffable


def public(slice_key: Any, metrics: Metrics) -> Metrics:
    """Remove the private metrics."""
    kept: Metrics = evaluator._remove_private_metrics(slice_key, metrics)[1]
    return kept


def of_kind(slice_key: Any, metrics: Metrics, kind: str) -> Metrics:
    """Keep the metrics (`metrics`), the plots (`plots`) or the attributions (`attributions`)."""
    key = {
        tfma.METRICS_KEY: metric_types.MetricKey,
        tfma.PLOTS_KEY: metric_types.PlotKey,
        tfma.ATTRIBUTIONS_KEY: metric_types.AttributionsKey,
    }[kind]
    kept: Metrics = evaluator._filter_by_key_type((slice_key, metrics), key)[1]
    return kept


def with_intervals(config: EvalConfig, full: Metrics, sampled: Sequence[Metrics], *, bootstrap: bool) -> Metrics:
    """Add confidence intervals to the metrics of a slice, from its metrics in the samples that have examples of it."""
    without = metric_specs.metric_keys_to_skip_for_confidence_intervals(list(config.metrics_specs), eval_config=config)
    combine = (
        poisson_bootstrap._BootstrapSampleCombineFn(BOOTSTRAP_SAMPLES, without)
        if bootstrap
        else jackknife._JackknifeSampleCombineFn(JACKKNIFE_SAMPLES, without)
    )
    accumulator = combine.create_accumulator()
    for number, metrics in [(combine._full_sample_id, full), *enumerate(sampled)]:
        accumulator = combine.add_input(accumulator, samples.SampleMetrics(metrics=metrics, sample_id=number))
    found: Metrics = combine.extract_output(accumulator)
    return found


def write(
    folder: Path, results: Mapping[str, Sequence[tuple[Any, Metrics]]], config: EvalConfig, models: Sequence[Any]
) -> None:
    """Write the files of TFMA's writers, from metrics, plots and attributions of slices, without Beam pipelines.

    `tfma.load_eval_result` and similar functions can read them.
    """
    to_proto = {
        tfma.METRICS_KEY: lambda pair: results_writer.convert_slice_metrics_to_proto(pair, []),
        tfma.PLOTS_KEY: lambda pair: results_writer.convert_slice_plots_to_proto(pair, []),
        tfma.ATTRIBUTIONS_KEY: results_writer.convert_slice_attributions_to_proto,
    }
    for kind, pairs in results.items():
        _write_records(folder / f"{kind}-00000-of-00001.tfrecord", map(to_proto[kind], pairs))
    combine = results_writer.CombineValidations(config, rubber_stamp=model_util.has_rubber_stamp(list(models)))
    validation = combine.create_accumulator()
    for pair in results[tfma.METRICS_KEY]:
        validation = combine.add_input(validation, _validated(pair, config))
    _write_records(folder / f"{tfma.VALIDATIONS_KEY}.tfrecord", [combine.extract_output(validation)])
    named = model_util.verify_and_update_eval_shared_models(list(models))
    locations = {model.model_name: model.model_path for model in named}
    text = eval_config_writer._serialize_eval_run(config, "<user provided PCollection>", "<unknown>", locations)
    (folder / "eval_config.json").write_text(f"{text}\n", encoding="utf-8")


def _validated(pair: tuple[Any, Metrics], config: EvalConfig) -> Any:
    try:
        return metrics_validator.validate_metrics(pair, config)
    except TypeError as error:
        others = sorted({key.name for key, value in pair[1].items() if not _fits_a_float(value)})
        raise InvalidInputError(
            f"eval_config: only a number can have a threshold, but {', '.join(others)} is not a number; "
            "remove that threshold"
        ) from error


def _fits_a_float(value: Any) -> bool:
    try:
        float(value)
    except TypeError:
        return False
    return True


def _write_records(path: Path, messages: Iterable[Any]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for message in messages:
            writer.write(message.SerializeToString())


def only(config: EvalConfig, spec: MetricsSpec, number: int) -> EvalConfig:
    """Return a config with a single metric of a spec."""
    alone = EvalConfig()
    alone.CopyFrom(config)
    del alone.metrics_specs[:]
    chosen = alone.metrics_specs.add()
    chosen.CopyFrom(spec)
    del chosen.metrics[:]
    chosen.metrics.add().CopyFrom(spec.metrics[number])
    return alone
