"""Flips, one at a time, everything that must change a fingerprint and everything that must not, across processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from code_files import write

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.caching.fingerprint import canonical_json, compute, explain, nearest
from airflow_provider_mlpipe.caching.libraries import PACKAGE
from airflow_provider_mlpipe.metadata.store import Span
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec

CHILD = """
import json, sys
from airflow_provider_mlpipe.caching import fingerprint, libraries
from airflow_provider_mlpipe.artifacts import Artifact, Examples, ModelBlessing, Schema
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec

types = {"Examples": Examples, "Schema": Schema, "ModelBlessing": ModelBlessing, "Artifact": Artifact}

def compute(case):
    sys.path[0] = case["folder"]
    libraries._providers.cache_clear()  # each case has its own installation
    spec = ComponentSpec(
        component_type=case["component_type"],
        executor=case["executor"],
        outputs=case["outputs"],
        parameters={
            name: ComponentSpec.Parameter(kind=ComponentSpec.ParameterKind.Value(kind))
            for name, kind in case["kinds"].items()
        },
    )
    inputs = {
        key: [types[a.pop("type")](**a) for a in (given if isinstance(given, list) else [given]) if a]
        for key, given in case["inputs"].items()
    }
    external = fingerprint.content_digests(spec, case["parameters"])
    result = fingerprint.compute(
        spec, inputs=inputs, parameters=case["parameters"], external=external, cache_files=case["cache_files"]
    )
    return result.digest, dict(result.parts)

json.dump([compute(case) for case in json.load(sys.stdin)], sys.stdout)
"""


@dataclass(frozen=True)
class Case:
    """A component's try, as JSON for the child, and the folder with its files."""

    folder: Path
    component_type: str = "Trainer"
    executor: str = "my_executor:run"
    outputs: dict[str, str] = field(default_factory=lambda: {"model": "Model"})
    inputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    cache_files: tuple[str, ...] = ()

    def write(self, name: str, text: str) -> Case:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def parameter(self, **values: Any) -> Case:
        return replace(self, parameters=self.parameters | values)

    def input(self, key: str, **values: Any) -> Case:
        return replace(self, inputs=self.inputs | {key: self.inputs[key] | values})


Answer = tuple[str, dict[str, str]]


