"""What failed tries leave behind is found and deleted; nothing else is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser
from run_part import component, component_run, run

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.caching.fingerprint import Fingerprint
from airflow_provider_mlpipe.exceptions import ExecutorDiedError, ExecutorFailedError, ForeignRootError
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.store import Claim, Execution, ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage import orphans
from airflow_provider_mlpipe.storage.layout import output_uri
from airflow_provider_mlpipe.storage.marker import NAME, Marker, write


@dataclass
class Place:
    """A store, and the pipeline_root of what runs with it."""

    dsn: str
    root: Path

    @property
    def store(self) -> MetadataStore:
        return MetadataStore(self.dsn)

    def succeed(self, run_id: str = "run", **arguments: object) -> Artifact:
        (made,) = run(component("Make", self.dsn, str(self.root), **arguments), run_id=run_id)["examples"]
        return made

    def fail(self, run_id: str = "failed", **arguments: object) -> Path:
        """Lets a try crash; the folder that it leaves."""
        with pytest.raises((ExecutorFailedError, ExecutorDiedError)):
            self.succeed(run_id, **{"act": "raise", **arguments})
        return self.folder(self.store.executions().items[0].id)

    def begin(self, run_id: str = "begun") -> tuple[Claim, Path]:
        """What a try does before its executor runs."""
        operator = component("Make", self.dsn, str(self.root))
        run = component_run(operator, run_id=run_id)
        claim = self.store.start_execution(driver.decide(self.store, run).start)
        ((pending,),) = operator._make_outputs(run, claim).values()
        return claim, Path(pending.uri)

    def folder(self, execution_id: int, component_id: str = "Make") -> Path:
        return Path(output_uri(str(self.root), component_id, "examples", execution_id))

    def find(self, *roots: Path) -> orphans.Found:
        return orphans.find(self.store, map(str, roots or [self.root]))

    def found(self, *roots: Path) -> list[Path]:
        return [orphan.path for orphan in self.find(*roots).orphans]

    def change(self, statement: str) -> None:
        connection = Connection(self.dsn)
        connection.run(statement)
        connection.close()


@pytest.fixture
def place(database: str, tmp_path: Path) -> Place:
    (tmp_path / "root").mkdir()
    return Place(database, tmp_path / "root")


@pytest.fixture
def command(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, str]]:
    """Runs `airflow mlpipe orphans` on the place; what it printed, and what it warned."""
    monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_DEFAULT", place.dsn.replace("postgresql://", "mlpipe://", 1))
    monkeypatch.setenv("AIRFLOW__MLPIPE__PIPELINE_ROOT", str(place.root))

    def mlpipe_orphans(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        args = get_parser().parse_args(["mlpipe", "orphans", *arguments])
        args.func(args)
        return capsys.readouterr()

    return mlpipe_orphans


def test_what_a_failed_try_left_is_deleted_and_what_was_published_stays(
    place: Place, command: Callable[..., tuple[str, str]]
) -> None:
    published = Path(place.succeed().uri)
    left = place.fail()
    (left / "deep").mkdir()
    (left / "deep" / "half").write_text("12345")
    (left / "whole").write_text("123")
    (row,) = json.loads(command("--output", "json")[0])
    expected = {"execution_id": left.name, "state": "FAILED", "component": "Make", "bytes": "8", "path": str(left)}
    assert row == expected
    assert left.exists()
    out, _ = command("--delete")
    assert "Deleted 1 folders, which freed 8 bytes." in out
    assert not left.exists()
    assert len(list(published.iterdir())) == 3
    assert command()[0] == "No orphans were found.\n"
    assert json.loads(command("--delete", "--output", "json")[0]) == []


def test_what_may_be_published_is_left_alone(place: Place) -> None:
    complete = Path(place.succeed().uri)
    place.succeed("cached")
    claim, running = place.begin()
    cached = place.folder(place.store.executions(state=ExecutionState.CACHED).items[0].id)
    cached.mkdir()
    found = place.find()
    assert (found.orphans, found.abandoned, found.left_alone) == ([], [], [])
    assert running.is_dir()
    assert complete.is_dir()
    place.store.publish(claim, {"examples": [Examples(uri=str(running))]})
    assert place.found() == []


def test_files_of_a_dead_worker_count_and_it_cannot_publish_any_more(
    place: Place, command: Callable[..., tuple[str, str]]
) -> None:
    claim, folder = place.begin()
    place.change("UPDATE mlpipe.execution SET heartbeat_at = heartbeat_at - interval '30 seconds'")
    assert place.found() == []
    place.change("UPDATE mlpipe.execution SET heartbeat_at = heartbeat_at - interval '31 seconds'")
    why = f"since their workers sent no heartbeat: execution {claim.execution_id}."
    out, warned = command("--output", "json")
    assert f"Abandoned with --delete, {why}" in warned
    (row,) = json.loads(out)
    assert (row["state"], row["path"]) == ("ABANDONED", str(folder))
    (looked_at,) = place.store.executions().items
    assert looked_at.state is ExecutionState.RUNNING
    assert folder.is_dir()
    assert f"Abandoned, {why}" in command("--delete")[1]
    assert not folder.exists()
    assert place.store.fail(claim, "late") is False


def test_what_an_artifact_is_made_of_is_left_alone_in_any_state(place: Place, tmp_path: Path) -> None:
    """Somebody has imported it, whole or in part, and by way of a link, too."""
    folders = [place.fail(str(index)) for index in range(4)]
    (tmp_path / "link").symlink_to(place.root)
    uris = [folders[0], folders[1] / "part" / "of it", folders[2].parent / f"{folders[2].name}0"]
    nothing = Fingerprint(parts={}, source_files=frozenset())
    start = driver.execution_start(component_run(component("Make", place.dsn, str(place.root))), nothing)
    _, imported = place.store.publish_node(start, {"result": [Examples(uri=str(uri)) for uri in uris]})
    assert place.found() == folders[2:]
    assert [path.name for path in place.found(tmp_path / "link")] == [folder.name for folder in folders[2:]]
    place.store.mark_missing([artifact.id or 0 for artifact in imported["result"]])
    assert place.found() == folders[2:]


def test_what_is_not_named_as_an_output_is_left_alone(place: Place) -> None:
    left = place.fail()
    names = ["x", f"0{left.name}", f"{left.name}.0", "²", "-1", "9" * 30, "999"]
    for name in names:
        (left.parent / name).mkdir()
    (left.parent.parent / left.name).mkdir()  # not deep enough
    (left / left.name).mkdir()  # too deep
    (left.parent / str(int(left.name) + 1)).touch()  # no folder
    found = place.find()
    assert [orphan.path for orphan in found.orphans] == [left]
    assert found.left_alone == []


def test_a_name_that_is_no_text_does_no_harm(place: Place, command: Callable[..., tuple[str, str]]) -> None:
    left = place.fail()
    renamed = left.parent.rename(os.path.join(left.parent.parent, os.fsdecode(b"caf\xe9")))
    assert "caf\\udce9" in json.loads(command("--output", "json")[0])[0]["path"]
    command("--delete")
    assert list(renamed.iterdir()) == []


def test_a_folder_of_another_component_is_another_stores(place: Place, command: Callable[..., tuple[str, str]]) -> None:
    left = place.fail()
    other = place.folder(int(left.name), "Other")
    other.mkdir(parents=True)
    _, warned = command("--delete")
    why = f"execution {left.name} belongs to the component 'Make'"
    assert warned == f"Left alone, since another store may have made it: {other}: {why}\n"
    assert other.is_dir()
    assert not left.exists()


def test_what_a_failed_try_found_there_is_another_copys(place: Place) -> None:
    """A copy of the store has the same id and makes executions of the same numbers."""
    place.succeed()
    old = place.folder(2)
    old.mkdir()
    with pytest.raises(ForeignRootError, match="exists already"):
        place.succeed(text="new")
    assert place.store.executions().items[0].state is ExecutionState.FAILED
    found = place.find()
    assert (found.orphans, found.left_alone) == ([], [f"{old}: it existed before execution 2"])


def test_without_its_own_marker_nothing_below_a_root_is_an_orphan(
    place: Place, command: Callable[..., tuple[str, str]]
) -> None:
    assert command("--delete")[0] == "No orphans were found.\n"  # nothing was ever made here
    left = place.fail()
    marker = place.root / NAME
    marker.rename(place.root / "elsewhere")
    with pytest.raises(SystemExit, match=rf"InvalidInputError: .* has no marker, {NAME}"):
        command("--delete")
    again = place.fail("again")  # the marker is back, and from now on
    _, warned = command("--delete")
    assert f"{left}: it may be older than {NAME}" in warned
    assert left.is_dir()
    assert not again.exists()


def test_what_is_older_than_its_execution_is_another_stores(place: Place) -> None:
    """So it is also where the try was killed before it could find that out."""
    left = place.fail()
    os.utime(left, times=(0, left.stat().st_mtime - 30))
    assert place.found() == [left]  # clocks differ
    os.utime(left, times=(0, left.stat().st_mtime - 3600))
    found = place.find()
    assert (found.orphans, found.left_alone) == ([], [f"{left}: it is older than execution {left.name}"])


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_links_are_not_followed(place: Place, tmp_path: Path, depth: int) -> None:
    left = place.fail()
    linked = [left, left.parent, left.parent.parent][depth]
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    assert left.is_dir()
    assert place.found() == []


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_folder_that_becomes_a_link_is_not_deleted_through(place: Place, tmp_path: Path, depth: int) -> None:
    left = place.fail()
    found = place.find().orphans
    linked = [left, left.parent, left.parent.parent][depth]
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    freed, (problem,) = orphans.delete(found)
    assert freed == 0
    assert f"{linked} has become a link" in problem
    assert left.is_dir()


def test_a_link_inside_is_removed_and_not_what_it_leads_to(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x" * 1000)
    left = place.fail()
    for name, target in (("folder", kept), ("file", kept / "file"), ("nowhere", tmp_path / "nowhere")):
        (left / name).symlink_to(target)
    found = place.find().orphans
    assert found[0].size < 1000
    assert orphans.delete(found)[1] == []
    assert not left.exists()
    assert (kept / "file").exists()


def test_what_is_gone_when_it_is_to_be_deleted_is_no_problem(place: Place) -> None:
    left, other = place.fail(), place.fail("other")
    found = place.find().orphans
    shutil.rmtree(left)
    assert orphans.delete(found) == (0, [])
    assert not other.exists()


def test_what_cannot_be_deleted_is_named_and_the_rest_goes(place: Place) -> None:
    left, other = place.fail(), place.fail("other")
    (other / "file").write_text("1234567")
    found = place.find().orphans
    left.rmdir()
    left.touch()
    freed, (problem,) = orphans.delete(found)
    assert freed == 7
    assert f"{left} cannot be removed" in problem
    assert not other.exists()


def test_roots_that_are_the_same_or_two_are_looked_at_once_each(
    place: Place, command: Callable[..., tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.fail()
    second = Place(place.dsn, tmp_path / "second").fail("in the second")
    monkeypatch.chdir(place.root)
    (tmp_path / "link").symlink_to(place.root)
    roots = [str(place.root), f"{place.root}/", ".", str(tmp_path / "link")]
    out, _ = command("--output", "json", "--pipeline-root", *roots, "--pipeline-root", str(tmp_path / "second"))
    assert [row["path"] for row in json.loads(out)] == [str(first), str(second)]


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_no_folder_is_named_before_anything_is_done(
    place: Place, command: Callable[..., tuple[str, str]], tmp_path: Path, kind: str
) -> None:
    claim, _ = place.begin()
    place.change("UPDATE mlpipe.execution SET heartbeat_at = heartbeat_at - interval '1 hour'")
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=f"InvalidInputError: the pipeline_root {tmp_path}/{kind} is not a folder"):
        command("--pipeline-root", str(place.root), str(tmp_path / kind))
    place.store.heartbeat(claim)


class CountingStore(MetadataStore):
    """Remembers how many executions it was asked for at once."""

    asked: list[int]

    def executions_by_id(self, execution_ids: Collection[int]) -> list[Execution]:
        self.asked.append(len(execution_ids))
        return super().executions_by_id(execution_ids)


def test_the_store_is_asked_for_a_thousand_at_once(place: Place) -> None:
    place.change(
        "INSERT INTO mlpipe.execution_type (name) VALUES ('Make');"
        "INSERT INTO mlpipe.execution"
        " (type_id, pipeline, run_id, run_key, component_id, state, fingerprint, fingerprint_parts, ended_at) SELECT"
        " 1, 'pipeline', 'r' || n, gen_random_uuid(), 'Make',"
        " CASE WHEN n % 2 = 0 THEN 'FAILED' ELSE 'COMPLETE' END, '', '{}', now()"
        " FROM generate_series(1, 2500) AS n"
    )
    for number in range(1, 2501):
        place.folder(number).mkdir(parents=True)
    store = CountingStore(place.dsn)
    write(place.root, Marker(store=store.id, from_execution=0))
    store.asked = []
    found = orphans.find(store, [str(place.root)])
    assert sorted(orphan.execution_id for orphan in found.orphans) == list(range(2, 2501, 2))
    assert store.asked == [1000, 1000, 500]
