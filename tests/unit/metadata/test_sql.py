import inspect
import re

import pytest

from airflow_provider_mlpipe.metadata import sql, store

STATEMENTS = sql.load()


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_says_why_and_has_one_caller(name):
    assert STATEMENTS[name].startswith("-- ")
    calls = re.findall(rf'self\._(?:run|artifacts|page)\(\s*"{name}"', inspect.getsource(store))
    assert len(calls) == 1


@pytest.mark.parametrize("name", STATEMENTS)
def test_parameters_are_bound(name):
    assert re.sub(r"%\(\w+\)s", "", STATEMENTS[name]).count("%") == 0


def test_only_the_connection_touches_the_driver():
    assert "psycopg2" not in inspect.getsource(store)
