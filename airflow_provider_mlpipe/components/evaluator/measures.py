"""Computes the sums that TFMA's metrics are derived from, for whole batches at once.

Each of TFMA's combiners adds up one example at a time. A measure computes these additions for a batch: entries of (row,
cell, values), where a cell is a place in the combiner's accumulator, such as a bucket. `sums.py` then adds up the
entries by slice. A Selection says which label, prediction and weight of an example to use. It corresponds to the
arguments of TFMA's `to_label_prediction_example_weight`, whose docstring has examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from airflow_provider_mlpipe.components.evaluator.sums import Array, Entries, Members, Numbers, Places, Sums
from airflow_provider_mlpipe.exceptions import PermanentError


class NotCovered(PermanentError):
    """Names a metric, or data, that only TFMA's own pipeline handles. Not a failure: that pipeline takes over."""


class Explained(NotCovered):
    """Also says, better than TFMA does, why its pipeline fails, if it does."""


_LABEL_KEY = "model_specs.label_key"


@dataclass(frozen=True)
class Inputs:
    """A batch of `rows` examples from TFMA's extractors: arrays, or dicts of arrays by model and by output name.

    Labels and predictions have the shape [rows, values], weights [rows].
    """

    rows: int
    labels: Any
    predictions: Any
    weights: Any
    label_key: Mapping[str, str]
    prediction_key: Mapping[str, str]


@dataclass(frozen=True)
class Examples:
    """Label [n, a], prediction [n, c] and weight [n] of the examples `row` [n]; the label is None without labels.

    `label_key` is the feature that should have them; empty if none is named.
    """

    row: Places
    label: Array | None
    prediction: Array
    weight: Array
    label_key: str = ""

    def flat(self) -> tuple[Places, Array, Array, Array]:
        """Return row, label, prediction and weight as vectors; raises NotCovered without labels."""
        return self.row, self.known_label()[:, 0], self.prediction[:, 0], self.weight

    def known_label(self) -> Array:
        """Return the label; raises NotCovered without labels."""
        if self.label is None:
            why = f"no example has the feature {self.label_key!r}" if self.label_key else "none is given"
            raise Explained(f"a metric needs labels, but {why}: name the feature that has them in {_LABEL_KEY}")
        return self.label


class Measure(Protocol):
    """Computes the sums of a combiner."""

    @property
    def width(self) -> int:
        """How many numbers a cell has."""
        ...

    def sums(self, inputs: Inputs, members: Members) -> Sums:
        """Add up a batch by the groups of its examples; raises NotCovered for data that only TFMA handles."""
        ...


class ExampleMeasure(ABC):
    """A measure with separate entries for every example."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers a cell has."""

    @abstractmethod
    def _entries(self, inputs: Inputs) -> Entries:
        """Return the entries of a batch."""

    def sums(self, inputs: Inputs, members: Members) -> Sums:
        """Add up a batch by the groups of its examples."""
        return Sums.of(self._entries(inputs), members)


