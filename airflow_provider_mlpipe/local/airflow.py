"""A real Airflow on this machine, for the demo and the tests: four processes, one Postgres, one state folder.

Everything is in the state folder: `postgres/` (Airflow's database and `mlpipe`), `airflow/` (AIRFLOW_HOME, task logs
too), `logs/` (one file per process), `secrets.json`, and `env`, which a shell reads to have `airflow` look at it all.
The processes end with the one that started them, however it dies.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.local.client import AirflowClient
from airflow_provider_mlpipe.local.dag_files import DagFiles, parsing
from airflow_provider_mlpipe.local.listeners import listening_users
from airflow_provider_mlpipe.local.postgres import NO_PASSWORD_IN_CLEAR, USER, EmbeddedPostgres, reserve_port
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.storage import locks, private

_KILLED_STARTERS = 20.0  # seconds to wait for the processes of a killed starter to end


class LocalAirflow(AirflowClient):
    """An Airflow for the DAGs of `dags_folder` on 127.0.0.1, at `port`, or at a free port if that is taken.

    `environment` is added to the environment of the processes and tasks, which get no AIRFLOW* variables of this
    process. With `durable=False` Postgres is faster but loses data when the machine crashes: for tests only. With
    `restart=True` a process that dies is started again, as systemd or Docker would do; else all processes end.
    """

    def __init__(
        self,
        state_dir: Path,
        dags_folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        port: int = 8080,
        parallelism: int = 4,
        durable: bool = True,
        restart: bool = False,
    ) -> None:
        # The password is set at the start, and the URL of another port if that one is taken.
        super().__init__(url=f"http://127.0.0.1:{port}", username="admin", password="")
        self.state_dir = Path(state_dir).absolute()
        self.dags_folder = Path(dags_folder).absolute()
        self.home = self.state_dir / "airflow"
        self.logs = self.state_dir / "logs"
        self.postgres = EmbeddedPostgres(self.state_dir / "postgres", durable=durable)
        self._environment = dict(environment or {})
        self._parallelism = parallelism
        self._options = ["--restart"] if restart else []
        self._process: subprocess.Popen[str] | None = None
        self._preferred_port = port
        self._port_marks = ExitStack()

    def __enter__(self) -> LocalAirflow:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def mlpipe_dsn(self) -> str:
        """The address of the metadata store."""
        return f"{self.postgres.dsn('mlpipe')}?{urlencode(NO_PASSWORD_IN_CLEAR)}"

    @property
    def shell_file(self) -> Path:
        """The file that gives a shell the settings of this Airflow: `source` it."""
        return self.state_dir / "env"

    def write_shell_file(self) -> None:
        """Write `shell_file` for the running Postgres, which need not have had the same port before."""
        programs = f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH"
        settings = [f"export {name}={shlex.quote(value)}" for name, value in self._settings().items()]
        with private.opened(self.shell_file, "w") as file:
            file.write("\n".join([programs, *settings, ""]))

    def start(self) -> None:
        """Start Postgres and Airflow; return when every process is healthy.

        Raises:
            InvalidInputError: a folder cannot be used, or another process uses the state folder; the message names it.
            TransientError: a process died or did not become healthy; the message ends with its log.
        """
        if not self.dags_folder.is_dir():
            raise InvalidInputError(f"the DAGs folder {self.dags_folder} does not exist")
        self.parsed_after = datetime.now(timezone.utc)
        self.postgres.make_folder(self.state_dir)
        self.postgres.start()
        try:
            self._start_processes()
            self.wait_until(self.is_healthy, "Airflow did not become healthy", self._where_to_look)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every process. Tasks that still run after some seconds are killed."""
        process, self._process = self._process, None
        if process is not None:
            with process:  # closes its standard input, which makes it end, and waits for that
                pass
        self._port_marks.close()
        self.postgres.stop()

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until this Airflow has parsed the DAG's file.

        Raises:
            InvalidInputError: all files are parsed, and none has the DAG, or Airflow cannot take it. The message has
                the errors, and the DAGs that there are.
            TransientError: the DAG did not appear, or this Airflow has ended.
        """
        if self.is_parsed(dag_id):
            return
        began = datetime.now(timezone.utc)
        with parsing(self.dags_folder, self._process_environment(), self.home) as files:

            def is_there() -> bool:
                if self.is_parsed(dag_id):
                    return True
                if (found := files.found()) is not None:
                    self._refuse_unless_in(found, dag_id, began)
                return False

            self.wait_until(is_there, f"the DAG {dag_id} did not appear", self._where_to_look)

    def _refuse_unless_in(self, found: DagFiles, dag_id: str, began: datetime) -> None:
        if dag_id not in found.dags:
            raise InvalidInputError(found.what_lacks(dag_id))
        file = found.dags[dag_id]
        if trace := self.import_errors(since=began).get(file):  # such as of a DAG that Airflow cannot store
            raise InvalidInputError(f"Airflow cannot take the DAG {dag_id!r} of {file}:\n{trace.strip()}")

    def wait_until_stopped(self) -> None:
        """Block for as long as Airflow runs.

        Raises:
            TransientError: one of its processes died; the message ends with its log.
        """
        if self._process is not None:
            self._process.wait()
        self.check_alive()

    def _start_processes(self) -> None:
        for folder in (self.home, self.logs):
            private.make_folder(folder)
        for database in ("airflow", "mlpipe"):
            if not self.postgres.has_database(database):
                self.postgres.create_database(database)
        upgrade(self.mlpipe_dsn)
        port, self._port_marks = _reserve_port(self._preferred_port)
        self.url, self.password = f"http://127.0.0.1:{port}", self._secrets["admin_password"]
        self.write_shell_file()
        with private.opened(self.home / "simple_auth_manager_passwords.json.generated", "w") as passwords:
            json.dump({self.username: self.password}, passwords)
        with self._lock() as lock, (self.logs / "starter.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow_provider_mlpipe.local.processes", str(self.logs), *self._options],
                env=self._process_environment(),
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=[lock.fileno()],
                start_new_session=True,  # Ctrl-C must reach only this process, which then stops them
            )

    def _where_to_look(self) -> str:
        return f"Its logs are in {self.logs}."

    def _lock(self) -> IO[str]:
        """Lock the state folder. The processes inherit the lock, so it is free when the last of them has ended."""
        lock = locks.opened(self.state_dir / "in-use")
        if locks.take_within(_KILLED_STARTERS, lock):
            return lock
        holder = locks.holder(lock)
        lock.close()
        raise InvalidInputError(
            f"another Airflow uses the state folder {self.state_dir}, {holder}: stop it, or name another folder"
        )

    @property
    def _secrets(self) -> dict[str, str]:
        """The secrets of this state folder, created at first use."""
        path = self.state_dir / "secrets.json"
        if not path.exists():
            values = {
                "admin_password": secrets.token_urlsafe(12),
                "fernet_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "jwt_secret": secrets.token_hex(48),
                "secret_key": secrets.token_hex(32),
            }
            with private.opened(path, "w") as file:
                json.dump(values, file)
        with private.opened(path, "r") as file:
            return dict(json.load(file))

    def _process_environment(self) -> dict[str, str]:
        """Return the processes' environment: this one's without its Airflow and Python settings, and our settings."""
        unwanted = ("AIRFLOW", "_AIRFLOW", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY", os.environ.get("no_proxy")), "127.0.0.1")))
        return inherited | self._settings() | {"NO_PROXY": no_proxy, "no_proxy": no_proxy} | self._environment

    def _settings(self) -> dict[str, str]:
        """Return the environment variables by which Airflow's commands find this Airflow."""
        return {f"AIRFLOW__{key}": value for key, value in self._configuration().items()} | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW_CONN_MLPIPE_DEFAULT": json.dumps(self._connection()),
        }

    def _connection(self) -> dict[str, Any]:
        return {
            "conn_type": "mlpipe",
            "host": "127.0.0.1",
            "port": self.postgres.port,
            "login": USER,
            "password": self.postgres.password,
            "schema": "mlpipe",
            "extra": json.dumps(NO_PASSWORD_IN_CLEAR),  # text, as Airflow's REST API wants it
        }

    def _configuration(self) -> dict[str, str]:
        bundle = {
            "name": "dags-folder",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(self.dags_folder), "refresh_interval": 2},
        }
        own, database = self._secrets, self.postgres.dsn("airflow")
        return {
            "API__BASE_URL": self.url,
            "API__HOST": "127.0.0.1",
            "API__PORT": str(urlsplit(self.url).port),
            "API__SECRET_KEY": own["secret_key"],
            "API_AUTH__JWT_SECRET": own["jwt_secret"],
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__FERNET_KEY": own["fernet_key"],
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__PARALLELISM": str(self._parallelism),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.username}:admin",
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
            "DATABASE__SQL_ALCHEMY_CONN": (
                f"{database.replace('://', '+psycopg2://')}?{urlencode(NO_PASSWORD_IN_CLEAR)}"
            ),
            "DATABASE__SQL_ALCHEMY_CONN_ASYNC": database.replace("://", "+asyncpg://"),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def check_server(self) -> None:
        """Raise TransientError if another user's process listens where this Airflow is; it would get the password."""
        port = int(urlsplit(self.url).port or 0)
        if others := listening_users(port) - {os.geteuid()}:
            names = ", ".join(sorted(map(private.user_name, others)))
            raise TransientError(f"a process of user {names} listens on port {port} of 127.0.0.1: start again")

    def check_alive(self) -> None:
        """Raise TransientError if one of this Airflow's processes has ended; the message ends with its log."""
        if self._process is None:
            raise TransientError("this Airflow was not started: call start() first")
        if self._process.poll() is None:
            return
        assert self._process.stdout is not None
        name = self._process.stdout.read().strip() or "starter"
        lines = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        raise TransientError("\n".join([f"Airflow's {name} ended (its log: {self.logs / name}.log)", *lines[-30:]]))


def _reserve_port(preferred: int) -> tuple[int, ExitStack]:
    """Choose a port. While the marks are open, no other process takes it before Airflow listens."""
    for port in (preferred, 0):
        with ExitStack() as marks:
            try:
                found = int(marks.enter_context(reserve_port(port)).getsockname()[1])
                ours = marks.enter_context(
                    socket.socket(socket.AF_UNIX)
                )  # for other LocalAirflows, which prefer the same port
                ours.bind(
                    f"\0airflow-provider-mlpipe-port-{found}"
                )  # an abstract socket: no file, ends with its process
            except OSError:
                continue
            return found, marks.pop_all()
    raise TransientError("no port is free on 127.0.0.1")
