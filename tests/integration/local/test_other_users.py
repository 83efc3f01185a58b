"""What another user of the machine gets of a demo: nothing."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from other_user import UID, needs_root, started

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.local.client import AirflowClient
from airflow_provider_mlpipe.local.listeners import listening_users
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres

FAKE_AIRFLOW = """
import http.server, sys

class Fake(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access_token": "x"}')

server = http.server.HTTPServer((sys.argv[1], 0), Fake)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def fake_airflow(host: str) -> Iterator[tuple[int, Iterator[str]]]:
    """The port of another user's server, and the lines that it was sent."""
    with started(FAKE_AIRFLOW, host) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline()), server.stdout
        finally:
            server.kill()


@needs_root
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_server_of_another_user_gets_no_password(tmp_path: Path, host: str) -> None:
    with fake_airflow(host) as (port, _):
        assert listening_users(port) == {UID}
        airflow = LocalAirflow(tmp_path / "state", tmp_path, port=port)
        airflow.password = "secret"
        with pytest.raises(TransientError, match=f"a process of user {UID} listens on port {port}"):
            airflow._login()
    with fake_airflow(host) as (port, received):  # what it would have got
        AirflowClient(f"http://127.0.0.1:{port}", "admin", "secret")._login()
        assert "secret" in next(received)


def test_nobody_listens_until_somebody_does() -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        assert listening_users(port) == set()
        ours.listen()
        assert listening_users(port) == {os.geteuid()}


def test_a_server_in_the_place_of_postgres_gets_no_password(tmp_path: Path) -> None:
    """It asks for the password in clear (AuthenticationCleartextPassword); libpq would send it."""
    received: list[bytes] = []

    def pretend(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(1 << 16))
            connection.sendall(struct.pack("!cII", b"R", 8, 3))
            received.append(connection.recv(1 << 16))

    server = EmbeddedPostgres(tmp_path)
    server.data_dir.mkdir()
    (tmp_path / "password").write_text("secret")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        (server.data_dir / "postmaster.pid").write_text(f"1\n\n\n{listener.getsockname()[1]}\n")
        pretending = threading.Thread(target=pretend, args=[listener])
        pretending.start()
        with pytest.raises(psycopg2.OperationalError, match="authentication method requirement"):
            psycopg2.connect(server._own_dsn() + " sslmode=disable gssencmode=disable")
        pretending.join()
    assert b"mlpipe" in received[0]
    assert not received[1]
    airflow = LocalAirflow(tmp_path / "state", tmp_path)
    airflow.postgres = server
    (tmp_path / "state").mkdir(mode=0o700)
    assert "require_auth=scram-sha-256" in airflow.mlpipe_dsn
    settings = airflow._settings()
    for name in ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_MLPIPE_DEFAULT"):
        assert "scram-sha-256" in settings[name]


@needs_root
def test_a_state_folder_of_another_user_is_not_taken(tmp_path: Path) -> None:
    """Who knew its name could put a plugin there, which then ran as root."""
    state = tmp_path / "mlpipe-1234abcd"
    (state / "airflow" / "plugins").mkdir(parents=True)
    (state / "airflow" / "plugins" / "x.py").write_text("raise SystemExit('it ran')")
    os.chown(state, UID, UID)
    with pytest.raises(InvalidInputError, match=f"mlpipe-1234abcd belongs to user {UID}"):
        LocalAirflow(state, tmp_path).start()
    assert not (state / "postgres").exists()


@needs_root
def test_the_servers_user_sees_no_secret_of_who_started_it(
    open_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "s3cret-1", "AIRFLOW_CONN_X": "s3cret-2", "PGPASSWORD": "s3cret-3"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    with EmbeddedPostgres(open_tmp_path / "state", durable=False) as server:
        assert server._guard_pid is not None
        for pid in (*server._processes(), server._guard_pid):
            assert "s3cret" not in Path(f"/proc/{pid}/environ").read_text()
        assert (open_tmp_path / "state").stat().st_mode & 0o777 == 0o711
