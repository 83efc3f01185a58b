"""`airflow mlpipe …`: what the commands do."""

from __future__ import annotations

import json
import os
import pwd
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.cli.simple_table import AirflowConsole
from airflow.sdk.exceptions import AirflowException
from airflow.utils.cli import get_bagged_dag
from sqlalchemy.exc import DatabaseError

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState, Schema
from airflow_provider_mlpipe.cli.answer import answering, kept_apart
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError
from airflow_provider_mlpipe.execution import warm
from airflow_provider_mlpipe.local import demo as demos
from airflow_provider_mlpipe.metadata import schema
from airflow_provider_mlpipe.metadata.connection import create_database
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import (
    Execution,
    InvalidatedExecution,
    LineageNode,
    MetadataStore,
    all_items,
)
from airflow_provider_mlpipe.metadata.values import printable
from airflow_provider_mlpipe.planning import planner
from airflow_provider_mlpipe.planning.plan_task import PLAN_TASK_ID
from airflow_provider_mlpipe.planning.preview import preview_context
from airflow_provider_mlpipe.settings import airflow_home, default_pipeline_root
from airflow_provider_mlpipe.storage import artifact_check, disk_errors
from airflow_provider_mlpipe.storage import orphans as orphan_files
from airflow_provider_mlpipe.storage.artifact_check import Finding
from airflow_provider_mlpipe.storage.layout import file_of
from airflow_provider_mlpipe.storage.orphans import Orphan
from airflow_provider_mlpipe.terminal import plain
from airflow_provider_mlpipe.times import from_iso

if TYPE_CHECKING:
    from airflow_provider_mlpipe.records.schema_diff import Difference

Row = dict[str, object]

_FOR_PROGRAMS = ("json", "yaml")
_LISTED = 50


