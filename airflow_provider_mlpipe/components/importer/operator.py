"""ImporterOperator: registers a folder that exists already as an artifact, without copying it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import ARTIFACT_TYPES, Artifact
from airflow_provider_mlpipe.caching import driver, fingerprint
from airflow_provider_mlpipe.caching.driver import ComponentRun, Resolution
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.node import ResolvingOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Ignored


class ImporterOperator(ResolvingOperator):
    """Registers a folder that exists already as an artifact, without copying it.

    Reads no artifact. Publishes `result`, an artifact of the given type whose URI is the folder. It is hashed in every
    run; while content, type, place and properties are equal, it is the same artifact again.

    :param source_uri: the folder, whose content is the artifact's digest
    :param artifact_type: one of the standard artifact classes, or its name
    :param properties: a dict of properties that the type declares (default None)
    :param custom_properties: a dict of any others (default None)
    :param reimport: whether to register a new artifact even where an equal one is there (default False). Its readers
        hit all the same, since they go by its content
    :param kwargs: everything that NodeOperator and BaseOperator take

    Raises PipelineError for an unknown `artifact_type`, when its outputs are asked for and thus by `create_dag`. The
    task raises InvalidInputError when `source_uri` is missing or no folder, and InvalidValueError for a property that
    the type does not declare, or declares otherwise.
    """

    def __init__(
        self,
        *,
        source_uri: Content[str],
        artifact_type: Config[type[Artifact] | str],
        properties: Config[Mapping[str, Any] | None] = None,
        custom_properties: Config[Mapping[str, Any] | None] = None,
        reimport: Ignored[bool] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_uri = source_uri
        self.artifact_type = artifact_type if isinstance(artifact_type, str) else artifact_type.TYPE_NAME
        self.properties = properties
        self.custom_properties = custom_properties
        self.reimport = reimport

    def output_types(self) -> Mapping[str, type[Artifact]]:
        """`result`, of the given type."""
        try:
            return {"result": ARTIFACT_TYPES[self.artifact_type]}
        except KeyError:
            known = ", ".join(sorted(ARTIFACT_TYPES))
            raise PipelineError(f"{self.task_id}: no artifact type {self.artifact_type!r}; known: {known}") from None

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """Hashes the content."""
        uri = Path(run.parameters["source_uri"])
        if not uri.is_dir():
            raise InvalidInputError(f"{run.component_id}.source_uri: {uri} is not a folder")
        computed = fingerprint.compute(run.spec, inputs=run.inputs, parameters=run.parameters, external=run.external)
        artifact = self.output_types()["result"](
            uri=str(uri),
            digest=run.external["source_uri"],
            properties=run.parameters["properties"] or {},
            custom_properties=run.parameters["custom_properties"] or {},
        )
        start = driver.execution_start(run, computed)
        return Resolution(start=start, outputs={"result": [artifact]}, reuse=not run.parameters["reimport"])
