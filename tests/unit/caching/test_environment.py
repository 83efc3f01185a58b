from __future__ import annotations

import ast

import pytest

from airflow_provider_mlpipe.caching.environment import environment_parts, variables


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("os.environ['K']", ["K"]),
        ("float(os.environ.get('K', '1'))", ["K"]),
        ("environ.pop('K')", ["K"]),
        ("def f(): return o.getenv('K') or getenv(key='L')", ["K", "L"]),
        ("'K' in os.environ and 'L' not in environ", ["K", "L"]),
        ("KEY = 'K'\nos.environ[KEY]", ["K"]),
        ("os.environ['K'] = '1'; os.environ.update(L='2'); del os.environ['M']", []),
        ("os.environ[name]", [None]),
        ("os.getenv(f'{name}_K')", [None]),
        ("run(env={**os.environ, 'K': '1'})", [None]),
        ("my = os.environ", [None]),
        ("dictionary.get('K'); config['K']", []),
    ],
)
def test_the_variables_that_code_reads(code: str, names: list[str | None]) -> None:
    assert sorted((name for name, _ in variables(ast.parse(code))), key=str) == names


def test_a_computed_name_is_told_with_its_line() -> None:
    assert list(variables(ast.parse("import os\nx = os.environ[name]"))) == [(None, 2)]


def test_what_counts_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLPIPE_TEST_UNSET", "KERAS_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLPIPE_TEST_K", "AIRFLOW_CTX_DAG_RUN_ID", "TMPDIR"):
        monkeypatch.setenv(name, "a secret")
    found = ["MLPIPE_TEST_K", "MLPIPE_TEST_UNSET", "AIRFLOW_CTX_DAG_RUN_ID", "TMPDIR"]
    parts = environment_parts([], found, {"KERAS_BACKEND": "tensorflow"})
    assert parts.keys() == {"MLPIPE_TEST_K"}
    assert "secret" not in str(parts)
    assert environment_parts(["TMPDIR"], [], {}).keys() == {"TMPDIR"}
    monkeypatch.setenv("MLPIPE_TEST_K", "another")
    assert environment_parts([], found, {}) != parts
    for value, counts in (("tensorflow", False), ("jax", True)):
        monkeypatch.setenv("KERAS_BACKEND", value)
        assert ("KERAS_BACKEND" in environment_parts([], [], {"KERAS_BACKEND": "tensorflow"})) is counts
