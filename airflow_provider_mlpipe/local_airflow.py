"""A real Airflow on this machine, for the demo and the tests: four processes, one Postgres, one state folder.

Everything is in the state folder: `postgres/` (Airflow's database and `mlpipe`), `airflow/` (AIRFLOW_HOME, task logs
too), `logs/` (one file per process) and `secrets.json`. The processes end with the one that started them, however it
dies.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from airflow_provider_mlpipe.embedded import USER, EmbeddedPostgres
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.metadata.schema import upgrade

FINISHED = frozenset({"success", "failed"})
_PATIENCE = 300.0  # of a machine that is busy with other things; alone it takes some 20 seconds
_POLL = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task of a run, as the REST API tells it. `state` is None until the scheduler looked at it."""

    task_id: str
    state: str | None
    try_number: int
    seconds: float | None


class LocalAirflow:
    """An Airflow that serves the DAGs of `dags_folder` on 127.0.0.1, on `port`, or a free one if that is taken.

    `environment` is added to what the processes, tasks included, see; AIRFLOW* variables of this process are not. With
    `durable=False` Postgres is faster and loses data when the machine crashes: for tests only.
    """

    username = "admin"

    def __init__(
        self,
        state_dir: Path,
        dags_folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        port: int = 8080,
        parallelism: int = 4,
        durable: bool = True,
    ) -> None:
        self.state_dir = Path(state_dir).absolute()
        self.dags_folder = Path(dags_folder).absolute()
        self.home = self.state_dir / "airflow"
        self.logs = self.state_dir / "logs"
        self.postgres = EmbeddedPostgres(self.state_dir / "postgres", durable=durable)
        self._environment = dict(environment or {})
        self._parallelism = parallelism
        self._process: subprocess.Popen[str] | None = None
        self._preferred_port = port
        self._port = 0
        self._port_mark: socket.socket | None = None
        self._token: str | None = None
        self._started_at = datetime.now(timezone.utc)

    def __enter__(self) -> LocalAirflow:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of the UI."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def password(self) -> str:
        """The password of `username`."""
        return self._secrets["admin_password"]

    @property
    def mlpipe_dsn(self) -> str:
        """The address of the metadata store."""
        return self.postgres.dsn("mlpipe")

    def start(self) -> None:
        """Start Postgres and Airflow; return when every process is healthy.

        Raises:
            InvalidInputError: a folder cannot be used, or another process uses the state folder; says which.
            TransientError: a process died or did not become healthy; the message ends with its log.
        """
        if not self.dags_folder.is_dir():
            raise InvalidInputError(f"the DAGs folder {self.dags_folder} does not exist")
        self.postgres.start()
        try:
            self._start_processes()
            self._wait_until(self._is_healthy, "Airflow did not become healthy")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every process. Tasks that still run after some seconds are killed."""
        process, self._process = self._process, None
        if process is not None:
            with process:  # closes its standard input, which tells it to leave, and waits for it
                pass
        if self._port_mark is not None:
            self._port_mark.close()
        self.postgres.stop()

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Unpause a DAG and start a run with `conf` as its parameters; return the run's id.

        Waits until the DAG's file was parsed by this Airflow.

        Raises:
            TransientError: it did not appear; the message ends with the import errors.
        """
        self._wait_until(lambda: self._is_parsed(dag_id), f"the DAG {dag_id} did not appear", self._import_errors)
        self._call("PATCH", f"dags/{dag_id}?update_mask=is_paused", {"is_paused": False})
        run = self._call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        return str(self._call("GET", f"dags/{dag_id}/dagRuns/{_quote(run_id)}")["state"])

    def wait(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 600.0,
        on_change: Callable[[list[TaskInstance]], None] | None = None,
    ) -> str:
        """Wait for the end of a run and return its state; call `on_change` with all tasks whenever one changed.

        Raises:
            TransientError: it still runs after `timeout` seconds, or an Airflow process died.
        """
        seen: list[TaskInstance] = []
        for tasks in self.watch(dag_id, run_id, timeout):
            if on_change is not None and tasks != seen:
                on_change(tasks)
            seen = tasks
        return self.state(dag_id, run_id)

    def watch(self, dag_id: str, run_id: str, timeout: float = 600.0) -> Iterator[list[TaskInstance]]:
        """Yield the tasks of a run several times a second until it has ended; raises what `wait` raises."""
        deadline = time.monotonic() + timeout
        while True:
            has_ended = self.state(dag_id, run_id) in FINISHED
            yield self.task_instances(dag_id, run_id)
            if has_ended:
                return
            if time.monotonic() > deadline:
                raise TransientError(f"the run {run_id} of {dag_id} did not end within {timeout:.0f} seconds")
            time.sleep(_POLL)

    def wait_until_stopped(self) -> None:
        """Block for as long as Airflow runs.

        Raises:
            TransientError: one of its processes died; the message ends with its log.
        """
        if self._process is not None:
            self._process.wait()
        self._check_processes()

    def cancel_runs(self, dag_id: str) -> None:
        """Mark every unfinished run of a DAG as failed, which ends its tasks. A DAG that does not exist has none."""
        try:
            runs = self._call("GET", f"dags/{dag_id}/dagRuns?state=running&state=queued")["dag_runs"]
        except _NotFoundError:
            return
        for run in runs:
            self._call("PATCH", f"dags/{dag_id}/dagRuns/{_quote(run['dag_run_id'])}", {"state": "failed"})

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return the tasks of a run, in the order in which they started, those that did not at the end."""
        path = f"dags/{dag_id}/dagRuns/{_quote(run_id)}/taskInstances?limit=100"
        tasks = self._call("GET", path)["task_instances"]
        return [
            TaskInstance(
                task_id=task["task_id"], state=task["state"], try_number=task["try_number"], seconds=task["duration"]
            )
            for task in sorted(tasks, key=lambda task: (task["start_date"] or "~", task["task_id"]))
        ]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try of a task, a line per message."""
        path = f"dags/{dag_id}/dagRuns/{_quote(run_id)}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        content = self._call("GET", path)["content"]
        return "\n".join(_log_line(line) for line in content)

    def _start_processes(self) -> None:
        for folder in (self.home, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        for database in ("airflow", "mlpipe"):
            if not self.postgres.has_database(database):
                self.postgres.create_database(database)
        upgrade(self.mlpipe_dsn)
        self._port, self._port_mark = _reserve_port(self._preferred_port)
        passwords = _open_private(self.home / "simple_auth_manager_passwords.json.generated", "w")
        with passwords:
            json.dump({self.username: self.password}, passwords)
        with self._lock() as lock, (self.logs / "starter.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow_provider_mlpipe.airflow_processes", str(self.logs)],
                env=self._process_environment(),
                cwd=self.home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=[lock.fileno()],
                start_new_session=True,  # Ctrl-C is for this process; it then stops them
            )

    def _lock(self) -> IO[str]:
        """Lock the state folder; the processes inherit the lock, so it is free when the last of them has ended."""
        lock = (self.state_dir / "in-use").open("a")
        deadline = time.monotonic() + 20  # for those of a killed starter, who are about to end
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    lock.close()
                    raise InvalidInputError(
                        f"another Airflow uses the state folder {self.state_dir}: stop it, or name another folder"
                    ) from error
            time.sleep(_POLL)

    @property
    def _secrets(self) -> dict[str, str]:
        """The secrets of this state folder, made at first use."""
        path = self.state_dir / "secrets.json"
        if not path.exists():
            values = {
                "admin_password": secrets.token_urlsafe(12),
                "fernet_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "jwt_secret": secrets.token_hex(48),
                "secret_key": secrets.token_hex(32),
            }
            with _open_private(path, "w") as file:
                json.dump(values, file)
        return dict(json.loads(path.read_text()))

    def _process_environment(self) -> dict[str, str]:
        """Return what the processes see: this environment without its Airflow and Python settings, and ours."""
        unwanted = ("AIRFLOW", "_AIRFLOW", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY", os.environ.get("no_proxy")), "127.0.0.1")))
        return (
            inherited
            | {f"AIRFLOW__{key}": value for key, value in self._configuration().items()}
            | {
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW_CONN_MLPIPE_DEFAULT": json.dumps(self._connection()),
                "NO_PROXY": no_proxy,
                "no_proxy": no_proxy,
            }
            | self._environment
        )

    def _connection(self) -> dict[str, Any]:
        return {
            "conn_type": "mlpipe",
            "host": "127.0.0.1",
            "port": self.postgres.port,
            "login": USER,
            "password": self.postgres.password,
            "schema": "mlpipe",
        }

    def _configuration(self) -> dict[str, str]:
        bundle = {
            "name": "dags-folder",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(self.dags_folder), "refresh_interval": 2},
        }
        own = self._secrets
        return {
            "API__BASE_URL": self.url,
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self._port),
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
            "DATABASE__SQL_ALCHEMY_CONN": self.postgres.dsn("airflow").replace("://", "+psycopg2://"),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def _is_healthy(self) -> bool:
        try:
            # The API that tasks use builds itself at its first request, which takes longer than they wait for it.
            _request("GET", f"{self.url}/execution/health")
            health = _request("GET", f"{self.url}/api/v2/monitor/health")
        except _NoAnswerError:
            return False
        return all(
            health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor", "triggerer")
        )

    def _is_parsed(self, dag_id: str) -> bool:
        try:
            parsed_at = self._call("GET", f"dags/{dag_id}")["last_parsed_time"]
        except _NotFoundError:
            return False
        return parsed_at is not None and _time(parsed_at) > self._started_at

    def _import_errors(self) -> str:
        errors = self._call("GET", "importErrors")["import_errors"]
        return "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors)

    def _wait_until(
        self,
        condition: Callable[[], bool],
        failure: str,
        details: Callable[[], str] = lambda: "",
    ) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            self._check_processes()
            if time.monotonic() > deadline:
                raise TransientError(f"{failure} within {_PATIENCE:.0f} seconds (logs in {self.logs})\n{details()}")
            time.sleep(_POLL)

    def _check_processes(self) -> None:
        if self._process is None:
            raise TransientError("this Airflow was not started: call start() first")
        if self._process.poll() is None:
            return
        assert self._process.stdout is not None
        name = self._process.stdout.read().strip() or "starter"
        lines = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        raise TransientError("\n".join([f"Airflow's {name} ended (its log: {self.logs / name}.log)", *lines[-30:]]))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """Call the REST API and return what it answers. A server that does not answer is asked again, if only asked."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return _request(method, f"{self.url}/api/v2/{path}", body, self._login())
            except _NoAnswerError as error:
                self._check_processes()
                if method != "GET" or time.monotonic() > deadline:
                    raise TransientError(str(error)) from error
            time.sleep(_POLL)

    def _login(self) -> str:
        if self._token is None:
            answer = _request("POST", f"{self.url}/auth/token", {"username": self.username, "password": self.password})
            self._token = str(answer["access_token"])
        return self._token


class _NoAnswerError(Exception):
    """Nobody answers at this address, or the server has an error."""


class _NotFoundError(Exception):
    """The server does not know this."""


def _request(method: str, url: str, body: object = None, token: str | None = None) -> Any:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            message = f"{method} {url}: {error.code} {error.read().decode(errors='replace')}"
        if error.code == 404:
            raise _NotFoundError(message) from error
        if error.code >= 500:
            raise _NoAnswerError(message) from error
        raise InvalidInputError(message) from error
    except OSError as error:
        raise _NoAnswerError(f"{method} {url}: {error}") from error


def _log_line(line: str | Mapping[str, Any]) -> str:
    if isinstance(line, str):
        return line
    errors = (f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or ())
    return "\n".join([line["event"], *errors])


def _quote(run_id: str) -> str:
    return urllib.parse.quote(run_id, safe="")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _open_private(path: Path, mode: str) -> IO[str]:
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _reserve_port(preferred: int) -> tuple[int, socket.socket]:
    """Choose a port and the mark that keeps others of us off it until Airflow listens, as long as that is open."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, bool(port))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0airflow-provider-mlpipe-port-{found}")  # in no file system, gone with its process
        except OSError:
            mark.close()
            continue
        return found, mark
    raise TransientError("no port is free on 127.0.0.1")
