"""ImporterOperator: registers an existing folder as an artifact, without copying it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import Artifact, find_type
from airflow_provider_mlpipe.caching import driver, fingerprint
from airflow_provider_mlpipe.caching.driver import ComponentRun, Resolution
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.node import ResolvingOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Ignored

_FILES = {"Schema": "schema.pbtxt", "HyperParameters": "best_hyperparameters.txt"}
"""What readers of a type that is a single file call it."""


class ImporterOperator(ResolvingOperator):
    """Registers an existing folder as an artifact, without copying it.

    Reads no artifact. Publishes `result`, an artifact of the given type whose URI is the folder. Every run hashes the
    folder. It publishes the same artifact again if content, type, path and properties are equal.

    :param source_uri: the folder; the artifact's digest is computed from its content
    :param artifact_type: an artifact class, or its name
    :param properties: a dict of properties that the type declares (default None)
    :param custom_properties: a dict of other properties (default None)
    :param reimport: whether to register a new artifact even if an equal one exists (default False). Components that
        read it still get cache hits, because their fingerprints cover its content only
    :param kwargs: everything that NodeOperator and BaseOperator take

    Raises PipelineError at DAG parse time for an unknown `artifact_type`.
    The task raises InvalidInputError when `source_uri` is missing or not a folder, and InvalidValueError for a property
    that the type does not declare, or declares with another type.
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
        uri = Path(run.parameters["source_uri"])
        if uri.is_file():
            raise InvalidInputError(
                f"{run.component_id}.source_uri: {uri} is a file, but an artifact is a folder: put the file into "
                f"a folder of its own{self._under_its_name()}, and give that"
            )
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

    def _under_its_name(self) -> str:
        name = _FILES.get(self.output_types()["result"].TYPE_NAME)
        return f", under the name {name}" if name else ""
