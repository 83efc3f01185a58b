"""A client of Airflow's REST API: triggers runs, waits for them, and reads their tasks and logs.

It does not import Airflow, so a script can use it with an Airflow on another machine.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from graphlib import TopologicalSorter
from typing import Any
from urllib.parse import quote

import httpx

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.times import from_iso

FINISHED = frozenset({"success", "failed"})
_PATIENCE = 300.0  # for a busy machine; on an idle one it takes about 20 seconds
_POLL = 0.5  # each answer takes the server about 0.03 s of CPU time, which tasks need, too


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task of a run, from the REST API. `state` is None until the scheduler has handled it."""

    task_id: str
    state: str | None
    try_number: int
    seconds: float | None
    started: datetime | None
    hostname: str | None


class AirflowClient:
    """The Airflow at `url`, for one of its users. If the server does not answer, waits for it for some minutes."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self.username = username
        self.password = password
        # DAGs that were parsed before this time are from an earlier start of this Airflow, perhaps of other DAG files.
        self.parsed_after = datetime.fromtimestamp(0, timezone.utc)
        self._token: str | None = None
        # Without a proxy. Connections are not kept open, since the server may be restarted between two calls.
        self._http = httpx.Client(
            trust_env=False, timeout=30, follow_redirects=True, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def check_alive(self) -> None:
        """Raise TransientError if this Airflow has ended. A plain client cannot know that, so it never raises."""

    def check_server(self) -> None:
        """Raise TransientError if another server than this Airflow answers. A plain client takes the one at its URL."""

    def is_healthy(self) -> bool:
        """Whether all processes of this Airflow are healthy."""
        try:
            # The tasks' API is built at its first request, which takes longer than tasks wait for an answer.
            self._ask("GET", f"{self.url}/execution/health")
            health = self._ask("GET", f"{self.url}/api/v2/monitor/health")
        except _NoAnswerError:
            return False
        return all(
            health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor", "triggerer")
        )

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Unpause a DAG and start a run with `conf` as its parameters; return the run's id.

        Waits until this Airflow has parsed the DAG's file.

        Raises:
            TransientError: the DAG did not appear; the message ends with the import errors.
        """
        self.wait_for_dag(dag_id)
        self._call("PATCH", f"dags/{_quote(dag_id)}?update_mask=is_paused", {"is_paused": False})
        run = self._call("POST", f"dags/{_quote(dag_id)}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        return str(run["dag_run_id"])

    def unpause_file_of(self, dag_id: str) -> None:
        """Unpause all DAGs of the file that a DAG is in."""
        dags = self._all("dags?", "dags")
        (file,) = [dag["fileloc"] for dag in dags if dag["dag_id"] == dag_id]
        for dag in dags:
            if dag["fileloc"] == file:
                self._call("PATCH", f"dags/{_quote(dag['dag_id'])}?update_mask=is_paused", {"is_paused": False})

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until this Airflow has parsed the DAG's file; raises what `trigger` raises."""
        self.wait_until(
            lambda: self.is_parsed(dag_id),
            f"the DAG {dag_id} did not appear",
            lambda: "\n".join(f"{file}: {trace}" for file, trace in self.import_errors().items()),
        )

    def is_parsed(self, dag_id: str) -> bool:
        """Whether this Airflow has parsed the DAG's file since its start."""
        try:
            parsed_at = self._call("GET", f"dags/{_quote(dag_id)}")["last_parsed_time"]
        except _NotFoundError:
            return False
        return parsed_at is not None and from_iso(parsed_at) > self.parsed_after

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        return str(self._call("GET", _run(dag_id, run_id))["state"])

    def wait(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 600.0,
        on_change: Callable[[list[TaskInstance]], None] | None = None,
    ) -> str:
        """Wait for the end of a run and return its state; call `on_change` with all tasks when one has changed.

        Raises:
            TransientError: the run did not end within `timeout` seconds, or this Airflow has ended.
        """
        if on_change is not None:
            seen: list[TaskInstance] = []
            for tasks in self.watch(dag_id, run_id, timeout):
                if tasks != seen:
                    on_change(tasks)
                seen = tasks
        *_, state = self._states(dag_id, run_id, timeout)
        return state

    def watch(self, dag_id: str, run_id: str, timeout: float = 600.0) -> Iterator[list[TaskInstance]]:
        """Yield the tasks of a run again and again until the run has ended; raises what `wait` raises."""
        for _ in self._states(dag_id, run_id, timeout):
            yield self.task_instances(dag_id, run_id)

    def _states(self, dag_id: str, run_id: str, timeout: float) -> Iterator[str]:
        """Yield the state of a run again and again, the last time when the run has ended."""
        deadline = time.monotonic() + timeout
        while True:
            yield (state := self.state(dag_id, run_id))
            if state in FINISHED:
                return
            if time.monotonic() > deadline:
                raise TransientError(f"the run {run_id} of {dag_id} did not end within {timeout:.0f} seconds")
            time.sleep(_POLL)

    def runs(self, dag_id: str, states: tuple[str, ...] = ()) -> list[str]:
        """Return the ids of a DAG's runs in one of `states` (default: all), oldest first; empty for an unknown DAG."""
        path = f"dags/{_quote(dag_id)}/dagRuns?order_by=run_after&{'&'.join(f'state={state}' for state in states)}"
        try:
            return [run["dag_run_id"] for run in self._all(path, "dag_runs")]
        except _NotFoundError:
            return []

    def cancel_runs(self, dag_id: str) -> None:
        """Mark every unfinished run of a DAG as failed, which ends its tasks."""
        for run_id in self.runs(dag_id, ("running", "queued")):
            self._call("PATCH", _run(dag_id, run_id), {"state": "failed"})

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return the tasks of a run in the order of their start; tasks that have not started come last."""
        tasks = self._all(f"{_run(dag_id, run_id)}/taskInstances?", "task_instances")
        return [
            TaskInstance(
                task_id=task["task_id"],
                state=task["state"],
                try_number=task["try_number"],
                seconds=task["duration"],
                started=task["start_date"] and from_iso(task["start_date"]),
                hostname=task["hostname"],
            )
            for task in sorted(tasks, key=lambda task: (task["start_date"] or "~", task["task_id"]))
        ]

    def task_order(self, dag_id: str) -> list[str]:
        """Return the ids of a DAG's tasks, each after those that it waits for."""
        tasks = self._call("GET", f"dags/{_quote(dag_id)}/tasks")["tasks"]
        above: dict[str, list[str]] = {task["task_id"]: [] for task in tasks}
        for task in tasks:
            for task_id in task["downstream_task_ids"] or ():
                above[task_id].append(task["task_id"])
        return [*TopologicalSorter(above).static_order()]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try of a task, one line per message."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{_quote(task_id)}/logs/{try_number}?full_content=true"
        content = self._call("GET", path)["content"]
        return "\n".join(_log_line(line) for line in content)

    def import_errors(self, since: datetime | None = None) -> dict[str, str]:
        """Return the traceback of each DAG file that cannot be parsed, perhaps only what was parsed `since` then."""
        errors = self._all("importErrors?", "import_errors")
        return {
            error["filename"]: error["stack_trace"]
            for error in errors
            if since is None or from_iso(error["timestamp"]) > since
        }

    def wait_until(
        self,
        condition: Callable[[], bool],
        failure: str,
        details: Callable[[], str] = lambda: "",
    ) -> None:
        """Wait for a condition.

        Raises:
            TransientError: the condition was not true within five minutes (the message is `failure`, then `details`),
                or this Airflow has ended.
        """
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            self.check_alive()
            if time.monotonic() > deadline:
                raise TransientError(f"{failure} within {_PATIENCE:.0f} seconds\n{details()}")
            time.sleep(_POLL)

    def _all(self, path: str, key: str) -> list[Any]:
        """Return the items of all pages of a list."""
        items: list[Any] = []
        while True:
            page = self._call("GET", f"{path}&limit=100&offset={len(items)}")
            items += page[key]
            if not page[key] or len(items) >= page["total_entries"]:
                return items

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """Call the REST API and return its answer.

        Calls again if the server does not answer, or if its database cancelled the call to resolve a deadlock.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._request(method, path, body)
            except _NoAnswerError as error:
                self.check_alive()
                if method == "POST" or time.monotonic() > deadline:  # a run must not start twice
                    raise TransientError(str(error)) from error
            time.sleep(_POLL)

    def _request(self, method: str, path: str, body: object) -> Any:
        url, known = f"{self.url}/api/v2/{path}", self._token
        try:
            return self._ask(method, url, body, self._login())
        except _UnauthorizedError:
            if known is None:
                raise
            self._token = None  # it has expired, or the server has a new secret
            return self._ask(method, url, body, self._login())

    def _login(self) -> str:
        if self._token is None:
            who = {"username": self.username, "password": self.password}
            self._token = str(self._ask("POST", f"{self.url}/auth/token", who)["access_token"])
        return self._token

    def _ask(self, method: str, url: str, body: object = None, token: str | None = None) -> Any:
        self.check_server()
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            response = self._http.request(method, url, json=body, headers=headers)
            message = f"{method} {url}: {response.status_code} {response.text}"
            if response.is_success:
                return response.json() if response.content else None
        except (httpx.HTTPError, ValueError) as error:  # ValueError: the answer is not JSON
            raise _NoAnswerError(f"{method} {url}: {error!r}") from error
        if response.is_server_error:
            raise _NoAnswerError(message)
        raise _ERRORS.get(response.status_code, InvalidInputError)(message)


class _NoAnswerError(Exception):
    """No server answers at this address, or the server has an error."""


class _NotFoundError(InvalidInputError):
    """The server has no such object."""


class _UnauthorizedError(InvalidInputError):
    """The server does not accept the user, or its token has expired."""


_ERRORS = {401: _UnauthorizedError, 403: _UnauthorizedError, 404: _NotFoundError}


def _log_line(line: str | Mapping[str, Any]) -> str:
    if isinstance(line, str):
        return line
    errors = (f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or ())
    return "\n".join([line["event"], *errors])


def _run(dag_id: str, run_id: str) -> str:
    return f"dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}"


def _quote(name: str) -> str:
    return quote(name, safe="")
