"""Small components of the tests' own: real operators with real executors that need no heavy library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Model
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.node import Published
from airflow_provider_mlpipe.pipeline.spec import Content, Ignored, IgnoredInput, Input, OptionalInput, Value


class MakeOperator(ComponentOperator):
    """Writes `files` files of `text` each, and does what `act` says besides."""

    EXECUTOR = "parts_executors:make"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}

    def __init__(
        self,
        *,
        text: Value[str] = "hello",
        files: Value[int] = 3,
        act: Value[str | None] = None,
        shut: Ignored[bool] = False,
        module_file: Content[str | None] = None,
        words: Value[Sequence[str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.files = files
        self.act = act
        self.shut = shut
        self.module_file = module_file
        self.words = words

    def check_gate(self, outputs: Published) -> None:
        if self.shut:
            raise AnomaliesFoundError("the gate is shut")


class UseOperator(ComponentOperator):
    """Writes what it read."""

    EXECUTOR = "parts_executors:use"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model}

    def __init__(self, *, examples: Input[Examples], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examples = examples


class MaybeOperator(ComponentOperator):
    """Says whether it has read anything, with a hint or without."""

    EXECUTOR = "parts_executors:maybe"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model}

    def __init__(
        self, *, examples: OptionalInput[Examples] = None, hint: IgnoredInput[Model] = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.examples = examples
        self.hint = hint