def _command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Prints the answer alone to standard output; an error is one line without a traceback, and exit code 1."""

    @wraps(function)
    def wrapped(args: Namespace) -> None:
        # As Airflow's own commands do. Without it, Airflow's SDK does not look for connections in Airflow's database.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        try:
            with kept_apart():
                function(args)
        except MlpipeError as error:
            _leave(error)
        except DatabaseError as error:  # SQLAlchemy is Airflow's; the metadata store does without it
            _leave(InvalidInputError(_airflows_database(error)))

    return wrapped


def _leave(error: MlpipeError) -> NoReturn:
    sys.exit(plain(f"{type(error).__name__}: {error}"))


def _airflows_database(error: DatabaseError) -> str:
    return (
        f"Airflow's own database does not answer as it should: {' '.join(str(error.orig).split())}. If it is new or "
        "older than this Airflow, run: airflow db migrate"
    )


@_command
def db_upgrade(args: Namespace) -> None:
    """`airflow mlpipe db upgrade`."""
    address = MlpipeHook(args.conn_id).address
    if args.create_database and create_database(address):
        _say("Created the database.")
    schema.upgrade(address)
    _say(f"The metadata schema is at version {schema.newest_version()}.")


@_command
def db_check(args: Namespace) -> None:
    """`airflow mlpipe db check`; exit code 1 unless the schema is current."""
    store = MlpipeHook(args.conn_id).store
    store.check()
    _say(f"The metadata schema is at version {schema.newest_version()}, as this code needs it.")
    _say(f"The store's id is {store.id}.")


@_command
def runs(args: Namespace) -> None:
    """`airflow mlpipe runs`."""
    page = MlpipeHook(args.conn_id).store.executions(pipeline=args.dag_id, run_id=args.run_id, limit=args.limit)
    _print([_execution(execution) for execution in page.items], args.output)


@_command
def artifacts(args: Namespace) -> None:
    """`airflow mlpipe artifacts`."""
    if args.what == "list" and (args.dry_run or args.give_up):
        raise InvalidInputError("--dry-run and --give-up belong to `airflow mlpipe artifacts check`")
    store = MlpipeHook(args.conn_id).store
    {"list": _list_artifacts, "check": _check_artifacts}[args.what](store, args)


def _list_artifacts(store: MetadataStore, args: Namespace) -> None:
    found = islice(_chosen_artifacts(store, args), _LISTED if args.limit is None else args.limit)
    _print([_artifact(artifact) for artifact in found], args.output)


def _check_artifacts(store: MetadataStore, args: Namespace) -> None:
    rows = []
    for finding in artifact_check.check(islice(_chosen_artifacts(store, args), args.limit), give_up=args.give_up):
        if finding.state is None:
            which = f"{finding.artifact.TYPE_NAME} {finding.artifact.id}"
            print(plain(f"Left as it is: {which}: {finding.reason}"), file=sys.stderr)
            continue
        if not args.dry_run:
            _record(store, finding)
        if finding.is_of_state:
            rows.append(_finding(finding))
    _print_or_say(rows, args.output, "No state had to be changed.")
    if rows and args.dry_run:
        _say("Nothing was changed: this was a dry run.", args.output)


def _record(store: MetadataStore, finding: Finding) -> None:
    if finding.is_of_stamp:  # from now on a hit need not read these files
        store.stamp(finding.artifact, finding.stamp)
    if finding.is_of_state:
        mark = store.mark_live if finding.state is ArtifactState.LIVE else store.mark_missing
        mark([finding.artifact.id or 0])


def _chosen_artifacts(store: MetadataStore, args: Namespace) -> Iterator[Artifact]:
    """The artifacts that match the filters, newest first, read from the store page by page."""
    if args.artifact_id is not None:
        yield _known_artifact(store, args.artifact_id)
        return
    context_id = None if args.dag_id is None else _context_id(store, args.dag_id)
    yield from all_items(lambda cursor: store.artifacts(artifact_type=args.type, context_id=context_id, cursor=cursor))


@_command
def lineage(args: Namespace) -> None:
    """`airflow mlpipe lineage`."""
    store = MlpipeHook(args.conn_id).store
    _known_artifact(store, args.artifact_id)
    found = store.lineage(artifact_id=args.artifact_id, direction="down" if args.down else "up", max_depth=args.depth)
    _print([_node(node) for node in found.nodes], args.output)
    if found.truncated:
        print(f"Only the nearest {len(found.nodes)} are shown.", file=sys.stderr)


@_command
def schema_diff(args: Namespace) -> None:
    """`airflow mlpipe schema diff`; the exit code says whether anything differs."""
    try:
        from airflow_provider_mlpipe.records.inputs import parse_schema
        from airflow_provider_mlpipe.records.schema_diff import differences
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        raise InvalidInputError(
            f"to compare schemas, this machine lacks the library {library}; run: pip install tensorflow-metadata"
        ) from error
    paths = [_schema_file(given, args.conn_id) for given in (args.before, args.after)]
    try:
        before, after = (parse_schema(path, str(path)) for path in paths)
    except OSError as error:
        raise disk_errors.translated(
            error, f"{error.filename} cannot be read", "Give a file that you can read"
        ) from error
    found = differences(before, after)
    _print_or_say([_difference(each) for each in found], args.output, "The schemas do not differ.")
    if found:
        sys.exit(2)


def _schema_file(given: str, conn_id: str) -> Path:
    """The file of a Schema, given by its id or as a path."""
    if not given.isdecimal() or Path(given).exists():
        return file_of(Schema(uri=given))
    artifact = _known_artifact(MlpipeHook(conn_id).store, int(given))
    if Schema.TYPE_NAME not in artifact.type_names():
        raise InvalidInputError(f"artifact {given} is no Schema, but of the type {artifact.TYPE_NAME}")
    return file_of(artifact)


@_command
def plan(args: Namespace) -> None:
    """`airflow mlpipe plan`; the exit code says whether anything would run."""
    try:
        dag = get_bagged_dag(None, args.dag_id)
    except AirflowException as error:
        raise InvalidInputError(
            f"{error} `airflow dags list-import-errors` lists DAG files that cannot be imported."
        ) from error
    context = preview_context(dag, _json_object(args.params))
    own = getattr(dag.get_task(PLAN_TASK_ID), "metadata_conn_id", None)
    store = MlpipeHook(args.conn_id or own or MlpipeHook.default_conn_name).store
    nodes = planner.preview(dag, store, context, plan_task_id=PLAN_TASK_ID)
    _print([_planned(node) for node in nodes], args.output)
    if not all(node.is_settled for node in nodes):
        sys.exit(2)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"--params is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f'--params must be a JSON object, such as {{"train_steps": 400}}, not {text}')
    return value


@_command
def cache_invalidate(args: Namespace) -> None:
    """`airflow mlpipe cache invalidate`."""
    _check_choice(args)
    since, before = _time(args.since, "--since"), _time(args.before, "--before")
    store = MlpipeHook(args.conn_id).store
    if args.dag_id is not None:
        _context_id(store, args.dag_id)
    if args.artifact_id is not None:
        _known_artifact(store, args.artifact_id)
    found = store.invalidate(
        pipeline=args.dag_id,
        component=args.component,
        artifact_id=args.artifact_id,
        since=since,
        before=before,
        reason=f"invalidated by {_os_user()}",
        dry_run=args.dry_run,
    )
    _print_or_say(_counts(found), args.output, "Nothing matched.")
    if found and args.dry_run:
        _say("Nothing was changed: this was a dry run.", args.output)


def _check_choice(args: Namespace) -> None:
    """Raises InvalidInputError unless either --all or at least one filter is given, but not both."""
    filters = {
        "--dag-id": args.dag_id,
        "--component": args.component,
        "--artifact-id": args.artifact_id,
        "--since": args.since,
        "--before": args.before,
    }
    given = [name for name, value in filters.items() if value is not None]
    if args.all and given:
        raise InvalidInputError(f"--all cannot be combined with {', '.join(given)}; leave one of them out")
    if not args.all and not given:
        raise InvalidInputError(f"choose executions with {', '.join(filters)}, or all of them with --all")


@_command
def orphans(args: Namespace) -> None:
    """`airflow mlpipe orphans`."""
    roots = args.pipeline_root or [default_pipeline_root()]
    found = orphan_files.find(MlpipeHook(args.conn_id).store, roots, dry_run=not args.delete)
    if found.abandoned:
        ids = ", ".join(map(str, found.abandoned))
        what = "Abandoned" if args.delete else "Abandoned with --delete"
        print(f"{what}, since their workers sent no heartbeat: execution {ids}.", file=sys.stderr)
    for words in found.left_alone:
        print(plain(f"Left alone, since another store may have made it: {words}"), file=sys.stderr)
    _print_or_say([_orphan(orphan) for orphan in found.orphans], args.output, "No orphans were found.")
    if found.orphans and args.delete:
        freed, problems = orphan_files.delete(found.orphans)
        _say(f"Deleted {len(found.orphans) - len(problems)} folders, which freed {freed} bytes.", args.output)
        if problems:
            raise InvalidInputError("\n".join(problems))


@_command
def executor_status(args: Namespace) -> None:
    """`airflow mlpipe executor status`."""
    _print_or_say(_parents(warm.parents), args.output, "There is no warm parent.")


@_command
def executor_stop(args: Namespace) -> None:
    """`airflow mlpipe executor stop`."""
    rows = _parents(warm.stop)
    _print_or_say(rows, args.output, "There is no warm parent.")
    if rows:
        _say("Ended.", args.output)


def _parents(act: Callable[[str], list[warm.ParentState]]) -> list[Row]:
    try:
        return [asdict(parent) for parent in act(airflow_home())]
    except OSError as error:
        raise InvalidInputError(f"the warm parents' folder {warm.default_folder()}: {error}") from error


def demo(args: Namespace) -> None:
    """`airflow mlpipe demo`."""
    try:
        status = demos.run_demo(
            dag_id=args.dag_id, dags_folder=args.dags_folder, state_dir=args.state_dir, once=args.once
        )
    except MlpipeError as error:
        _leave(error)
    sys.exit(status)


def _print(rows: list[Row], output: str) -> None:
    if output not in _FOR_PROGRAMS:  # their formats escape what they must
        rows = [{name: plain(str(value)) for name, value in row.items()} for row in rows]
    with answering():
        AirflowConsole(markup=False, emoji=False).print_as(data=rows, output=output)


def _print_or_say(rows: list[Row], output: str, nothing: str) -> None:
    if not rows:
        _say(nothing, output)
    if rows or output in _FOR_PROGRAMS:
        _print(rows, output)


def _say(words: str, output: str = "table") -> None:
    """Prints a message: to standard error if a program reads the rows from standard output."""
    if output in _FOR_PROGRAMS:
        print(words, file=sys.stderr)
        return
    with answering():
        print(words)


def _context_id(store: MetadataStore, dag_id: str) -> int:
    found = store.contexts(context_type="pipeline", name=dag_id).items
    if not found:
        raise InvalidInputError(f"no DAG {dag_id!r} has run with this store; `airflow mlpipe runs` lists runs")
    return found[0].id


def _known_artifact(store: MetadataStore, artifact_id: int) -> Artifact:
    found = store.artifact(artifact_id)
    if found is None:
        raise InvalidInputError(f"there is no artifact {artifact_id}; `airflow mlpipe artifacts` lists them")
    return found


def _time(text: str | None, option: str) -> datetime | None:
    try:
        return None if text is None else from_iso(text)
    except ValueError:
        raise InvalidInputError(f"{option} {text!r} is not a time; write e.g. 2026-01-31T18:30:00+01:00") from None


def _os_user() -> str:
    """The operating system's user, not from environment variables; in a container it may have only a number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _orphan(orphan: Orphan) -> Row:
    return {
        "execution_id": orphan.execution_id,
        "state": orphan.state.value,
        "component": orphan.component_id,
        "bytes": orphan.size,
        "path": printable(str(orphan.path)),
    }


