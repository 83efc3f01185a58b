"""The functions by which a user's module changes what TFMA does: its models and its extractors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig

from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.user_code import call, optional_functions

SHARED_MODEL, EXTRACTORS = "custom_eval_shared_model", "custom_extractors"


@dataclass(frozen=True)
class UserModule:
    """A user's `custom_eval_shared_model` and `custom_extractors`, as TFX calls them; None for what is not there."""

    shared_model: Callable[..., Any] | None = None
    extractors: Callable[..., Any] | None = None

    @classmethod
    def load(cls, module_file: str | None) -> UserModule:
        """Import the module file; raises UserCodeError, also for a module without any of the two functions."""
        if module_file is None:
            return cls()
        found = optional_functions(module_file, (SHARED_MODEL, EXTRACTORS))
        if not found:
            raise UserCodeError(f"{module_file} defines neither {SHARED_MODEL} nor {EXTRACTORS}")
        return cls(found.get(SHARED_MODEL), found.get(EXTRACTORS))

    @property
    def named(self) -> str | None:
        """Name the functions that the module has; None for no function."""
        there = [name for name, one in ((SHARED_MODEL, self.shared_model), (EXTRACTORS, self.extractors)) if one]
        return " and ".join(there) or None

    def eval_shared_model(self, path: str, name: str, config: EvalConfig) -> tfma.EvalSharedModel:
        """Make the model that TFMA loads, by the user's function or by TFMA's own; raises UserCodeError."""
        if self.shared_model is None:
            return tfma.default_eval_shared_model(eval_saved_model_path=path, model_name=name, eval_config=config)
        model = call(
            self.shared_model,
            SHARED_MODEL,
            eval_saved_model_path=path,
            model_name=name,
            eval_config=config,
            add_metrics_callbacks=None,
        )
        if not isinstance(model, tfma.EvalSharedModel):
            raise UserCodeError(f"{SHARED_MODEL} returned {model!r}; it must return a tfma.EvalSharedModel")
        return model

    def make_extractors(
        self, models: Sequence[tfma.EvalSharedModel], config: EvalConfig, adapter_config: Any
    ) -> list[Any] | None:
        """Make the list of the user's extractors; None for TFMA's own. Raises UserCodeError."""
        if self.extractors is None:
            return None
        made = call(
            self.extractors,
            EXTRACTORS,
            eval_shared_model=models[0] if len(models) == 1 else list(models),
            eval_config=config,
            tensor_adapter_config=adapter_config,
        )
        if not isinstance(made, (list, tuple)) or not made:
            raise UserCodeError(f"{EXTRACTORS} returned {made!r}; it must return a list of TFMA's extractors")
        return list(made)
