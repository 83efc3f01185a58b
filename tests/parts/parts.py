"""Small components of the tests' own: real operators with real executors that need no heavy library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, ExampleAnomalies, Examples, ExampleStatistics, Model
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.file_example_gen import FileExampleGenOperator
from airflow_provider_mlpipe.pipeline.node import Published
from airflow_provider_mlpipe.pipeline.spec import Content, Ignored, IgnoredInput, Input, Inputs, OptionalInput, Value


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


class KeepOperator(ComponentOperator):
    """Does `steps` steps and keeps a checkpoint after each; says with which it began."""

    EXECUTOR = "parts_executors:keep"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model}
    KEEPS_CHECKPOINTS = True

    def __init__(self, *, steps: Value[int] = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps


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


class ReadOperator(FileExampleGenOperator):
    """Publishes the text files that it reads, span by span."""

    EXECUTOR = "parts_executors:read"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}


class DescribeOperator(ComponentOperator):
    """Describes examples."""

    EXECUTOR = "parts_executors:describe"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"statistics": ExampleStatistics}

    def __init__(self, *, examples: Input[Examples], model: OptionalInput[Model] = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examples = examples
        self.model = model


class CompareOperator(ComponentOperator):
    """Compares two descriptions."""

    EXECUTOR = "parts_executors:compare"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"anomalies": ExampleAnomalies}

    def __init__(
        self,
        *,
        statistics: Input[ExampleStatistics],
        examples: Input[Examples],
        before: OptionalInput[ExampleStatistics] = None,
        fails: Ignored[str] = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.before = before
        self.statistics = statistics
        self.examples = examples
        self.fails = fails

    def check_gate(self, outputs: Published) -> None:
        for artifact in outputs["anomalies"]:
            if self.fails and str(artifact.properties["span"]) in self.fails.split():
                raise AnomaliesFoundError(f"span {artifact.properties['span']} has anomalies")


class JoinOperator(ComponentOperator):
    """Reads all examples at once; copies each."""

    EXECUTOR = "parts_executors:join"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model, "copies": Examples}
    OUTPUTS_PER: ClassVar[dict[str, str]] = {"copies": "examples"}

    def __init__(self, *, examples: Inputs[Examples], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examples = examples
