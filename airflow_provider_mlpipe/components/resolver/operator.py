"""ResolverOperator: finds an artifact of an earlier run in the store. A strategy is one named SQL query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow_provider_mlpipe.artifacts import Artifact, Model, find_type
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.caching.driver import ComponentRun, Resolution
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.node import ResolvingOperator
from airflow_provider_mlpipe.pipeline.spec import Config, OptionalInput
from airflow_provider_mlpipe.storage.artifact_files import loss

Strategy = Literal["LatestArtifact", "LatestBlessedModel"]


class ResolverOperator(ResolvingOperator):
    """Publishes the newest matching artifact that runs of this DAG have published so far.

    Searches the store. Depending on `strategy`, publishes `model` (Model) or `result` (of `artifact_type`): the
    existing artifact, not a copy. If nothing is found, it publishes nothing: an optional input that reads it is then
    None, and a component that needs it is skipped. Never cached: the latest artifact can change although no input does.

    It looks at the files. A match whose files are lost is marked as MISSING, and the next one is taken. Files that are
    out of reach, such as those on a disk that is not mounted, are an error: an older match is not taken instead.

    :param strategy: "LatestBlessedModel" for the newest Model that an execution blessed (output `model`), or
        "LatestArtifact" for the newest artifact of `artifact_type` (output `result`)
    :param other_than: for LatestBlessedModel, a channel of a candidate Model. Models with the same content are ignored,
        so that a rerun compares the candidate with the same model (default None)
    :param artifact_type: for LatestArtifact, an artifact class, or its name (default None)
    :param producer_component_id: for LatestArtifact, the task id of the component that published it (default None: any)
    :param kwargs: everything that NodeOperator and BaseOperator take

    Raises PipelineError at DAG parse time for an unknown `artifact_type`, for an `other_than` that is not a channel of
    a Model, and for a `producer_component_id` with LatestBlessedModel.
    """

    SEARCHES_STORE = True

    def __init__(
        self,
        *,
        strategy: Config[Strategy],
        other_than: OptionalInput[Model] = None,
        artifact_type: Config[type[Artifact] | str | None] = None,
        producer_component_id: Config[str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.strategy = strategy
        self.other_than = other_than
        self._given_type = artifact_type
        self.artifact_type = getattr(artifact_type, "TYPE_NAME", artifact_type)
        self.producer_component_id = producer_component_id
        if producer_component_id is not None and strategy == "LatestBlessedModel":
            raise PipelineError(f"{self.task_id}: producer_component_id is for LatestArtifact; leave it out")

    def output_types(self) -> Mapping[str, type[Artifact]]:
        """Return the type of `model` or `result`; raises PipelineError for an unknown artifact type."""
        if self.strategy == "LatestBlessedModel":
            return {"model": Model}
        return {"result": find_type(self._given_type or "", self.task_id)}

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """Search the store, and look whether the files are there.

        Raises TransientError or InvalidInputError when the newest match is out of reach.
        """
        computed = driver.fingerprint(run)
        (key,) = self.output_types()
        found, lost = self._newest_with_files(store, run)
        start = driver.execution_start(run, computed)
        outputs = {key: [found] if found else []}
        return Resolution(start=start, outputs=outputs, reuse=True, lost=[artifact.id or 0 for artifact in lost])

    def _newest_with_files(self, store: MetadataStore, run: ComponentRun) -> tuple[Artifact | None, list[Artifact]]:
        """The newest match whose files are there, and the newer ones whose files are lost."""
        lost: list[Artifact] = []
        while found := self._newest(store, run, before=lost[-1].id if lost else None):
            problem = loss(found, "exists")
            if problem is None:
                return found, lost
            self.log.warning("%s: %s %s is passed over: %s", self.task_id, found.TYPE_NAME, found.id, problem)
            lost.append(found)
        return None, lost

    def _newest(self, store: MetadataStore, run: ComponentRun, before: int | None) -> Artifact | None:
        if self.strategy == "LatestArtifact":
            found = store.latest_artifacts(
                str(self.artifact_type),
                pipeline=run.pipeline,
                component_id=self.producer_component_id,
                before=before,
            )
            return found[0] if found else None
        candidate = run.artifact("other_than")
        other_than = candidate.digest if candidate else None
        return store.latest_blessed_model(pipeline=run.pipeline, other_than=other_than, before=before)
