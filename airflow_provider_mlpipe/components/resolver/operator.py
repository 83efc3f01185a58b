"""ResolverOperator: finds an artifact of an earlier run in the store. A strategy is one named SQL query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow_provider_mlpipe.artifacts import Artifact, Model, find_type
from airflow_provider_mlpipe.caching import driver, fingerprint
from airflow_provider_mlpipe.caching.driver import ComponentRun, Resolution
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.node import ResolvingOperator
from airflow_provider_mlpipe.pipeline.spec import Config, OptionalInput

Strategy = Literal["LatestArtifact", "LatestBlessedModel"]


class ResolverOperator(ResolvingOperator):
    """Publishes the newest matching artifact that runs of this DAG have published so far.

    Searches the store. Depending on `strategy`, publishes `model` (Model) or `result` (of `artifact_type`): the
    existing artifact, not a copy. If nothing is found, it publishes nothing: an optional input that reads it is then
    None, and a component that needs it is skipped. Never cached: the latest artifact can change although no input does.

    :param strategy: "LatestBlessedModel" for the newest Model that an execution blessed (output `model`), or
        "LatestArtifact" for the newest artifact of `artifact_type` (output `result`)
    :param other_than: for LatestBlessedModel, a channel of a candidate Model. Models with the same content are ignored,
        so that a rerun compares the candidate with the same model (default None)
    :param artifact_type: for LatestArtifact, an artifact class, or its name (default None)
    :param kwargs: everything that NodeOperator and BaseOperator take

    Raises PipelineError for an unknown `artifact_type` when its outputs are first used, for example by `create_dag`,
    and for an `other_than` that is not a channel of a Model.
    """

    SEARCHES_STORE = True

    def __init__(
        self,
        *,
        strategy: Config[Strategy],
        other_than: OptionalInput[Model] = None,
        artifact_type: Config[type[Artifact] | str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.strategy = strategy
        self.other_than = other_than
        self._given_type = artifact_type
        self.artifact_type = getattr(artifact_type, "TYPE_NAME", artifact_type)

    def output_types(self) -> Mapping[str, type[Artifact]]:
        """Return the type of `model` or `result`; raises PipelineError for an unknown artifact type."""
        if self.strategy == "LatestBlessedModel":
            return {"model": Model}
        return {"result": find_type(self._given_type or "", self.task_id)}

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """Search the store."""
        computed = fingerprint.compute(run.spec, inputs=run.inputs, parameters=run.parameters, external={})
        (key,) = self.output_types()
        found = self._find(store, run)
        return Resolution(start=driver.execution_start(run, computed), outputs={key: found}, reuse=True)

    def _find(self, store: MetadataStore, run: ComponentRun) -> list[Artifact]:
        if self.strategy == "LatestArtifact":
            return list(store.latest_artifacts(str(self.artifact_type), pipeline=run.pipeline, limit=1))
        candidate = run.inputs["other_than"]
        other_than = candidate.digest if candidate else None
        model = store.latest_blessed_model(pipeline=run.pipeline, other_than=other_than)
        return [model] if model else []