def fingerprints(cases: list[Case]) -> list[Answer]:
    """The fingerprint and its parts of each case, all in one new process."""
    request = json.dumps([vars(case) | {"folder": str(case.folder)} for case in cases])
    result = subprocess.run([sys.executable, "-c", CHILD], input=request, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [(digest, parts) for digest, parts in json.loads(result.stdout)]


def base(folder: Path) -> Case:
    examples = {
        "type": "Examples",
        "uri": "/data/1",
        "id": 1,
        "digest": "d1",
        "properties": {"splits": ["train", "eval"], "span": 3, "version": 0, "record_counts": {"train": 5}},
        "custom_properties": {"note": "x"},
    }
    case = Case(
        folder=folder,
        inputs={
            "examples": examples,
            "schema": None,
            "schema_like": {
                "type": "ModelBlessing",
                "uri": "/b",
                "digest": "b",
                "properties": {"blessed": 1, "model_digest": "m"},
            },
        },
        parameters={
            "train_args": {"num_steps": 200, "splits": ["train"]},
            "rate": 0.1,
            "module_file": str(folder / "code/model.py"),
            "run_fn": "library_of_mine.run_fn",
            "other_fn": "package_of_mine.module.other_fn",
            "input_base": str(folder / "data"),
            "fail_on": "ERROR",
        },
        kinds={
            "train_args": "VALUE",
            "rate": "VALUE",
            "module_file": "CONTENT",
            "run_fn": "FUNCTION",
            "other_fn": "FUNCTION",
            "input_base": "CONTENT",
            "fail_on": "IGNORED",
        },
        cache_files=(str(folder / "extra.txt"),),
    )
    case.write("my_executor.py", "import executor_helper\ndef run(): import fingerprint_probe")
    case.write("executor_helper.py", "x = 1")
    probe(case, "1.0")
    case.write("code/model.py", "import features, pytest").write("code/features.py", "import deep").write(
        "code/deep.py", ""
    )
    case.write("library_of_mine.py", "import dotted_helper\ndef run_fn(): pass").write("dotted_helper.py", "")
    case.write("package_of_mine/__init__.py", "").write("package_of_mine/module.py", "def other_fn(): pass")
    return case.write("data/a.csv", "1").write("data/b.csv", "2").write("extra.txt", "e")


def probe(case: Case, version: str) -> Case:
    """Installs a library in the folder that the case runs in."""
    metadata = f"Metadata-Version: 2.1\nName: fingerprint-probe\nVersion: {version}\n"
    case.write("fingerprint_probe.dist-info/top_level.txt", "fingerprint_probe")
    case.write("fingerprint_probe.dist-info/INSTALLER", "pip")
    return case.write("fingerprint_probe.dist-info/METADATA", metadata)


def renamed(case: Case, parameter: str, new: str) -> Case:
    old = Path(case.parameters[parameter])
    target = case.folder / new
    target.parent.mkdir(exist_ok=True)
    old.rename(target)
    return case.parameter(**{parameter: str(target)})


MUST_CHANGE: dict[str, Callable[[Case], Case]] = {
    "component type": lambda c: replace(c, component_type="Tuner"),
    "function of the executor": lambda c: replace(c, executor="my_executor:run_otherwise"),
    "type of an output": lambda c: replace(c, outputs={"model": "Schema"}),
    "one more output": lambda c: replace(c, outputs={"model": "Model", "schema": "Schema"}),
    "executor source": lambda c: c.write("my_executor.py", "import executor_helper\ndef run(): return 1"),
    "module the executor imports": lambda c: c.write("executor_helper.py", "x = 2"),
    "library that the executor imports": lambda c: probe(c, "1.1"),
    "user code": lambda c: c.write("code/model.py", "import features, pytest; x = 1"),
    "local import of user code": lambda c: c.write("code/features.py", "import deep; x = 1"),
    "import of an import": lambda c: c.write("code/deep.py", "x = 1"),
    "distribution that user code imports": lambda c: c.write("code/features.py", "import deep, hypothesis"),
    "function named by its module": lambda c: c.write("library_of_mine.py", "def run_fn(): return 1"),
    "local import of that module": lambda c: c.write("dotted_helper.py", "x = 1"),
    "nested parameter": lambda c: c.parameter(train_args={"num_steps": 400, "splits": ["train"]}),
    "order within a list": lambda c: c.parameter(train_args={"num_steps": 200, "splits": ["eval", "train"]}),
    "int is no float": lambda c: c.parameter(train_args={"num_steps": 200.0, "splits": ["train"]}),
    "float in its last bit": lambda c: c.parameter(rate=0.1 + 2**-55),
    "parameter unset": lambda c: c.parameter(rate=None),
    "content of a file": lambda c: c.write("data/a.csv", "11"),
    "one more file": lambda c: c.write("data/c.csv", ""),
    "cache file": lambda c: c.write("extra.txt", "other"),
    "another cache file of that name": lambda c: replace(
        c.write("other/extra.txt", "x"), cache_files=(*c.cache_files, str(c.folder / "other/extra.txt"))
    ),
    "input property": lambda c: c.input("schema_like", properties={"blessed": 0, "model_digest": "m"}),
    "package of a dotted function": lambda c: c.write("package_of_mine/__init__.py", "x = 1"),
    "input content": lambda c: c.input("examples", digest="d2"),
    "input splits": lambda c: c.input("examples", properties={"splits": ["train"], "span": 3, "version": 0}),
    "input span": lambda c: c.input("examples", properties={"splits": ["train", "eval"], "span": 4, "version": 0}),
    "input custom property": lambda c: c.input("examples", custom_properties={"note": "y"}),
    "input type": lambda c: c.input("examples", type="Artifact", properties={}),
    "optional input given": lambda c: replace(
        c, inputs=c.inputs | {"schema": {"type": "Schema", "uri": "/s", "digest": "s"}}
    ),
}

MUST_NOT_CHANGE: dict[str, Callable[[Case], Case]] = {
    "nothing at all": lambda c: c,
    "ignored parameter": lambda c: c.parameter(fail_on="WARNING"),
    "artifact id": lambda c: c.input("examples", id=99),
    "artifact uri": lambda c: c.input("examples", uri="/elsewhere"),
    "input property that only describes": lambda c: c.input(
        "examples", properties=c.inputs["examples"]["properties"] | {"record_counts": {"train": 6}}
    ),
    "order of keys": lambda c: c.parameter(train_args={"splits": ["train"], "num_steps": 200}),
    "name of the module file": lambda c: renamed(c, "module_file", "code/other_name.py"),
    "place of the data": lambda c: renamed(c, "input_base", "elsewhere"),
    "unrelated file beside the code": lambda c: c.write("code/unrelated.py", "x = 1"),
    "touch": lambda c: c.write("data/a.csv", "1"),
}


@pytest.fixture(scope="module")
def unflipped(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return fingerprints([base(tmp_path_factory.mktemp("base"))])[0]


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Case, Answer]]:
    cases = {
        what: flip(base(tmp_path_factory.mktemp("flip"))) for what, flip in {**MUST_CHANGE, **MUST_NOT_CHANGE}.items()
    }
    return dict(zip(cases, zip(cases.values(), fingerprints(list(cases.values())), strict=True), strict=True))


