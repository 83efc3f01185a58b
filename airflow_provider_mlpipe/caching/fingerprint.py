"""The fingerprint of an execution: if two executions have the same one, the outputs of the earlier can be reused.

A fingerprint is made of named parts, each a short text. If all parts are equal, the fingerprints are equal. The parts
that differ are the reasons for a miss. The pipeline, the component's id, the run and artifact ids are not parts, so a
renamed component or another pipeline still gets a hit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.environment import LIBRARY_DEFAULTS, environment_parts
from airflow_provider_mlpipe.caching.user_code import Source, executor_source, module_source
from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError
from airflow_provider_mlpipe.metadata.store import Span
from airflow_provider_mlpipe.nested import leaves
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec
from airflow_provider_mlpipe.storage.digests import path_digest, text_digest
from airflow_provider_mlpipe.storage.disk_errors import translated

HIDDEN = "***"
"""What stands for a secret begins so."""

_ENTRY = "user code of "
_VARIABLE = "environment variable "
_SPAN = "span"
_CONTENT = "content of "


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The `parts` by name, and the absolute paths of the local source files that were hashed for them.

    `folders` are the folders of the user's source files, by names that do not change when they move. `unknown` says
    what else the code may depend on, as texts that name the remedy.
    """

    parts: Mapping[str, str]
    source_files: frozenset[str]
    folders: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 over the parts, in hex."""
        return text_digest(canonical_json(dict(self.parts)))


def compute(
    spec: ComponentSpec,
    *,
    inputs: Mapping[str, Sequence[Artifact]],
    parameters: Mapping[str, Any],
    external: Mapping[str, str],
    span: Span | None = None,
    shown: Mapping[str, Any] | None = None,
    cache_files: Sequence[str] = (),
    cache_env: Sequence[str] = (),
) -> Fingerprint:
    """The fingerprint of one execution. `shown` are the parameters without secrets, which the parts have.

    `external` has the digests of inputs outside the store: {name: digest}, from `content_digests` or an operator's
    `external_inputs`. Raises InvalidInputError or UserCodeError when a file cannot be read or a library is missing, and
    TransientError when its disk does not answer.
    """
    how = of_work(spec, parameters=parameters, shown=shown, cache_files=cache_files, cache_env=cache_env)
    return with_data(how, spec, inputs=inputs, external=external, span=span)


def of_work(
    spec: ComponentSpec,
    *,
    parameters: Mapping[str, Any],
    shown: Mapping[str, Any] | None = None,
    cache_files: Sequence[str] = (),
    cache_env: Sequence[str] = (),
) -> Fingerprint:
    """What all parts of a try have in common: code, libraries, parameters. Its parts are those of `compute`."""
    parts = {"component": spec.component_type}
    sources: list[Source] = []
    users: dict[str, Source] = {}
    if spec.executor:  # an Importer or Resolver has none
        address = Address.parse(spec.executor)
        executor = executor_source(address)
        sources.append(executor)
        users |= {} if address.is_ours else {"EXECUTOR": executor}
        parts |= {"executor": executor.entry, "executor function": address.function}
        parts |= {f"output {key}": artifact_type for key, artifact_type in spec.outputs.items()}
        parts |= {f"executor file {name}": digest for name, digest in executor.files.items()}
        parts |= {f"library {name}": version for name, version in executor.libraries.items()}
    parts |= {
        f"file {number} {Path(path).name}": _path_digest("cache_files", path) for number, path in enumerate(cache_files)
    }
    for name, parameter in spec.parameters.items():
        more, source = _parameter_parts(
            name, parameter.kind, parameters.get(name), (parameters if shown is None else shown).get(name)
        )
        parts |= more
        users |= {name: source} if source else {}
    sources += [source for source in users.values() if source not in sources]
    if users:  # what this package's own code makes does not depend on Python's version, but on that of its libraries
        parts["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    parts |= {f"{_VARIABLE}{name}": digest for name, digest in _environment(sources, cache_env).items()}
    return Fingerprint(
        parts=parts,
        source_files=frozenset().union(*(source.paths for source in sources)),
        folders={f"{name} {file}": path for name, user in users.items() for file, path in user.folders.items()},
        unknown=() if cache_env else tuple(_unknown(sources)),
    )


def with_data(
    how: Fingerprint,
    spec: ComponentSpec,
    *,
    inputs: Mapping[str, Sequence[Artifact]],
    external: Mapping[str, str],
    span: Span | None = None,
) -> Fingerprint:
    """The fingerprint of what `of_work` gave, with the data of one part."""
    parts = dict(how.parts)
    ignored = {key for key, declared in spec.inputs.items() if declared.ignored}
    for key in inputs.keys() - ignored:
        parts |= _input_parts(key, inputs[key])
    if span is not None:
        parts |= {_SPAN: str(span.number)} | ({} if span.version is None else {"version": str(span.version)})
    parts |= {f"{_CONTENT}{name}": digest for name, digest in external.items()}
    return replace(how, parts=parts)


def _environment(sources: Sequence[Source], cache_env: Sequence[str]) -> dict[str, str]:
    libraries = {name.partition(".")[0] for source in sources for name in source.imports}
    defaults = {} if libraries.isdisjoint({"keras", "tensorflow", "tf_keras"}) else LIBRARY_DEFAULTS
    found = frozenset().union(*(source.variables for source in sources))
    return environment_parts(cache_env, found, defaults)


def _unknown(sources: Sequence[Source]) -> Iterator[str]:
    if places := [place for source in sources for place in source.unnamed]:
        yield (
            f"{'; '.join(places)}: reads environment variables whose names are not written there, so a change of their "
            "values is not noticed; name those that change the result in cache_env"
        )


def content_digests(spec: ComponentSpec, parameters: Mapping[str, Any]) -> dict[str, str]:
    """The content digest of each Content parameter's file or folder; a module (`.py`) counts as code instead."""
    paths = content_paths(spec, parameters)
    return {name: _path_digest(name, path) for name, path in paths.items() if not _is_code(path)}


