"""Components and artifact types of one's own: in a DAG file, and in this package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import word_count
from pages import files_of
from planned import Pipeline, parsed

from airflow_provider_mlpipe import Artifact, ComponentOperator, PropertyType
from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT
from airflow_provider_mlpipe.exceptions import PipelineError, UserCodeError

CHECKOUT = PACKAGE_ROOT.parent


@pytest.fixture
def dag_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In a subfolder of the DAGs folder, which is on the import path as in Airflow."""
    monkeypatch.syspath_prepend(str(tmp_path / "dags"))
    return word_count.write(tmp_path / "dags", texts=tmp_path / "texts", pipeline_root=tmp_path / "root")


def test_a_dag_file_has_components_and_types_of_its_own(pipeline: Pipeline, dag_file: Path) -> None:
    pipeline.run(pipeline.own(parsed(dag_file)))
    tallies = pipeline.store.latest_artifacts("WordTally", pipeline="word_count", limit=2)
    assert [tally.properties["counts"] for tally in tallies] == [
        {"be": 2, "to": 2},
        {"be": 2, "not": 1, "or": 1, "to": 2},
    ]
    assert [tally.summary() for tally in tallies] == ["2 words", "4 words"]
    assert json.loads(Path(tallies[0].uri, "tally.json").read_text())["earlier"] == tallies[1].properties["counts"]

    again = pipeline.plan(pipeline.own(parsed(dag_file)))
    assert {name: node.verdict.value for name, node in again.items()} == {
        "Corpus": "resolved",
        "WordCount": "hit",
        "Last": "resolved",
        "Second": "run",  # of what the first had counted it now reads its own
    }


def test_the_one_of_the_docs_runs(pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of("docs/components.md")
    assert list(files) == ["corpus.py", "executor.py"]
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("to be or not to be")
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("/data/corpus", str(tmp_path / "corpus")))
    monkeypatch.syspath_prepend(str(tmp_path))
    dag = pipeline.own(parsed(tmp_path / "corpus.py"))
    dag.get_task("WordCount").pipeline_root = str(tmp_path / "root")
    pipeline.run(dag)
    (tally,) = pipeline.store.latest_artifacts("Tally", pipeline="word_count", limit=1)
    assert tally.properties == {"words": 2}
    assert json.loads(Path(tally.uri, "counts.json").read_text()) == {"to": 2, "be": 2}


def test_its_executor_counts_as_code(pipeline: Pipeline, dag_file: Path) -> None:
    pipeline.run(pipeline.own(parsed(dag_file)))
    executor = dag_file.with_name("executor.py")
    executor.write_text(executor.read_text().replace("sorted(words.items())", "words.items()"))
    assert "executor" in pipeline.plan(pipeline.own(parsed(dag_file)))["WordCount"].reason


def test_who_does_not_know_a_type_reads_what_it_declared(pipeline: Pipeline, dag_file: Path) -> None:
    pipeline.run(pipeline.own(parsed(dag_file)))
    code = (
        "import sys; from airflow_provider_mlpipe.metadata.store import MetadataStore;"
        "found = MetadataStore(sys.argv[1]).latest_artifacts('WordTally', pipeline='word_count', limit=1);"
        "print(*(f'{tally.TYPE_NAME} {tally.properties[\"words\"]}' for tally in found))"
    )
    said = subprocess.run([sys.executable, "-c", code, pipeline.dsn], capture_output=True, text=True, check=True)
    assert said.stdout == "WordTally 2\n"


def test_a_type_must_not_take_a_standard_types_name() -> None:
    with pytest.raises(PipelineError, match=r"test_own_component\..*Model: the artifact type Model is a standard one"):
        type("Model", (Artifact,), {"__module__": __name__, "PROPERTIES": {"size": PropertyType.INT}})


def test_what_is_in_no_package_has_its_executor_beside_it(dag_file: Path) -> None:
    operator = type(parsed(dag_file).get_task("WordCount"))
    assert issubclass(operator, ComponentOperator)
    assert f"{dag_file.parent}/executor.py:run" == operator.EXECUTOR


def test_an_executor_of_another_folder_does_not_run_instead(
    pipeline: Pipeline, dag_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "dags" / "executor.py"
    wrong.write_text("def run(**given): raise ValueError('the wrong one')")
    linked = tmp_path / "dags" / "linked"
    linked.symlink_to(dag_file.parent)
    monkeypatch.chdir(tmp_path / "dags")
    pipeline.run(pipeline.own(parsed(linked / dag_file.name)))
    (tally,) = pipeline.store.latest_artifacts("WordTally", pipeline="word_count", limit=1)
    assert tally.properties["words"] == 2
    again = pipeline.plan(pipeline.own(parsed(dag_file)))
    assert again["WordCount"].verdict.value == "hit", again["WordCount"].reason


def test_a_base_class_without_outputs_has_no_executor_to_hand_on(dag_file: Path) -> None:
    text = dag_file.read_text().replace("class WordCountOperator(ComponentOperator)", "class WordCountOperator(Base)")
    dag_file.write_text(
        text.replace("class WordCount", "class Base(ComponentOperator):\n    pass\n\n\nclass WordCount")
    )
    operator = type(parsed(dag_file).get_task("WordCount"))
    assert [each.EXECUTOR for each in operator.__mro__[:2]] == [f"{dag_file.parent}/executor.py:run", ""]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "planned", "words"),
    [
        (("def run(", "def run(:"), "fails", "executor.py, line 9: not valid Python"),
        (("def run(", "def ran("), "run", r"executor\.py has no function run\(\); it defines: Counter, Path"),
        (("import json", "import json, no_such_library"), "run", "no_such_library"),
        (("before, least, ", "befor, "), "run", r"executor\.py, line 9: run\(\) lacks before, least and has befor, "),
    ],
)
def test_an_executor_that_cannot_run_is_the_users_code(
    pipeline: Pipeline, dag_file: Path, change: tuple[str, str], planned: str, words: str
) -> None:
    executor = dag_file.with_name("executor.py")
    executor.write_text(executor.read_text().replace(*change))
    dag = pipeline.own(parsed(dag_file))
    assert pipeline.plan(dag)["WordCount"].verdict.value == planned
    component = dag.get_task("WordCount")
    assert isinstance(component, ComponentOperator)
    assert component.warm_parent() is None
    with pytest.raises(UserCodeError, match=words):
        pipeline.run(dag)