@pytest.mark.parametrize("what", MUST_CHANGE)
def test_what_must_change_it(what: str, unflipped: Answer, flipped: dict[str, tuple[Case, Answer]]) -> None:
    case, (digest, parts) = flipped[what]
    assert digest != unflipped[0]
    assert explain(unflipped[1], parts, case.parameters) not in ("", "first run")


@pytest.mark.parametrize("what", MUST_NOT_CHANGE)
def test_what_must_not_change_it(what: str, unflipped: Answer, flipped: dict[str, tuple[Case, Answer]]) -> None:
    assert flipped[what][1] == unflipped


def test_cache_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    case = base(tmp_path).write("a/v.txt", "1").write("b/v.txt", "2")
    both = replace(case, cache_files=(str(tmp_path / "a/v.txt"), str(tmp_path / "b/v.txt")))
    (before,) = fingerprints([both])
    (after,) = fingerprints([both.write("a/v.txt", "3")])
    assert before != after


def test_a_library_version_counts(tmp_path: Path) -> None:
    case = base(tmp_path)
    (before, old), (after, new) = [fingerprints([probe(case, version)])[0] for version in ("1.0", "1.1")]
    assert before != after
    assert explain(old, new, {}) == "library fingerprint-probe 1.0 → 1.1"


def test_pythons_version_counts_where_user_code_runs(tmp_path: Path) -> None:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    ours = f"{PACKAGE}.components.import_schema_gen.executor:run"
    user = str(write(tmp_path, module="def f(): pass") / "module.py")
    kinds = {"module_file": ComponentSpec.Parameter(kind=ComponentSpec.CONTENT)}
    for executor, given, version in ((ours, None, None), (ours, user, minor), (f"{user}:f", None, minor)):
        spec = ComponentSpec(component_type="Any", executor=executor, parameters=kinds)
        assert compute(spec, inputs={}, parameters={"module_file": given}, external={}).parts.get("python") == version


@pytest.mark.parametrize(("imported", "counts"), [("tensorflow", True), ("tf_keras", True), ("json", False)])
def test_the_backend_of_keras_counts_where_keras_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: str, counts: bool
) -> None:
    module = str(write(tmp_path, module=f"def f(): import {imported}") / "module.py")
    spec = ComponentSpec(component_type="Any", executor=f"{module}:f")
    parts = []
    for backend in ("tensorflow", "jax"):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        parts.append(compute(spec, inputs={}, parameters={}, external={}).parts)
    assert explain(parts[0], parts[1], {}) == ("environment variable KERAS_BACKEND changed" if counts else "")


def test_each_of_several_artifacts_is_a_part_of_it() -> None:
    spec = ComponentSpec(component_type="Any", inputs={"read": ComponentSpec.Input(several=True)})

    def parts(*spans: int | None, digests: str = "abc") -> Any:
        read = [
            Examples(uri="/x", digest=digest, properties={} if span is None else {"span": span})
            for span, digest in zip(spans, digests, strict=False)
        ]
        return compute(spec, inputs={"read": read}, parameters={}, external={}).parts

    assert {"input read span 3", "input read span 4"} < parts(3, 4).keys()
    assert {"input read [0]", "input read [1]"} < parts(None, None).keys() & parts(4, 4).keys() & parts(4, 3).keys()
    assert parts(3, 4) != parts(3, 4, digests="bac")
    assert parts(None, None) != parts(None, None, digests="bac")
    moved = explain(parts(3, 4), parts(4, 5, digests="bc"), {})
    assert moved == "input read span 3: removed; input read span 5: added"


