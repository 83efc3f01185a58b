"""The Keras callback of `training_checkpoint`: saves a training step by step, and resumes it within an epoch.

Keras's own BackupAndRestore resumes at the beginning of an epoch, with the dataset's first batch. This one also brings
`fit` to the step and the batch where the training was: it stands in the place of the model's `train_function`, which
`fit` calls for each step, and does nothing in those that were done. Of Keras's private parts it uses
`Model._initial_epoch`, by which Keras's own callback tells `fit` the epoch.

A checkpoint is a folder: `position.json`, and the variables in TensorFlow's checkpoint format, which has checksums.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.records import keras3  # noqa: F401  (before tensorflow)

# isort: split
import keras
import numpy as np
import tensorflow as tf

from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError

_KEPT = 2
"""So many checkpoints stay: where the newest is damaged, the one before it is used."""
_STATE, _POSITION = "state", "position.json"
_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"
"""The end of the name that TensorFlow gives to a variable's value in a checkpoint."""

_used: set[Path] = set()
_Values = Mapping[str, Sequence[Any]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a training is: `steps` were done, `epoch_steps` of them in `epoch`.

    `drawn` is how many batches the dataset's current iterator has given. `is_finished` says that `fit` has ended.
    """

    steps: int
    epoch: int
    epoch_steps: int
    drawn: int
    is_finished: bool = False


class KerasCheckpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves to `folder` when `every_steps` steps or `every_seconds` seconds have gone by, and when `fit` ends."""

    def __init__(self, folder: Path, *, every_steps: int | None, every_seconds: float | None) -> None:
        super().__init__()
        self._folder = folder
        self._every_steps = every_steps
        self._every_seconds = every_seconds
        self._resumed: Position | None = None
        """Until the training has come to it."""
        self._values: _Values = {}
        self._steps = self._epoch = self._epoch_steps = self._drawn = 0
        self._iterator: weakref.ref[Any] | None = None
        self._train_function: Any = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Restore the newest checkpoint; Keras calls it when model and optimizer are built."""
        place = self._folder.resolve()
        if place in _used:
            raise InvalidValueError(
                f"training_checkpoint: {self._folder} has the checkpoints of an earlier call of fit; give each call a "
                'folder of its own, such as f"{fn_args.checkpoint_dir}/second"'
            )
        _used.add(place)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self._restore()
        self._train_function, self.model.train_function = self.model.train_function, self._step
        self._mark_saved()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Count its steps."""
        self._epoch, self._epoch_steps = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save when it is time."""
        steps, seconds = self._steps - self._saved_steps, time.monotonic() - self._saved_at
        if (self._every_steps is not None and steps >= self._every_steps) or (
            self._every_seconds is not None and steps and seconds >= self._every_seconds
        ):
            self._save()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Save that `fit` has ended, so that the next try does not train again."""
        self.model.train_function = self._train_function
        self.model._initial_epoch = None
        if not _place_of(self._folder, self._steps, is_finished=True).exists():
            self._save(is_finished=True)

    def _step(self, iterator: Any) -> Any:
        """What `fit` calls for each step of an epoch."""
        step = self.model.steps_per_execution
        if self._iterator is None or self._iterator() is not iterator:
            self._iterator, self._drawn = weakref.ref(iterator), 0
        if self._resumed is not None:
            if self._drawn == 0:
                self._catch_up(iterator, self._resumed.drawn)
            self._epoch_steps += step
            if self._epoch_steps >= self._resumed.epoch_steps:
                self._resumed = None
            return self.model.get_metrics_result()
        logs = self._train_function(iterator)
        self._steps += step
        self._epoch_steps += step
        self._drawn += step
        return logs

    def _catch_up(self, iterator: Any, drawn: int) -> None:
        """Draws the batches that the training has seen, and restores all variables.

        Keras makes those of the metrics in the first step. So the last batch is trained once more before that.
        """
        for number in range(drawn - self.model.steps_per_execution):
            if next(iterator, None) is None:
                raise InvalidInputError(
                    f"the dataset has given {number} batches, but {drawn} before training was interrupted; give fit a "
                    "dataset that does not change, or training_checkpoint an empty folder"
                )
        self._train_function(iterator)
        self._drawn = drawn
        self._assign(self._values)
        self._values = {}

    # Files

    def _save(self, *, is_finished: bool = False) -> None:
        position = Position(
            steps=self._steps,
            epoch=self._epoch,
            epoch_steps=self._epoch_steps,
            drawn=self._drawn,
            is_finished=is_finished,
        )
        place = _place_of(self._folder, self._steps, is_finished=is_finished)
        draft = place.with_name(f".{place.name}")
        for old in (draft, place):
            shutil.rmtree(old, ignore_errors=True)
        draft.mkdir()
        tf.train.Checkpoint(**self._variables()).write(str(draft / _STATE))
        barrier("checkpoint.written")
        (draft / _POSITION).write_text(json.dumps(asdict(position)))
        draft.rename(place)
        self._mark_saved()
        barrier("checkpoint.saved")
        for old in _newest_first(self._folder)[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def _mark_saved(self) -> None:
        self._saved_steps, self._saved_at = self._steps, time.monotonic()

    def _restore(self) -> None:
        for place in _newest_first(self._folder):
            try:
                position = Position(**json.loads((place / _POSITION).read_text()))
                values = self._saved(place / _STATE)
            except (OSError, ValueError, TypeError, LookupError, RuntimeError, tf.errors.OpError) as error:
                log.warning("the checkpoint %s cannot be used: %s", place, error)
                continue
            self._assign({name: values[name] for name in ("model", "optimizer")})
            self._resume(position, values)
            return

    def _assign(self, values: _Values) -> None:
        variables = self._variables()
        for name, given in values.items():
            for variable, value in zip(variables[name], given, strict=True):
                variable.assign(value)

    def _resume(self, position: Position, values: _Values) -> None:
        self._steps, self._epoch, self._drawn = position.steps, position.epoch, 0
        self._epoch_steps = position.epoch_steps
        if position.is_finished:
            log.info("the training had ended, after %s steps", position.steps)
            self.model._initial_epoch = self.params["epochs"]
            return
        log.info("the training goes on after step %s, in epoch %s", position.steps, position.epoch + 1)
        self._resumed, self._values = position, values
        self.model._initial_epoch = position.epoch

    def _variables(self) -> dict[str, list[Any]]:
        model = self.model
        return {
            "model": list(model.variables),
            "optimizer": list(model.optimizer.variables),
            "metrics": list(model.metrics_variables),
        }

    def _saved(self, path: Path) -> _Values:
        """The saved values of all variables; raises ValueError if they are not those of this model."""
        variables = self._variables()
        values = _read(path, variables.keys())
        for name in ("model", "optimizer"):
            _check(name, variables[name], values[name])
        return values


def _read(path: Path, names: Iterable[str]) -> _Values:
    reader = tf.train.load_checkpoint(str(path))
    keys = reader.get_variable_to_shape_map().keys()
    counts = {name: sum(bool(re.fullmatch(rf"{name}/\d+/{_VALUE}", key)) for key in keys) for name in names}
    return {
        name: [np.asarray(reader.get_tensor(f"{name}/{number}/{_VALUE}")) for number in range(count)]
        for name, count in counts.items()
    }


def _check(name: str, variables: Sequence[Any], values: Sequence[Any]) -> None:
    if len(variables) != len(values):
        raise ValueError(f"it has {len(values)} variables of the {name}, not {len(variables)}")
    for variable, value in zip(variables, values, strict=True):
        if value.shape != tuple(variable.shape):
            raise ValueError(f"{variable.path} has the shape {value.shape} in it, not {tuple(variable.shape)}")


def _place_of(folder: Path, steps: int, *, is_finished: bool) -> Path:
    return folder / f"step-{steps}{'-end' if is_finished else ''}"


def _newest_first(folder: Path) -> list[Path]:
    named = {path: re.fullmatch(r"step-(\d+)(-end)?", path.name) for path in folder.glob("step-*")}
    found = {path: (int(match[1]), bool(match[2])) for path, match in named.items() if match}
    return sorted(found, key=lambda path: found[path], reverse=True)
