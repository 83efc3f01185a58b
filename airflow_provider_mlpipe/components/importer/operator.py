"""ImporterOperator: registers an existing folder as an artifact, without copying it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import Artifact, find_type
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.caching.driver import ComponentRun, Resolution
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.node import ResolvingOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Ignored


class ImporterOperator(ResolvingOperator):
    """Registers an existing folder as an artifact, without copying it.

    Reads no artifact. Publishes `result`, an artifact of the given type whose URI is the folder. Every run hashes the
    folder. It publishes the same artifact again if content, type, path and properties are equal.

    :param source_uri: the folder; the artifact's digest is computed from its content. It may be a file for a type that
        is a single file (`FILE`): Schema and HyperParameters
    :param artifact_type: an artifact class, or its name
    :param properties: a dict of properties that the type declares (default None)
    :param custom_properties: a dict of other properties (default None)
    :param reimport: whether to register a new artifact even if an equal one exists (default False). Components that
        read it still get cache hits, because their fingerprints cover its content only
    :param kwargs: everything that NodeOperator and BaseOperator take

    Raises PipelineError at DAG parse time for an unknown `artifact_type`.
    The task raises InvalidInputError when `source_uri` does not exist, or is a file of another type, and
    InvalidValueError for a property that the type does not declare, or declares with another type.
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
        self._given_type = artifact_type
        self.artifact_type = getattr(artifact_type, "TYPE_NAME", artifact_type)
        self.properties = properties
        self.custom_properties = custom_properties
        self.reimport = reimport

    def output_types(self) -> Mapping[str, type[Artifact]]:
        """Return the type of `result`; raises PipelineError for an unknown one."""
        return {"result": find_type(self._given_type, self.task_id)}

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """Return the folder as an artifact with its content digest."""
        artifact_type, uri = self.output_types()["result"], Path(run.parameters["source_uri"])
        if uri.is_file() and artifact_type.FILE is None:
            raise InvalidInputError(
                f"{run.component_id}.source_uri: {uri} is a file, but {artifact_type.TYPE_NAME} is a folder: put the "
                "file into a folder of its own, and give that"
            )
        computed = driver.fingerprint(run)
        artifact = artifact_type(
            uri=str(uri),
            digest=run.external["source_uri"],
            properties=run.shown["properties"] or {},
            custom_properties=run.shown["custom_properties"] or {},
        )
        start = driver.execution_start(run, computed)
        return Resolution(start=start, outputs={"result": [artifact]}, reuse=not run.parameters["reimport"])
