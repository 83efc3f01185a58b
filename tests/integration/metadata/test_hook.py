"""From an Airflow connection to the store: its extra."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.schema import upgrade

Connect = Callable[..., MlpipeHook]


@pytest.fixture
def connect(database: str, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Gives Airflow a connection to the test's database, with these changes, and returns its hook."""
    known = parse_dsn(database)
    fields = {"host": known["host"], "port": known["port"], "login": known["user"], "password": known["password"]}

    def make(**changes: Any) -> MlpipeHook:
        values = {"conn_type": "mlpipe", "schema": known["dbname"], **fields, **changes}
        monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_DEFAULT", json.dumps(values))
        return MlpipeHook()

    return make


@pytest.mark.parametrize(
    ("extra", "passed"),
    [
        ({"sslmode": None, "sslrootcert": ""}, {}),
        ({"sslmode": "prefer", "connect_timeout": 7}, {"sslmode": "prefer", "connect_timeout": "7"}),
        ({"keepalives": True, "sslsni": False}, {"keepalives": "1", "sslsni": "0"}),
        ({"host": "127.0.0.1"}, {"host": "127.0.0.1"}),
    ],
)
def test_what_the_extra_says_is_passed_to_libpq(
    connect: Connect, extra: dict[str, Any], passed: dict[str, str]
) -> None:
    hook = connect(extra=extra, **({"host": None} if "host" in extra else {}))
    assert parse_dsn(hook.address.dsn).items() >= passed.items()
    assert "sslrootcert" not in hook.address.dsn
    hook.store.check()
    hook.store.close()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"no_such": "1"}, "extra of .*'mlpipe_default': 'no_such' is no setting of libpq: remove it"),
        ({"dsn": "dbname=other"}, "'dsn' is no setting of libpq"),
        ({"host": "elsewhere"}, "'host' is given in the field Host, too: remove one"),
        ({"dbname": "other"}, "'dbname' is given in the field Database, too"),
        ({"sslmode": True}, "'sslmode' is true, which libpq does not take: write the value as text"),
        ({"options": ["-c", "x=y"]}, r"'options' is \[.*\], which libpq does not take"),
        ("sslmode=require", "it is not a JSON object: write it like"),
        ({"sslmode": "maybe"}, "'mlpipe_default' has a setting.*: invalid sslmode value: \"maybe\".*Correct it"),
        (
            {"keepalives_idle": "soon"},
            "'mlpipe_default' has a setting.*invalid integer value \"soon\".*alives_idle",
        ),
    ],
)
def test_what_libpq_would_not_take_names_connection_and_setting(connect: Connect, extra: Any, words: str) -> None:
    hook = connect(extra=extra)
    with pytest.raises(InvalidInputError, match=words):
        hook.store.check()
    with pytest.raises(InvalidInputError, match=words):
        upgrade(hook.address)
