"""Parts: a component whose input takes one artifact, but gets several, runs once for each of them.

A part is an execution of its own, with its own fingerprint. So of a window of thirty spans, only the new one runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.caching.driver import ComponentRun, Decision
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.store import Part

SPAN, VERSION = "span", "version"
_SHOWN = 10


def by_input(run: ComponentRun) -> list[ComponentRun]:
    """One part for each artifact of the inputs that take one; what has one artifact is an input of each part.

    Raises InvalidInputError when two inputs have several artifacts, but not of the same spans.
    """
    several = {
        name: artifacts
        for name, artifacts in run.inputs.items()
        if len(artifacts) > 1 and not run.spec.inputs[name].several
    }
    if not several:
        return [run]
    _check_agreement(run.component_id, several)
    count = len(next(iter(several.values())))
    return numbered(
        [
            replace(run, inputs={**run.inputs, **{name: [found[place]] for name, found in several.items()}})
            for place in range(count)
        ]
    )


def numbered(runs: Sequence[ComponentRun]) -> list[ComponentRun]:
    """The runs as the parts of one set. What their fingerprints have in common is computed once."""
    part_set, how = Part().set, driver.work(runs[0]) if len(runs) > 1 else None
    return [
        replace(run, part=Part(set=part_set, number=number, count=len(runs)), how=how)
        for number, run in enumerate(runs)
    ]


def in_order(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Artifacts by span, version and id; those without a span stay before the others, in their order."""
    return sorted(artifacts, key=lambda one: order(one.properties))


def order(properties: Mapping[str, Any]) -> tuple[int, ...]:
    """What artifacts with these properties are sorted by: their span, then its version."""
    return tuple(properties.get(name, -1) for name in (SPAN, VERSION))


def properties_of(run: ComponentRun) -> Mapping[str, Any]:
    """The span and version that the outputs of a part have: its own, or the newest of its inputs.

    Optional inputs count only if no other input has a span: what is judged is required, and what it is compared with,
    or begins with, is often optional.
    """
    if run.span is not None:
        return {SPAN: run.span.number} | ({} if run.span.version is None else {VERSION: run.span.version})
    for optional in (False, True):
        found = [
            {name: artifact.properties[name] for name in (SPAN, VERSION) if name in artifact.properties}
            for name, artifacts in run.inputs.items()
            if run.spec.inputs[name].optional is optional
            for artifact in artifacts
            if SPAN in artifact.properties
        ]
        if found:
            return max(found, key=order)
    return {}


def name_of(run: ComponentRun) -> str:
    """What a part is called: its span, or else its number from 1."""
    properties = properties_of(run)
    return f"span {properties[SPAN]}" if SPAN in properties else f"part {run.part.number + 1}"


def outputs_of(published: Mapping[str, Sequence[Artifact]]) -> list[Mapping[str, Sequence[Artifact]]]:
    """What each part published, of a component whose parts publish one artifact for each output; else all together."""
    counts = {len(artifacts) for artifacts in published.values()}
    if len(counts) != 1 or counts == {1}:
        return [published]
    return [{key: [found[place]] for key, found in published.items()} for place in range(counts.pop())]


def joined(published: Sequence[Mapping[str, Sequence[Artifact]]]) -> dict[str, list[Artifact]]:
    """What all parts published, by key, in the order of the parts."""
    whole: dict[str, list[Artifact]] = {}
    for outputs in published:
        for key, artifacts in outputs.items():
            whole.setdefault(key, []).extend(artifacts)
    return whole


def plan_of(decided: Sequence[tuple[ComponentRun, Decision]]) -> str:
    """What will happen to the parts, in words, such as `hit 30 of 31, runs: span 31`."""
    hits = sum(decision.cached is not None for _, decision in decided)
    runs = [name_of(run) for run, decision in decided if decision.cached is None]
    if not runs:
        return f"hit {hits} of {len(decided)}"
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    return f"hit {hits} of {len(decided)}, runs: {', '.join(runs[:_SHOWN])}{more}"


def _check_agreement(component_id: str, several: Mapping[str, Sequence[Artifact]]) -> None:
    keys = {name: [one.properties.get(SPAN) for one in artifacts] for name, artifacts in several.items()}
    (first, spans), *others = keys.items()
    for name, theirs in others:
        if theirs != spans:
            raise InvalidInputError(
                f"{component_id}: {first} has {len(spans)} artifacts, of the spans {_listed(spans)}, but {name} has "
                f"{len(theirs)}, of the spans {_listed(theirs)}; give both channels of the same spans, such as with "
                "newest(n)"
            )


def _listed(spans: Sequence[Any]) -> str:
    return ", ".join("none" if span is None else str(span) for span in spans)
