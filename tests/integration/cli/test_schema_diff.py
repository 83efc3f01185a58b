"""`airflow mlpipe schema diff`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser
from named_runs import named_run

from airflow_provider_mlpipe.artifacts import Artifact, Model, Schema
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore

pytest.importorskip("tensorflow_metadata")
pytestmark = pytest.mark.heavy

OLD, NEW = 'feature { name: "age" type: INT }', 'feature { name: "age" type: FLOAT }'
DIFFERENCE = {"feature": "age", "what": "type", "A": "INT", "B": "FLOAT"}
Diff = Callable[..., tuple[object, str]]


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str]) -> Diff:
    """Runs the command; returns its exit code, or error, and what it printed."""

    def run(*arguments: str) -> tuple[object, str]:
        args = get_parser().parse_args(["mlpipe", "schema", "diff", *arguments])
        capsys.readouterr()
        try:
            args.func(args)
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A file, and the folder of an artifact."""
    (tmp_path / "old.pbtxt").write_text(OLD)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "schema.pbtxt").write_text(NEW)
    return [str(tmp_path / "old.pbtxt"), str(tmp_path / "new")]


def test_files_need_no_store(diff: Diff, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_MLPIPE_DEFAULT", raising=False)
    code, printed = diff(*files, "--output", "json")
    assert (code, json.loads(printed)) == (2, [DIFFERENCE])
    assert diff(files[0], files[0]) == (0, "The schemas do not differ.\n")
    code, printed = diff(*files)
    assert re.search(r"^age +\| type +\| INT +\| FLOAT", printed, re.MULTILINE)


def test_artifacts_by_their_ids(diff: Diff, files: list[str], database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_DEFAULT", database.replace("postgresql://", "mlpipe://", 1))
    start = ExecutionStart(component_type="Any", run=named_run("d", "r"), component_id="any", triggered_by=None)
    given: dict[str, list[Artifact]] = {"schema": [Schema(uri=files[1])], "model": [Model(uri=files[1])]}
    with closing(MetadataStore(database)) as store:
        _, made = store.publish_node(start, given)
    schema, model = (str(made[key][0].id) for key in ("schema", "model"))
    code, printed = diff(files[0], schema, "--output", "json")
    assert (code, json.loads(printed)) == (2, [DIFFERENCE])
    assert diff(model, schema)[0] == f"InvalidInputError: artifact {model} is no Schema, but of the type Model"
    assert str(diff("987654", schema)[0]).startswith("InvalidInputError: there is no artifact 987654; ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "absent.pbtxt cannot be read: .*No such file"),
        (b"feature { name: }", "line 1, column 17"),
        (b"\xff\x00", "is not text in UTF-8"),
    ],
)
def test_what_is_no_schema(diff: Diff, files: list[str], tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "absent.pbtxt"
    if content is not None:
        path.write_bytes(content)
    code, _ = diff(files[0], str(path))
    assert re.search(f"InvalidInputError: .*{says}", str(code))


def test_a_machine_without_the_library(diff: Diff, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("airflow_provider_mlpipe.records")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("tensorflow_metadata")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_metadata", None)
    code, _ = diff(*files)
    assert str(code).endswith("lacks the library tensorflow_metadata; run: pip install tensorflow-metadata")
