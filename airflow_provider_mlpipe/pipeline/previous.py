"""What a node published before: the nearest earlier span, to compare a day with the day before."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.storage.artifact_files import loss

_LOOKS_BACK = 10


def previous(
    store: MetadataStore, given: Sequence[Artifact], *, pipeline: str, component_id: str, span: int | None
) -> Artifact | None:
    """The artifact of the nearest span before `span`, of those `given` in this run and those of earlier runs.

    Without a `span`, it is what the node published before the one that is given. Artifacts whose files are lost are
    passed over. Raises TransientError or InvalidInputError for files that are out of reach.
    """
    if not given:
        return None
    if span is None:
        (current, *_), kind = given, given[0].TYPE_NAME
        earlier = store.latest_artifacts(
            kind, pipeline=pipeline, component_id=component_id, before=current.id, limit=_LOOKS_BACK
        )
        return _with_files(earlier)
    of_this_run = [one for one in given if one.properties.get(parts.SPAN, span) < span]
    stored = _with_files(
        store.spans_before(
            given[0].TYPE_NAME, pipeline=pipeline, component_id=component_id, span=span, limit=_LOOKS_BACK
        )
    )
    return max([*of_this_run, *([stored] if stored else [])], key=lambda one: parts.order(one.properties), default=None)


def _with_files(artifacts: Sequence[Artifact]) -> Artifact | None:
    return next((artifact for artifact in artifacts if loss(artifact, "exists") is None), None)
