"""The user's `preprocessing_fn`, called so that its errors point to the user's line."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_mlpipe.exceptions import UserCodeError


@dataclass(frozen=True)
class UserPreprocessing:
    """A `preprocessing_fn(inputs)`, or `preprocessing_fn(inputs, custom_config)`; Beam can pickle it."""

    function: Callable[..., Any]
    custom_config: Mapping[str, Any] | None = None

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """Call it; raises UserCodeError with the file, the line and the traceback of what the user's code raised."""
        try:
            return self.function(inputs, **self._keywords())
        except Exception as error:  # whatever it is, it is the user's
            raise UserCodeError(_explain(self.function, error)) from error

    def _keywords(self) -> dict[str, Any]:
        takes_config = "custom_config" in inspect.signature(self.function).parameters
        return {"custom_config": dict(self.custom_config or {})} if takes_config else {}


def _explain(function: Callable[..., Any], error: Exception) -> str:
    """Name the user's deepest line that is in the function's own file, then give the traceback from there on."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if frame.filename == inspect.getsourcefile(inspect.unwrap(function))]
    where = f"{own[-1].filename}, line {own[-1].lineno}" if own else "its call"
    trace = "".join(traceback.format_list(frames))
    return f"preprocessing_fn raised {type(error).__name__} at {where}: {error}\n{trace}"