@dataclass(frozen=True)
class Selection:
    """Which label, prediction and weight of an example a metric uses.

    `of_classes` reduces labels and predictions of all classes to one class, or to the top ones; None keeps all.
    `flatten` makes one example per class.
    """

    model: str = ""
    output: str = ""
    of_classes: Callable[[Array, Array], tuple[Array, Array]] | None = None
    class_weights: tuple[tuple[int, float], ...] = ()
    weighted: bool = False
    fractional: bool = False
    flatten: bool = True

    def examples(self, inputs: Inputs) -> Examples:
        """Select from a batch."""
        label_key = inputs.label_key.get(self.model, "")
        label, prediction = self._label(inputs, label_key), self._prediction(inputs)
        if self.of_classes and label is not None:
            label, prediction = self.of_classes(label, prediction)
        row, weight = np.arange(inputs.rows), self.weight(inputs)
        if self.flatten:
            row, label, prediction, weight = self._flat(row, label, prediction, weight.astype(np.float64))
        chosen = Examples(row, label, prediction, weight, label_key)
        return _whole_labels(chosen) if self.fractional and label is not None else chosen

    def weight(self, inputs: Inputs) -> Array:
        """Return the weights; all are 1 if there are none."""
        weight = _by_key(inputs.weights, self.model, self.output) if self.weighted else None
        if weight is None:
            return np.ones(inputs.rows, np.float32)
        return _one_column("the weights (model_specs.example_weight_key)", weight)

    def _label(self, inputs: Inputs, label_key: str) -> Array | None:
        label = _by_key(inputs.labels, label_key, self.model, self.output)
        named = f"the labels in {label_key!r} ({_LABEL_KEY})" if label_key else "the labels"
        if isinstance(label, np.ndarray) and label.dtype.kind in "OSU":
            raise Explained(
                f"{named} are text. Save the model with a signature that returns them as numbers, and name it in "
                "model_specs.preprocessing_function_names"
            )
        return None if label is None else _columns(named, label)

    def _prediction(self, inputs: Inputs) -> Array:
        prediction = _by_key(inputs.predictions, self.model, self.output)
        if isinstance(prediction, Mapping):
            prediction = _main_output(prediction, inputs.prediction_key.get(self.model, ""))
        return _columns("the predictions", prediction)

    def _flat(
        self, row: Places, label: Array | None, prediction: Array, weight: Array
    ) -> tuple[Places, Array | None, Array, Array]:
        classes = prediction.shape[1]
        if label is not None and label.shape[1] != classes:
            label = one_hot(label, prediction)
        row, weight = np.repeat(row, classes), np.repeat(weight, classes)
        if self.class_weights:
            of_class = np.zeros(classes)
            for number, value in self.class_weights:
                if number < classes:
                    of_class[number] = value
            weight = weight * np.tile(of_class, len(row) // classes)
        return row, None if label is None else label.reshape(-1, 1), prediction.reshape(-1, 1), weight


@dataclass(frozen=True)
class WeightSum(ExampleMeasure):
    """The sum of the weights."""

    selection: Selection
    width = 1

    def _entries(self, inputs: Inputs) -> Entries:
        return Entries.of(np.arange(inputs.rows), self.selection.weight(inputs))


@dataclass(frozen=True)
class Totals(ExampleMeasure):
    """Sums of weighted labels, weighted predictions and weights; the first two are 0 without labels."""

    selection: Selection
    width = 3

    def _entries(self, inputs: Inputs) -> Entries:
        chosen = self.selection.examples(inputs)
        if chosen.label is None:
            nothing = np.zeros(len(chosen.row))
            return Entries.of(chosen.row, nothing, nothing, chosen.weight)
        row, label, prediction, weight = chosen.flat()
        return Entries.of(row, label * weight, prediction.astype(np.float64) * weight, weight)


@dataclass(frozen=True)
class Histogram(ExampleMeasure):
    """Sums of weighted labels, weighted predictions and weights by bucket of the prediction (or of the label).

    Bucket 0 has the values below `left`, bucket `buckets` + 1 those from `left` + `range` on.
    """

    selection: Selection
    buckets: int
    left: float
    range: float
    by_prediction: bool
    width = 3

    def _entries(self, inputs: Inputs) -> Entries:
        row, label, prediction, weight = self.selection.examples(inputs).flat()
        label, prediction = label.astype(np.float64), prediction.astype(np.float64)
        place = ((prediction if self.by_prediction else label) - self.left) / self.range * self.buckets + 1
        if np.isnan(place).any():
            raise NotCovered("a label or a prediction is NaN")
        bucket = np.clip(place, 0, self.buckets + 1).astype(np.int64)
        return Entries.of(row, label * weight, prediction * weight, weight, cell=bucket)


@dataclass(frozen=True)
class ThresholdCounts(ExampleMeasure):
    """Sums of weights by two numbers: how many of the ascending `thresholds` the label and the prediction exceed.

    Without `compare_labels`, a label of 1 exceeds all thresholds, and any other label exceeds none.
    """

    selection: Selection
    thresholds: tuple[float, ...]
    compare_labels: bool
    width = 1

    def _entries(self, inputs: Inputs) -> Entries:
        row, label, prediction, weight = self.selection.examples(inputs).flat()
        size = len(self.thresholds)
        above = self._above(label) if self.compare_labels else np.where(label == 1.0, size, 0)
        return Entries.of(row, weight, cell=above * (size + 1) + self._above(prediction))

    def _above(self, value: Array) -> Places:
        numbers = np.where(np.isnan(value), -np.inf, value.astype(np.float64))
        return np.searchsorted(np.array(self.thresholds), numbers, side="left")

    def matrix(self, cell: Places, weight: Numbers, threshold: int) -> tuple[float, float, float, float]:
        """Return true positives, true negatives, false positives, false negatives at the threshold with this number."""
        label, prediction = np.divmod(cell, len(self.thresholds) + 1)
        positive, predicted = label > threshold, prediction > threshold
        cases = (positive & predicted, ~positive & ~predicted, ~positive & predicted, positive & ~predicted)
        true_positive, true_negative, false_positive, false_negative = (float(weight[case].sum()) for case in cases)
        return true_positive, true_negative, false_positive, false_negative


def improbable(measure: Measure, inputs: Inputs) -> int:
    """Count the predictions outside 0 to 1, if a measure compares them with probabilities."""
    by_thresholds = isinstance(measure, ThresholdCounts) and any(0 < one < 1 for one in measure.thresholds)
    by_buckets = isinstance(measure, Histogram) and measure.by_prediction and measure.left + measure.range <= 1
    if not by_thresholds and not by_buckets:
        return 0
    assert isinstance(measure, (ThresholdCounts, Histogram))
    prediction = measure.selection.examples(inputs).prediction
    return int(((prediction < 0) | (prediction > 1)).sum())


@dataclass(frozen=True)
class ClassCounts(ExampleMeasure):
    """Sums of weights by actual and predicted class at each threshold; the predicted class is -1 below a threshold."""

    selection: Selection
    thresholds: tuple[float, ...]
    width = 1

    BASE = 1 << 20  # limit of class numbers, and base of the cell numbers

    def _entries(self, inputs: Inputs) -> Entries:
        chosen = self.selection.examples(inputs)
        label, prediction = chosen.known_label(), chosen.prediction
        if prediction.shape[1] < 2 or np.isnan(prediction).any():
            raise NotCovered("a multi-class confusion matrix of predictions that are a single number, or NaN")
        actual = label.argmax(axis=1) if label.shape[1] > 1 else label[:, 0].astype(np.int64)
        if len(actual) and not (actual.min() >= -1 and actual.max() < self.BASE - 1):
            raise NotCovered(f"a class below -1 or above {self.BASE - 2}")
        predicted, cells = prediction.argmax(axis=1), []
        for number, threshold in enumerate(self.thresholds):
            # Scalars are compared, as in TFMA: numpy 1 compares them as float64, numpy 2 as float32.
            kind = np.result_type(prediction.dtype.type(0), threshold)
            below = prediction[chosen.row, predicted].astype(kind) <= threshold
            predicted = np.where(below, -1, predicted)
            cells.append((number * self.BASE + actual + 1) * self.BASE + predicted + 1)
        times = len(self.thresholds)
        cell = np.stack(cells, axis=1).ravel()
        return Entries.of(np.repeat(chosen.row, times), np.repeat(chosen.weight, times), cell=cell)

    def place(self, cell: int) -> tuple[float, int, int]:
        """Return threshold, actual class and predicted class of a cell."""
        rest, predicted = divmod(cell, self.BASE)
        number, actual = divmod(rest, self.BASE)
        return self.thresholds[number], actual - 1, predicted - 1


@dataclass(frozen=True)
class RegressionError(ExampleMeasure):
    """Sums of weighted errors and of weights, over the examples whose error is not NaN.

    `kind` is `absolute`, `squared`, `percentage` (of the label) or `squared_logarithmic`.
    """

    selection: Selection
    kind: str
    width = 2

    def _entries(self, inputs: Inputs) -> Entries:
        row, label, prediction, weight = self.selection.examples(inputs).flat()
        with np.errstate(all="ignore"):  # a label may be 0, a logarithm NaN
            error = self._error(label, prediction)
        known = ~np.isnan(error)
        return Entries.of(row[known], error[known] * weight[known], weight[known])

    def _error(self, label: Array, prediction: Array) -> Numbers:
        # As in TFMA, the error is computed in the inputs' precision, and only then squared as float64.
        if self.kind == "absolute":
            return np.asarray(np.abs(label - prediction), np.float64)
        if self.kind == "percentage":
            return np.where(label == 0, np.nan, 100 * np.abs((label - prediction) / label).astype(np.float64))
        off = label - prediction if self.kind == "squared" else np.log(label + 1) - np.log(prediction + 1)
        return np.asarray(np.sqrt(off * off), np.float64) ** 2


@dataclass(frozen=True)
class BinaryCrossEntropy(ExampleMeasure):
    """Sums of weighted cross entropies and of weights."""

    selection: Selection
    from_logits: bool
    label_smoothing: float
    width = 2

    def _entries(self, inputs: Inputs) -> Entries:
        chosen = self.selection.examples(inputs)
        label, prediction = chosen.known_label(), chosen.prediction
        label = label * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        weight = chosen.weight.astype(np.float64)
        with np.errstate(all="ignore"):  # a prediction of exactly 0 or 1 may be wrong
            if self.from_logits:
                loss = np.maximum(prediction, 0) - prediction * label + np.log(1 + np.exp(-np.abs(prediction)))
            else:
                loss = -label * np.log(prediction) - (1 - label) * np.log(1 - prediction)
            return Entries.of(chosen.row, loss.mean(axis=1).astype(np.float64) * weight, weight)


@dataclass(frozen=True)
class Moments(ExampleMeasure):
    """Weighted sums of products of label (l), prediction (p) and 1 - label (n); `terms` lists them, e.g. `lp`.

    The empty term is 1.
    """

    selection: Selection
    terms: tuple[str, ...]

    @property
    def width(self) -> int:
        """One number per term."""
        return len(self.terms)

    def _entries(self, inputs: Inputs) -> Entries:
        row, label, prediction, weight = self.selection.examples(inputs).flat()
        number = {"l": label.astype(np.float64), "p": prediction.astype(np.float64)}
        number["n"] = 1.0 - number["l"]  # how negative the label is
        return Entries.of(row, *(np.prod([weight, *(number[one] for one in term)], axis=0) for term in self.terms))


@dataclass(frozen=True)
class ClassWeights(ExampleMeasure):
    """Sums of weights by class of the label."""

    selection: Selection
    classes: tuple[int, ...]

    @property
    def width(self) -> int:
        """One number per class."""
        return len(self.classes)

    def _entries(self, inputs: Inputs) -> Entries:
        chosen = self.selection.examples(inputs)
        label = chosen.known_label()
        if label.shape[1] == 1:
            of_class = [label[:, 0] == number for number in self.classes]
        elif max(self.classes) < label.shape[1]:
            of_class = [label[:, number] for number in self.classes]
        else:
            raise NotCovered(f"class {max(self.classes)} of {label.shape[1]} labels")
        return Entries.of(chosen.row, *(one * chosen.weight.astype(np.float64) for one in of_class))


def _whole_labels(chosen: Examples) -> Examples:
    """Split each example into a negative and a positive one, of weight 1 - label and label; drop those of weight 0."""
    row, label, prediction, weight = chosen.flat()
    if not ((label >= 0) & (label <= 1)).all():
        raise NotCovered("a label is not within [0, 1]")
    of_label = np.stack([np.zeros_like(label), np.ones_like(label)], axis=1).ravel()
    of_weight = np.stack([weight * (1 - label), weight * label], axis=1).ravel()
    kept = of_weight != 0
    return Examples(
        np.repeat(row, 2)[kept],
        of_label[kept].reshape(-1, 1),
        np.repeat(prediction, 2)[kept].reshape(-1, 1),
        of_weight[kept],
    )


def _by_key(value: Any, *keys: str) -> Any:
    for key in keys:
        if key and isinstance(value, Mapping) and key in value:
            value = value[key]
    return value


_MAIN_OUTPUTS = ("scores", "outputs", "predictions", "logistic", "probabilities", "logits")


def _main_output(outputs: Mapping[str, Any], key: str) -> Any:
    """Choose among a model's outputs as TFMA does."""
    for name in (key,) if key else _MAIN_OUTPUTS:
        if name in outputs:
            return outputs[name]
    raise NotCovered(f"the model has the outputs {', '.join(sorted(outputs))}; prediction_key does not choose one")


def _columns(what: str, value: Any) -> Array:
    array = value if isinstance(value, np.ndarray) else None
    if (
        array is None
        or array.dtype.kind not in "biuf"
        or array.ndim not in (1, 2)
        or (array.ndim == 2 and not array.shape[1])
    ):
        raise Explained(f"{what} must be numbers, and as many of them in each example as in the others")
    return array.reshape(len(array), -1)


def _one_column(what: str, value: Any) -> Array:
    columns = _columns(what, value)
    if columns.shape[1] != 1:
        raise NotCovered(f"{what} are {columns.shape[1]} numbers per example")
    return columns[:, 0]


def one_hot(label: Array, prediction: Array) -> Array:
    """Encode class numbers [n, 1] one-hot, in the shape of the predictions; -1 stands for no class."""
    if label.shape == prediction.shape:
        return label
    if label.shape[1] != 1:
        raise NotCovered(f"{label.shape[1]} labels for {prediction.shape[1]} predictions")
    classes = prediction.shape[1]
    number = label[:, 0].astype(np.int64)
    if len(number) and not (-classes - 1 <= number.min() and number.max() <= classes):
        raise NotCovered(f"a label that is not one of {classes} classes")
    return np.delete(np.eye(classes + 1)[number], -1, axis=-1)