def test_the_span_of_a_source_is_a_part_of_it() -> None:
    def parts(span: Span | None, content: str) -> Any:
        return compute(ComponentSpec(), inputs={}, parameters={}, external={"split s": content}, span=span).parts

    first, corrected = parts(Span(number=3), "a"), parts(Span(number=3, version=1), "a")
    assert len({str(each) for each in (first, corrected, parts(None, "a"), parts(Span(number=4), "a"))}) == 4
    assert explain(first, parts(Span(number=4), "b"), {}) == "span 4 is new"
    assert explain(first, parts(Span(number=3), "b"), {}) == "content of split s changed"
    assert explain(corrected, parts(Span(number=3, version=2), "b"), {}) == "content of split s changed; version 1 → 2"


def test_an_ignored_input_is_no_part_of_it() -> None:
    declared = {
        name: ComponentSpec.Input(artifact_type="Examples", ignored=name == "hint") for name in ("read", "hint")
    }
    spec = ComponentSpec(component_type="Any", inputs=declared)

    def parts(**digests: str | None) -> Any:
        inputs = {name: [Examples(uri="/x", digest=digest)] if digest else [] for name, digest in digests.items()}
        return compute(spec, inputs=inputs, parameters={}, external={}).parts

    assert parts(read="a", hint="b") == parts(read="a", hint="c") == parts(read="a", hint=None) == parts(read="a")
    assert parts(read="a", hint="b") != parts(read="b", hint="b")


def test_reasons_are_plain_words() -> None:
    old = {"parameter steps": "200", "user code of module_file": "a", "library tf": "2.16"}
    new = {"parameter steps": "400", "user code of module_file": "b", "library tf": "2.17"}
    assert explain(old, new, {"module_file": "/dags/flights_model.py"}).split("; ") == [
        "library tf 2.16 → 2.17",
        "parameter steps 200 → 400",
        "user code changed: flights_model.py",
    ]
    assert explain(None, new, {}) == "first run"
    assert explain({}, {"parameter a": "1"}, {}) == "parameter a unset → 1"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": {"steps": 200, "b": 1}}, {"a": {"steps": 400, "b": 1}}, "parameter p.a.steps 200 → 400"),
        ({"steps": 1}, {"steps": 1.0}, "parameter p.steps 1 → 1.0"),
        ({}, {"steps": None}, "parameter p.steps null → null"),
        (["a", {"b": 1}], ["a", {"b": 2}], "parameter p[1].b 1 → 2"),
        (["a"], ["a", "b"], 'parameter p ["a"] → ["a","b"]'),
        ("x" * 100, "y", f'parameter p "{"x" * 58}… → "y"'),
    ],
)
def test_a_parameter_is_told_by_the_leaf_that_differs(old: Any, new: Any, words: str) -> None:
    assert explain({"parameter p": canonical_json(old)}, {"parameter p": canonical_json(new)}, {}) == words


def test_an_input_is_told_by_its_span_or_properties() -> None:
    def part(digest: str, **properties: Any) -> dict[str, str]:
        return {"input examples": canonical_json({"type": "Examples", "digest": digest, "properties": properties})}

    assert explain(part("a", span=4), part("b", span=5), {}) == "input examples: span 5 is new"
    assert explain(part("a", span=4), part("b", span=4), {}) == "input examples changed"
    assert explain(part("a", splits=["x"]), part("b", splits=["y"]), {}) == 'input examples.splits[0] "x" → "y"'
    noted = part("a")["input examples"].replace("{", '{"custom_properties":{"note":"y"},', 1)
    assert explain(part("a"), {"input examples": noted}, {}) == 'input examples.note null → "y"'
    assert explain({"input examples": "none"}, part("a"), {}) == "input examples: added"
    assert explain(part("a"), {"input examples": "none"}, {}) == "input examples: removed"


def test_the_nearest_differs_least_and_is_the_newest_of_those() -> None:
    new = {"a": "1", "b": "2"}
    far, near, nearer = {"a": "0", "b": "0"}, {"a": "1", "b": "0"}, {"a": "0", "b": "2"}
    assert nearest([far, near, nearer], new) is near
    assert nearest([], new) is None


def test_canonical_json_is_one_text_per_value() -> None:
    assert canonical_json({"b": [1, 1.0, None], "a": "é"}) == '{"a":"é","b":[1,1.0,null]}'
    assert len({canonical_json(value) for value in (0.0, -0.0, 0, float("nan"), float("inf"), "0", False)}) == 7
