"""Looks at the files of artifacts again, and says whose state in the store is not true any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.storage.artifact_files import look


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An artifact of which the store knows another state, or another `stamp` of its files, and why.

    `state` is None when its files are out of reach.
    """

    artifact: Artifact
    state: ArtifactState | None
    reason: str
    stamp: str = ""

    @property
    def is_of_state(self) -> bool:
        """Whether the store knows another state."""
        return self.state is not self.artifact.state

    @property
    def is_of_stamp(self) -> bool:
        """Whether the files are as they were published, but have another stamp: they were moved, or written again."""
        files = self.artifact.files
        return self.state is ArtifactState.LIVE and files is not None and self.stamp != files.stamp


def check(artifacts: Iterable[Artifact], *, give_up: bool = False) -> Iterator[Finding]:
    """Compare the content of the files of LIVE and MISSING artifacts with their recorded digests.

    With `give_up`, files that are out of reach count as lost, except those that this user may not read.
    """
    for artifact in artifacts:
        if artifact.state in (ArtifactState.LIVE, ArtifactState.MISSING):
            found = _finding(artifact, give_up)
            is_away = found.state is None and artifact.state is ArtifactState.MISSING
            if (found.is_of_state or found.is_of_stamp) and not is_away:
                yield found


def _finding(artifact: Artifact, give_up: bool) -> Finding:
    try:
        found = look(artifact, "digest")
    except TransientError as error:
        return Finding(artifact=artifact, state=ArtifactState.MISSING if give_up else None, reason=str(error))
    except InvalidInputError as error:
        return Finding(artifact=artifact, state=None, reason=str(error))
    state = ArtifactState.MISSING if found.problem else ArtifactState.LIVE
    reason = found.problem or "its files are there, and as they were recorded"
    return Finding(artifact=artifact, state=state, reason=reason, stamp=found.stamp)