def content_paths(spec: ComponentSpec, parameters: Mapping[str, Any]) -> dict[str, str]:
    """The path of each Content parameter that is given."""
    kinds = {name: parameter.kind for name, parameter in spec.parameters.items()}
    return {
        name: parameters[name] for name, kind in kinds.items() if kind == ComponentSpec.CONTENT and parameters.get(name)
    }


def explain(old: Mapping[str, str] | None, new: Mapping[str, str], parameters: Mapping[str, Any]) -> str:
    """How `new` differs from the parts of an earlier execution of that component, as text; empty if it does not."""
    if old is None:
        return "first run"
    changed = _changed(old, new)
    if _SPAN in changed:  # then its content differs, as it should
        changed = [name for name in changed if not name.startswith(_CONTENT)]
    return "; ".join(_change(name, old.get(name), new.get(name), parameters) for name in changed)


def nearest(earlier: Sequence[Mapping[str, str]], new: Mapping[str, str]) -> Mapping[str, str] | None:
    """The earlier parts that differ least from `new`, the first if several do; None if there are no earlier parts."""
    return min(earlier, key=lambda old: len(_changed(old, new)), default=None)


def canonical_json(value: Any) -> str:
    """JSON that is the same for equal values: sorted keys, no spaces, NaN and infinities by their JavaScript names.

    Raises InvalidValueError for a value that JSON cannot express, e.g. a set.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except TypeError as error:
        raise InvalidValueError(f"{value!r} cannot be a parameter: {error}; use lists, dicts and scalars") from error


def _parameter_parts(name: str, kind: int, value: Any, shown: Any) -> tuple[dict[str, str], Source | None]:
    if kind == ComponentSpec.VALUE or value is None:
        return ({} if kind == ComponentSpec.IGNORED else {f"parameter {name}": canonical_json(shown)}), None
    if kind == ComponentSpec.FUNCTION:
        module, _, function = str(value).rpartition(".")
        source = module_source(Address(module, function), f"{name}={value!r}")
        return {f"parameter {name}": canonical_json(shown)} | _source_parts(name, source), source
    if kind == ComponentSpec.CONTENT and _is_code(value):
        source = module_source(Address(str(value), ""), f"{name}={str(value)!r}")
        return _source_parts(name, source), source
    return {}, None


def _is_code(value: Any) -> bool:
    return str(value).endswith(".py") and not Path(value).is_dir()


def _source_parts(name: str, source: Source) -> dict[str, str]:
    return (
        {f"{_ENTRY}{name}": source.entry}
        | {f"{_ENTRY}{name}, {file}": digest for file, digest in source.files.items()}
        | {f"library {library}": version for library, version in source.libraries.items()}
    )


def _path_digest(name: str, value: str) -> str:
    try:
        return path_digest(Path(value))
    except FileNotFoundError as error:
        raise InvalidInputError(f"{name}: {value} does not exist; give a path that the Airflow worker sees") from error
    except OSError as error:
        raise translated(error, f"{name}: {value} cannot be read", "Let the Airflow worker's user read it") from error


def _input_parts(key: str, artifacts: Sequence[Artifact]) -> dict[str, str]:
    """One part for each artifact. Several are named by their spans, so that the reason of a miss can name the new one.

    Their order counts: it is in the names, or is that of the spans.
    """
    if len(artifacts) <= 1:
        return {f"input {key}": _input_part(artifacts[0]) if artifacts else "none"}
    spans = [artifact.properties["span"] for artifact in artifacts if "span" in artifact.properties]
    are_told_apart = len(spans) == len(artifacts) and spans == sorted(set(spans))
    names = [f"span {span}" for span in spans] if are_told_apart else [f"[{place}]" for place in range(len(artifacts))]
    return {f"input {key} {name}": _input_part(one) for name, one in zip(names, artifacts, strict=True)}


def _input_part(artifact: Artifact) -> str:
    matters = {key: value for key, value in artifact.properties.items() if key not in artifact.DESCRIPTIVE}
    custom = dict(artifact.custom_properties)
    part = {"type": artifact.TYPE_NAME, "digest": artifact.digest, "properties": matters, "custom_properties": custom}
    return canonical_json(part)


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {**old, **new} if old.get(name) != new.get(name))


def _change(name: str, old: str | None, new: str | None, parameters: Mapping[str, Any]) -> str:
    if name.startswith(_ENTRY):
        parameter, _, file = name.removeprefix(_ENTRY).partition(", ")
        return f"user code changed: {file or Path(str(parameters.get(parameter))).name}"
    if name.startswith("parameter ") and old and new:
        return "; ".join(_value_changes(name, json.loads(old), json.loads(new)))
    if name.startswith("input "):
        return _input_change(name, old or "none", new or "none")
    if name == _SPAN and new:
        return f"span {new} is new"
    for prefix, words in _DIGESTS.items():
        if name.startswith(prefix):
            return f"{words}{name.removeprefix(prefix)} changed"
    return f"{name} {_short(old or 'unset')} → {_short(new or 'unset')}"


def _value_changes(path: str, old: Any, new: Any) -> Iterator[str]:
    """The leaves that differ, such as `parameter train_args.num_steps 200 → 400`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if key not in old or key not in new or _differ(old[key], new[key]):
                yield from _value_changes(f"{path}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            if _differ(before, after):
                yield from _value_changes(f"{path}[{place}]", before, after)
    elif _is_hidden(old) or _is_hidden(new):
        yield f"{path} changed"
    else:
        yield f"{path} {_short(canonical_json(old))} → {_short(canonical_json(new))}"


def _is_hidden(value: Any) -> bool:
    return any(isinstance(leaf, str) and leaf.startswith(HIDDEN) for leaf in leaves(value))


def _differ(old: Any, new: Any) -> bool:
    """Whether two values differ, also in type: 1 is not 1.0."""
    return canonical_json(old) != canonical_json(new)


def _input_change(name: str, old: str, new: str) -> str:
    if "none" in (old, new):
        return f"{name}: {'added' if old == 'none' else 'removed'}"
    before, after = ({"custom_properties": {}} | json.loads(part) for part in (old, new))
    span = after["properties"].get("span")
    if span != before["properties"].get("span"):
        return f"{name}: span {span} is new"
    for properties in ("properties", "custom_properties"):
        if _differ(before[properties], after[properties]):
            return "; ".join(_value_changes(name, before[properties], after[properties]))
    return f"{name} changed"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


_SHOWN = 60
_DIGESTS: Mapping[str, str] = {
    "executor": "executor",
    _CONTENT: _CONTENT,
    "file ": "file ",
    _VARIABLE: _VARIABLE,
}
"""Parts whose values are digests: the text says only that they changed."""
