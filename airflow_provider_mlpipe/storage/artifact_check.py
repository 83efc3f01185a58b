"""Looks at the files of artifacts again, and says whose state in the store is not true any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.storage.artifact_files import loss


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An artifact with another state than the store says, and why; `state` is None when its files are out of reach."""

    artifact: Artifact
    state: ArtifactState | None
    reason: str


def check(artifacts: Iterable[Artifact], *, give_up: bool = False) -> Iterator[Finding]:
    """Compare the content of the files of LIVE and MISSING artifacts with their recorded digests.

    With `give_up`, files that are out of reach count as lost, except those that this user may not read.
    """
    for artifact in artifacts:
        if artifact.state in (ArtifactState.LIVE, ArtifactState.MISSING):
            found = _finding(artifact, give_up)
            if found.state is not artifact.state and (found.state or artifact.state is ArtifactState.LIVE):
                yield found


def _finding(artifact: Artifact, give_up: bool) -> Finding:
    try:
        problem = loss(artifact, "digest")
    except TransientError as error:
        return Finding(artifact=artifact, state=ArtifactState.MISSING if give_up else None, reason=str(error))
    except InvalidInputError as error:
        return Finding(artifact=artifact, state=None, reason=str(error))
    state = ArtifactState.MISSING if problem else ArtifactState.LIVE
    return Finding(artifact=artifact, state=state, reason=problem or "its files are there, and as they were recorded")