def _counts(found: Iterable[InvalidatedExecution]) -> list[Row]:
    counts = Counter((execution.pipeline, execution.component_id, execution.type) for execution in found)
    return [
        {"dag_id": pipeline, "component": component_id, "type": component_type, "executions": count}
        for (pipeline, component_id, component_type), count in sorted(counts.items())
    ]


def _execution(execution: Execution) -> Row:
    seconds = (execution.ended_at - execution.started_at).total_seconds() if execution.ended_at else None
    return {
        "id": execution.id,
        "dag_id": execution.pipeline,
        "run_id": execution.run_id,
        "component": execution.component_id,
        "try": execution.try_number,
        "state": execution.state.value,
        "cached_from": execution.cached_from or "",
        "started": execution.started_at.isoformat(timespec="seconds"),
        "seconds": "" if seconds is None else f"{seconds:.1f}",
        "error": (execution.error or "").partition("\n")[0],
    }


def _planned(node: planner.PlannedNode) -> Row:
    return {"component": node.component_id, "verdict": node.verdict.value, "reason": node.reason}


def _artifact(artifact: Artifact) -> Row:
    return {
        "id": artifact.id,
        "type": artifact.TYPE_NAME,
        "state": artifact.state.value,
        "digest": (artifact.digest or "")[:12],
        "properties": ", ".join(f"{key}={value}" for key, value in sorted(artifact.properties.items())),
        "uri": artifact.uri,
    }


def _difference(difference: Difference) -> Row:
    return {
        "feature": difference.feature,
        "what": difference.what,
        "A": difference.before,
        "B": difference.after,
    }


def _finding(finding: Finding) -> Row:
    assert finding.state is not None
    return {
        "id": finding.artifact.id,
        "type": finding.artifact.TYPE_NAME,
        "was": finding.artifact.state.value,
        "is": finding.state.value,
        "reason": finding.reason,
    }


def _node(node: LineageNode) -> Row:
    return {
        "depth": node.depth,
        "kind": node.kind,
        "id": node.id,
        "type": node.type,
        "state": node.state,
        "what": node.label,
    }
