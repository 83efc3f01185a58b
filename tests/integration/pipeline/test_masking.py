"""Secrets in parameters: ten kinds of them, and none is in the store, in a log, in a plan or in a list of processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
import pytest
from airflow.sdk import DAG
from airflow.sdk._shared.secrets_masker import _secrets_masker
from airflow.sdk.exceptions import AirflowFailException
from named_runs import named_run
from parts import MakeOperator
from planned import Pipeline

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.exceptions import ExecutorFailedError
from airflow_provider_mlpipe.execution.dag_runs import current_run
from airflow_provider_mlpipe.planning.preview import preview_context

SECRETS = {
    "plain": "hunter2-hunter2",
    "quoted": 'it\'s "quoted" \\ here',
    "lines": "-----BEGIN KEY-----\nabc123\n-----END KEY-----",
    "umlauts": "Pässwörter-日本",
    "url": "p@ss/w:rd?&=%20+",
    "short": "zq~7!",
    "regex": "a.*b[c](d)$^|{2}",
    "markup": "[bold]secret[/bold]",
    "json": '{"key": "inner-secret"}',
    "long": "x1y2" * 500,
}


@pytest.fixture(autouse=True)
def _masker() -> Iterator[None]:
    before = set(_secrets_masker().patterns), getattr(_secrets_masker(), "replacer", None)
    yield
    _secrets_masker().patterns, replacer = before
    if replacer is not None:
        _secrets_masker().replacer = replacer


@pytest.fixture(params=SECRETS)
def secret(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    value = SECRETS[request.param]
    set_secret(monkeypatch, value)
    return value


def set_secret(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    connection = {"conn_type": "generic", "host": "h", "password": value, "extra": {"api_key": value}}
    monkeypatch.setenv("AIRFLOW_CONN_S3", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_VAR_DB_PASSWORD", value)
    monkeypatch.setenv("AIRFLOW_VAR_HARMLESS", value)


def execute(pipeline: Pipeline, run_id: str = "run", **parameters: Any) -> None:
    with DAG("d", schedule=None) as dag:
        make = MakeOperator(task_id="make", pipeline_root=str(pipeline.root), **parameters)
    task = make.prepare_for_execution()
    task.store = pipeline.store
    context = preview_context(pipeline.dag(MakeOperator()), {}, run=named_run("d", run_id))
    assert dag.get_task("make") is make
    task.render_template_fields(context)
    task.execute(context)


def stored(pipeline: Pipeline) -> str:
    """All that is in the store, as text."""
    with psycopg2.connect(pipeline.dsn) as raw, raw.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'mlpipe' ORDER BY 1")
        tables = [name for (name,) in cursor.fetchall()]
        texts = []
        for table in tables:
            cursor.execute(f"SELECT to_jsonb(t) FROM mlpipe.{table} t")
            texts += [json.dumps(row, ensure_ascii=False) for (row,) in cursor.fetchall()]
    return "\n".join(texts)


def spellings(value: str) -> set[str]:
    once = json.dumps(value, ensure_ascii=False)[1:-1]
    twice = json.dumps(once, ensure_ascii=False)[1:-1]
    return {value, repr(value)[1:-1], once, twice, json.dumps(value)[1:-1], quote(value), quote(value, safe="")}


def assert_absent(value: str, text: str) -> None:
    found = [spelling for spelling in spellings(value) if spelling in text]
    assert not found


TEMPLATES = [
    "{{ conn.s3.password }}",
    "{{ conn.s3.password }}/{{ var.value.db_password }}",
    "{{ conn.s3.extra_dejson.api_key }}",
    "{{ var.value.db_password }}",
    "{{ var.value.harmless }}",
    "{% set x = var.value.harmless %}{{ x }}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_templates_secret_is_not_stored(
    pipeline: Pipeline, secret: str, template: str, capfd: pytest.CaptureFixture[str]
) -> None:
    execute(pipeline, words=["harmless-word", template])
    assert_absent(secret, stored(pipeline))
    (execution,) = pipeline.store.executions().items
    assert execution.properties["words"][0] == "harmless-word"  # type: ignore[index, call-overload]
    assert_absent(secret, "".join(capfd.readouterr()))
    commands = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert_absent(secret, "\n".join(commands))


def test_an_error_that_quotes_it_is_stored_without_it(
    pipeline: Pipeline, secret: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module = tmp_path / "module.py"
    module.write_text(f"WORD = {secret!r}\n\ndef make_text():\n    raise ValueError(f'no, not {{WORD}}, {{WORD!r}}')\n")
    with pytest.raises((ExecutorFailedError, AirflowFailException)):
        execute(pipeline, words=["{{ conn.s3.password }}"], module_file=str(module))
    text = stored(pipeline)
    assert "ValueError: no, not" in text
    assert_absent(secret, text)
    with pytest.raises(AirflowFailException):  # before there is an execution: it is no int
        execute(pipeline, "other", files="{{ var.value.harmless }}")
    assert "takes an int" in stored(pipeline)
    assert_absent(secret, stored(pipeline))


def test_its_change_is_seen_and_not_shown(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned() -> Any:
        word = "{{ conn.s3.password }}"
        return pipeline.plan(pipeline.dag(MakeOperator(words=["a", word], text="{{ var.value.harmless }}")))["Make"]

    def run() -> None:
        pipeline.run(pipeline.dag(MakeOperator(words=["a", "{{ conn.s3.password }}"], text="{{ var.value.harmless }}")))

    set_secret(monkeypatch, "before-rotation")
    assert planned().verdict.value == "run"
    run()
    assert planned().verdict.value == "hit"
    set_secret(monkeypatch, "after-rotation")
    after = planned()
    assert (after.verdict.value, after.reason) == ("run", "parameter text changed; parameter words[1] changed")
    assert_absent("rotation", stored(pipeline))


def test_what_was_stored_in_the_clear_is_not_shown_when_it_is_hidden_now(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_secret(monkeypatch, "before-rotation")
    pipeline.run(pipeline.dag(MakeOperator(text="before-rotation")))
    planned = pipeline.plan(pipeline.dag(MakeOperator(text="{{ var.value.harmless }}")))["Make"]
    assert planned.reason == "parameter text changed"


def test_a_value_is_hidden_by_its_name(pipeline: Pipeline, tmp_path: Path) -> None:
    """Also without any template, and only that value."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    given = {"password": "written in the DAG", "nested": {"api_key": "and this"}, "tokenizer": "bert", "note": "fine"}
    importer = ImporterOperator(
        task_id="import", source_uri=str(tmp_path / "data"), artifact_type=Model, custom_properties=given
    )
    dag = pipeline.dag(importer)
    context = preview_context(dag, {}, run=named_run("d", "run"))
    importer.run_node(importer.component_run(context))
    (execution,) = pipeline.store.executions(run_key=current_run(context).key).items
    found = execution.properties["custom_properties"]
    assert isinstance(found, dict)
    assert found["note"] == "fine"
    assert all(str(found[name]).startswith("***") for name in ("password", "tokenizer"))
    assert_absent("written in the DAG", stored(pipeline))
    assert_absent("and this", stored(pipeline))
