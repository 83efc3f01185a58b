"""`airflow mlpipe …`: the commands and their arguments. `airflow` imports `actions.py`, their code, only to run one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command

_CONN_ID = Arg(
    ("--conn-id",), help="the Airflow connection of type mlpipe", default="mlpipe_default", metavar="CONN_ID"
)
_LIMIT = Arg(("--limit",), help="maximum number of rows, newest first", type=int, default=50)
_ARTIFACT_ID = Arg(("--artifact-id",), help="only this artifact", type=int, default=None)
_DAG_ID = Arg(("--dag-id",), help="only of this DAG", default=None)


def get_cli_commands() -> list[CLICommand]:
    """The group `mlpipe` for Airflow's command line."""
    return [
        GroupCommand(
            name="mlpipe",
            help="ML pipelines: the metadata store, its executions and artifacts",
            subcommands=(
                GroupCommand(name="db", help="The metadata schema", subcommands=_DB),
                GroupCommand(name="schema", help="Schemas of examples", subcommands=_SCHEMA),
                GroupCommand(name="cache", help="The results that later runs reuse", subcommands=_CACHE),
                GroupCommand(
                    name="executor", help="The warm parent: executors are forked from it", subcommands=_EXECUTOR
                ),
                ActionCommand(
                    name="runs",
                    help="List executions",
                    func=_impl("runs"),
                    args=(
                        _DAG_ID,
                        Arg(("--run-id",), help="only of this run", default=None),
                        _LIMIT,
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="artifacts",
                    help="List artifacts, or check their files",
                    description=(
                        "`check` reads the files of LIVE and MISSING artifacts and compares them with the recorded "
                        "digests. It marks as MISSING what is gone or changed, and as LIVE again what has come back. "
                        "Run it as the user of the Airflow workers, where they run."
                    ),
                    func=_impl("artifacts"),
                    args=(
                        Arg(("what",), help="list (default) or check", nargs="?", choices=_ARTIFACTS, default="list"),
                        Arg(("--type",), help="only this artifact type, e.g. Model", default=None),
                        _ARTIFACT_ID,
                        _DAG_ID,
                        Arg(
                            ("--limit",),
                            help="only so many, newest first (default: 50 for list, all for check)",
                            type=int,
                        ),
                        Arg(("--dry-run",), help="check: only print; change nothing", action="store_true"),
                        Arg(
                            ("--give-up",),
                            help="check: mark as MISSING, too, what is on a disk that is not there",
                            action="store_true",
                        ),
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="lineage",
                    help="Show what an artifact was made from, or what was made from it",
                    func=_impl("lineage"),
                    args=(
                        Arg(("artifact_id",), help="the artifact's id", type=int),
                        Arg(
                            ("--down",),
                            help="show what was made from it",
                            action="store_true",
                        ),
                        Arg(("--depth",), help="maximum number of steps", type=int, default=20),
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="plan",
                    help="Show what a run would do, and why, without running it",
                    description="Exit code 0: every component is cached or resolved; 2: something may run; 1: error.",
                    func=_impl("plan"),
                    args=(
                        Arg(("dag_id",), help="a DAG made by create_dag"),
                        Arg(("--params",), help="the run's Params, as a JSON object", default="{}", metavar="JSON"),
                        ARG_OUTPUT,
                        Arg(("--conn-id",), help="another Airflow connection than the DAG's", metavar="CONN_ID"),
                    ),
                ),
                ActionCommand(
                    name="orphans",
                    help="List or delete the files of failed and killed tries",
                    description=(
                        "Lists folders <pipeline root>/<component id>/<output key>/<execution id> whose execution is "
                        "FAILED or ABANDONED, or whose worker has sent no heartbeat for a minute; --delete ends it."
                    ),
                    func=_impl("orphans"),
                    args=(
                        Arg(
                            ("--pipeline-root",),
                            help="the pipeline_root of a DAG (default: [mlpipe] pipeline_root of Airflow's config)",
                            nargs="+",
                            action="extend",
                            metavar="ROOT",
                        ),
                        Arg(("--delete",), help="delete these folders", action="store_true"),
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="demo",
                    help="Run the example pipeline through a real Airflow on an embedded Postgres",
                    func=_impl("demo"),
                    args=(
                        Arg(("--once",), help="exit with the run's status instead of staying up", action="store_true"),
                        Arg(("--dag-id",), help="the example DAG to run", default="flight_delays"),
                        Arg(("--dags-folder",), help="the DAG's folder (default: dags of this checkout)", type=Path),
                        Arg(("--state-dir",), help="the folder of its state (default: .state there)", type=Path),
                    ),
                ),
            ),
        )
    ]


def _impl(name: str) -> Callable[..., Any]:
    return lazy_load_command(f"airflow_provider_mlpipe.cli.actions.{name}")


_ARTIFACTS = ("list", "check")
_DB = (
    ActionCommand(
        name="upgrade",
        help="Create or upgrade the metadata schema",
        func=_impl("db_upgrade"),
        args=(
            Arg(("--create-database",), help="create the connection's database if it is missing", action="store_true"),
            _CONN_ID,
        ),
    ),
    ActionCommand(
        name="check", help="Check whether the metadata schema is current", func=_impl("db_check"), args=(_CONN_ID,)
    ),
)
_SCHEMA = (
    ActionCommand(
        name="diff",
        help="Show what differs between two schemas, feature by feature",
        description="Exit code 0: nothing differs; 2: something does; 1: error. It needs the library "
        "tensorflow-metadata, which the extra `executor` has.",
        func=_impl("schema_diff"),
        args=(
            Arg(("before",), help="the id of a Schema, or the path of a schema.pbtxt or of its folder", metavar="A"),
            Arg(("after",), help="the same, of the schema to compare with", metavar="B"),
            ARG_OUTPUT,
            _CONN_ID,
        ),
    ),
)
_CACHE = (
    ActionCommand(
        name="invalidate",
        help="Keep later runs from reusing earlier executions",
        description=(
            "Later runs do not reuse the executions that match all given filters; an equal component runs again. "
            "Their artifacts do not change. Times are in ISO 8601, and in UTC unless they name a time zone."
        ),
        func=_impl("cache_invalidate"),
        args=(
            _DAG_ID,
            Arg(("--component",), help="only of this component: its id or its type", default=None),
            Arg(("--artifact-id",), help="only with this artifact as an output", type=int, default=None),
            Arg(("--since",), help="only those that ended at this time or later", default=None, metavar="TIME"),
            Arg(("--before",), help="only those that ended before this time", default=None, metavar="TIME"),
            Arg(("--all",), help="all executions", action="store_true"),
            Arg(("--dry-run",), help="only count the executions; change nothing", action="store_true"),
            ARG_OUTPUT,
            _CONN_ID,
        ),
    ),
)
_EXECUTOR = (
    ActionCommand(
        name="status",
        help="Show the warm parents of this Airflow on this machine",
        description="Run it on the worker, as the user of the tasks and with the same TMPDIR.",
        func=_impl("executor_status"),
        args=(ARG_OUTPUT,),
    ),
    ActionCommand(
        name="stop",
        help="End the warm parents of this Airflow on this machine",
        description="Running executors continue. Later executors import the libraries themselves or start a new warm "
        "parent. Run it on the worker, as the user of the tasks and with the same TMPDIR.",
        func=_impl("executor_stop"),
        args=(ARG_OUTPUT,),
    ),
)
