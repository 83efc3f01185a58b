"""`airflow mlpipe …`: what the commands are. Their code is in `actions.py`, so that `airflow` starts without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command

_CONN_ID = Arg(
    ("--conn-id",), help="the Airflow connection of type mlpipe", default="mlpipe_default", metavar="CONN_ID"
)
_LIMIT = Arg(("--limit",), help="how many rows at most, newest first", type=int, default=50)
_DAG_ID = Arg(("--dag-id",), help="only this DAG's", default=None)


def get_cli_commands() -> list[CLICommand]:
    """The group `mlpipe` for Airflow's command line."""
    return [
        GroupCommand(
            name="mlpipe",
            help="ML pipelines: the metadata store, what ran and what came out",
            subcommands=(
                GroupCommand(name="db", help="The metadata schema", subcommands=_DB),
                GroupCommand(name="cache", help="What later runs reuse", subcommands=_CACHE),
                GroupCommand(name="executor", help="The process that executors are forked from", subcommands=_EXECUTOR),
                ActionCommand(
                    name="runs",
                    help="List what ran: one line per execution",
                    func=_impl("runs"),
                    args=(
                        _DAG_ID,
                        Arg(("--run-id",), help="only this run's", default=None),
                        _LIMIT,
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="artifacts",
                    help="List what came out",
                    func=_impl("artifacts"),
                    args=(
                        Arg(("--type",), help="only this artifact type, e.g. Model", default=None),
                        _DAG_ID,
                        _LIMIT,
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="lineage",
                    help="What an artifact was made from, or what was made from it",
                    func=_impl("lineage"),
                    args=(
                        Arg(("artifact_id",), help="the artifact's id", type=int),
                        Arg(
                            ("--down",),
                            help="what was made from it, instead of what it was made from",
                            action="store_true",
                        ),
                        Arg(("--depth",), help="how many steps at most", type=int, default=20),
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="plan",
                    help="Show what a run would do, and why, without running it",
                    description="Exit code 0: every component is cached or resolved; 2: something would run; 1: error.",
                    func=_impl("plan"),
                    args=(
                        Arg(("dag_id",), help="a DAG made by create_dag"),
                        Arg(("--params",), help="the run's Params, as a JSON object", default="{}", metavar="JSON"),
                        ARG_OUTPUT,
                        _CONN_ID,
                    ),
                ),
                ActionCommand(
                    name="orphans",
                    help="List, or delete, the files of executions that never published",
                    description=(
                        "Folders <pipeline root>/<component id>/<output key>/<execution id> whose execution is FAILED "
                        "or ABANDONED. Executions whose worker has given no sign of life for a minute are ended first."
                    ),
                    func=_impl("orphans"),
                    args=(
                        Arg(
                            ("--pipeline-root",),
                            help="where to look: the DAGs' pipeline_root (default: Airflow's [mlpipe] pipeline_root)",
                            nargs="+",
                            action="extend",
                            metavar="ROOT",
                        ),
                        Arg(("--delete",), help="delete them", action="store_true"),
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
                        Arg(("--dag-id",), help="the example to run", default="flight_delays"),
                        Arg(("--dags-folder",), help="its folder (default: dags of this checkout)", type=Path),
                    ),
                ),
            ),
        )
    ]


def _impl(name: str) -> Callable[..., Any]:
    return lazy_load_command(f"airflow_provider_mlpipe.cli.actions.{name}")


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
        name="check", help="Say whether the metadata schema is current", func=_impl("db_check"), args=(_CONN_ID,)
    ),
)
_CACHE = (
    ActionCommand(
        name="invalidate",
        help="Keep later runs from reusing earlier executions",
        description=(
            "Executions that match all of what is given are not reused any more: what is equal to them runs again. "
            "Their artifacts stay as they are. Times are in ISO 8601, in UTC unless they name a zone."
        ),
        func=_impl("cache_invalidate"),
        args=(
            _DAG_ID,
            Arg(("--component",), help="only this component's: its id, or its type", default=None),
            Arg(("--artifact-id",), help="only those that put this artifact out", type=int, default=None),
            Arg(("--since",), help="only what ended then or later", default=None, metavar="TIME"),
            Arg(("--before",), help="only what ended earlier than that", default=None, metavar="TIME"),
            Arg(("--all",), help="whatever has ever run, instead of a choice", action="store_true"),
            Arg(("--dry-run",), help="only print what would be", action="store_true"),
            ARG_OUTPUT,
            _CONN_ID,
        ),
    ),
)
_EXECUTOR = (
    ActionCommand(
        name="status",
        help="Show the warm parents of this Airflow on this machine",
        description="As the user of the tasks, on the worker, with their TMPDIR.",
        func=_impl("executor_status"),
        args=(ARG_OUTPUT,),
    ),
    ActionCommand(
        name="stop",
        help="End them; executors that run go on, later ones import for themselves or start another parent",
        description="As the user of the tasks, on the worker, with their TMPDIR.",
        func=_impl("executor_stop"),
        args=(ARG_OUTPUT,),
    ),
)