def test_a_property_of_ones_own_counts_whatever_its_name(pipeline: Pipeline, dag_file: Path) -> None:
    declared = '"language": PropertyType.STRING'
    dag_file.write_text(dag_file.read_text().replace(declared, f'{declared}, "model_id": PropertyType.INT'))
    executor = dag_file.with_name("executor.py")
    executor.write_text(executor.read_text().replace("assert", "#"))
    states = []
    for number in (1, 2):
        dag = pipeline.own(parsed(dag_file))
        dag.get_task("Corpus").properties = {"language": "en", "model_id": number}
        pipeline.run(dag, f"run {number}")
        newest, *_ = pipeline.store.executions(pipeline="word_count", component_id="WordCount").items
        states.append(newest.state.value)
    assert states == ["COMPLETE", "COMPLETE"]


TOY_OPERATOR = '''
"""ToyOperator."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, ExampleStatistics
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Input, Value


class ToyOperator(ComponentOperator):
    """Toys with examples.

    Reads `examples`. Publishes `statistics` (ExampleStatistics).

    :param examples: a channel of Examples
    :param how: with which toy (default "ball")
    :param kwargs: everything that ComponentOperator and BaseOperator take
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"statistics": ExampleStatistics}

    def __init__(self, *, examples: Input[Examples], how: Value[str] = "ball", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examples = examples
        self.how = how
'''
TOY_EXECUTOR = '''
"""Its work."""

from __future__ import annotations

from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics
from airflow_provider_mlpipe.components.toy.kernel import rows
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced


def run(
    *, examples: Examples, how: str, statistics: ExampleStatistics, context: ExecutorContext
) -> dict[str, Produced]:
    """Toy with them."""
    return {"statistics": Produced(custom_properties={"rows": rows()})}
'''
TOY_KERNEL = '''
"""What it does to rows."""

from __future__ import annotations

import tensorflow_transform as tft


def rows() -> int:
    """Count them."""
    return len(tft.__name__)
'''
DERIVED = """
from airflow_provider_mlpipe import ToyOperator
from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.user_code import executor_source, imported_first
from airflow_provider_mlpipe.execution.warm import HEAVY, PRELOADED

executor = ToyOperator.SPEC.executor
address = Address.parse(executor)
assert executor == "airflow_provider_mlpipe.components.toy.executor:run", executor
assert address.module in PRELOADED
assert "tensorflow-transform" in executor_source(address).libraries
assert "tensorflow_transform" in imported_first(address) & HEAVY
"""


# Those of this component, and those of the whole.
RULES = "toy or Toy or circle or authoring or linter or layout or contributing"


def test_a_component_is_one_folder_and_a_public_name(tmp_path: Path) -> None:
    """Added to a copy of the package, it is held against the rules that the others are held against."""
    shutil.copytree(PACKAGE_ROOT, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "CONTRIBUTING.md", "README.md"):
        shutil.copy(CHECKOUT / file, tmp_path)
    tests = ("tests/unit/test_imports.py", "tests/unit/components/test_docstrings.py")
    for test in tests:
        (tmp_path / test).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / test, tmp_path / test)
    toy = tmp_path / PACKAGE / "components" / "toy"
    toy.mkdir()
    (toy / "__init__.py").write_text('"""Toy: plays."""\n')
    for name, text in (("operator", TOY_OPERATOR), ("executor", TOY_EXECUTOR), ("kernel", TOY_KERNEL)):
        (toy / f"{name}.py").write_text(text.lstrip("\n"))
    with (tmp_path / PACKAGE / "__init__.pyi").open("a") as names:
        names.write("from .components.toy.operator import ToyOperator as ToyOperator\n")

    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for command in (
        ["ruff", "check", "--no-cache", "--ignore=I001", PACKAGE],
        ["python", "-c", DERIVED],
        ["pytest", "-q", "-p", "no:cacheprovider", "-k", RULES, *tests],
    ):
        program = str(Path(sys.executable).with_name(command[0]))
        done = subprocess.run([program, *command[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command[0]}: {done.stdout}\n{done.stderr}"
