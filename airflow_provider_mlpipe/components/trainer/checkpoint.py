"""`training_checkpoint`, which a `run_fn` gives to Keras so that a killed training goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_mlpipe.exceptions import InvalidValueError

if TYPE_CHECKING:
    import keras

_SECONDS = 60.0


def training_checkpoint(
    checkpoint_dir: str | None, *, every_steps: int | None = None, every_seconds: float | None = None
) -> keras.callbacks.Callback:
    """Return a Keras callback that saves the training to `checkpoint_dir`, and resumes it in the next try.

    It saves the variables of the model, the optimizer and the metrics, and the position: epoch, step, and how many
    batches the dataset has given. In the next try, `fit` begins in that epoch, after that step, with the next batch.
    `docs/training.md` says for which datasets that is exact, and what other callbacks see.

    :param checkpoint_dir: `fn_args.checkpoint_dir`; with several calls of `fit`, a folder below it for each
    :param every_steps: save after this number of steps (batches)
    :param every_seconds: save after this time, in seconds (default: 60, if `every_steps` is not given)

    Raises InvalidValueError without a folder, for a number that is not positive, and, when `fit` begins, for a folder
    that another call of `fit` in this process has used. Files that are lost or damaged are logged, and not used.
    """
    if not checkpoint_dir:
        raise InvalidValueError("training_checkpoint needs a folder; in a Trainer, give it fn_args.checkpoint_dir")
    for name, given in (("every_steps", every_steps), ("every_seconds", every_seconds)):
        if given is not None and given <= 0:
            raise InvalidValueError(f"training_checkpoint: {name} must be positive, but is {given!r}")
    from airflow_provider_mlpipe.components.trainer.keras_checkpoint import KerasCheckpoint

    if every_steps is None and every_seconds is None:
        every_seconds = _SECONDS
    return KerasCheckpoint(Path(checkpoint_dir), every_steps=every_steps, every_seconds=every_seconds)
