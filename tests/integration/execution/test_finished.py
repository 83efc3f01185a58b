"""What an executor has finished survives its task: the task's next try publishes it."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from away import away
from bench import Bench
from run_part import component, run
from waiting import wait_for

from airflow_provider_mlpipe.exceptions import StoreUnavailableError
from airflow_provider_mlpipe.execution import publisher
from airflow_provider_mlpipe.metadata.store import ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage import orphans


def kill_before_publication(bench: Bench, try_number: int, **arguments: object) -> None:
    bench.hold("publisher.before")
    task = bench.start(try_number, **arguments)
    bench.wait_at("publisher.before")
    task.kill()
    bench.release("publisher.before")


def executors(bench: Bench) -> int:
    """How many have begun; each was a process of its own."""
    return len(list(bench.barriers.glob("Make.executor.before@*")))


def kept(root: Path) -> list[str]:
    return [path.parent.name for path in root.glob("*/.finished/*/work.pb")]


def test_the_next_try_publishes_it(bench: Bench) -> None:
    kill_before_publication(bench, 1)
    assert kept(bench.root) == ["1"]
    bench.succeed(2)
    assert executors(bench) == 1
    assert not kept(bench.root)
    bench.succeed(3)
    states = [execution.state for execution in reversed(bench.store.executions().items)]
    assert states == [ExecutionState.FAILED, ExecutionState.COMPLETE, ExecutionState.CACHED]
    assert [artifact.uri for artifact in bench.store.artifacts().items] == [f"{bench.root}/Make/examples/2"]
    bench.assert_sound()


def test_a_try_that_takes_it_up_may_be_killed_too(bench: Bench) -> None:
    kill_before_publication(bench, 1)
    kill_before_publication(bench, 2)
    assert kept(bench.root) == ["2"]
    bench.succeed(3)
    assert executors(bench) == 1
    bench.assert_sound()


def test_what_a_killed_try_took_up_is_its_own_and_can_be_deleted(bench: Bench) -> None:
    kill_before_publication(bench, 1)
    an_hour_ago = time.time() - 3600
    for folder in (bench.root / "Make" / ".finished" / "1", bench.root / "Make" / "examples" / "1"):
        os.utime(folder, (an_hour_ago, an_hour_ago))
    kill_before_publication(bench, 2)
    bench.store.abandon_stale(timedelta(seconds=-1))
    found = orphans.find(bench.store, [str(bench.root)])
    assert {orphan.path for orphan in found.orphans if orphan.execution_id == 2} == {
        bench.root / "Make" / ".finished" / "2",
        bench.root / "Make" / "examples" / "2",
    }


def test_its_files_do_not_depend_on_those_of_the_failed_try(bench: Bench) -> None:
    kill_before_publication(bench, 1)
    bench.succeed(2)
    found = orphans.find(bench.store, [str(bench.root)])
    assert [orphan.execution_id for orphan in found.orphans] == [1]
    orphans.delete(found.orphans)
    bench.assert_sound()


def test_what_was_published_before_a_kill_leaves_an_orphan(bench: Bench) -> None:
    bench.hold("publisher.after")
    task = bench.start(1)
    bench.wait_at("publisher.after")
    task.kill()
    bench.release("publisher.after")
    bench.succeed(2)
    (orphan,) = orphans.find(bench.store, [str(bench.root)]).orphans
    assert orphan.path == bench.root / "Make" / ".finished" / "1"
    orphans.delete([orphan])
    assert not kept(bench.root)
    bench.assert_sound()


def test_it_can_be_deleted_as_an_orphan(bench: Bench) -> None:
    kill_before_publication(bench, 1)
    bench.store.abandon_stale(timedelta(0))
    orphans.delete(orphans.find(bench.store, [str(bench.root)]).orphans)
    assert not kept(bench.root)
    bench.succeed(2)
    assert executors(bench) == 2
    bench.assert_sound()


@pytest.mark.parametrize("damage", ["changed", "gone", "cut off"])
def test_what_is_damaged_is_made_again(bench: Bench, damage: str) -> None:
    kill_before_publication(bench, 1)
    output = bench.root / "Make" / "examples" / "1" / "1.txt"
    if damage == "changed":
        output.write_text("hollo")
    elif damage == "gone":
        output.unlink()
    else:
        work = bench.root / "Make" / ".finished" / "1" / "work.pb"
        work.write_bytes(work.read_bytes()[:-3])
    bench.succeed(2)
    assert executors(bench) == 2
    assert (bench.root / "Make" / "examples" / "2" / "1.txt").read_text() == "hello"
    bench.assert_sound()


def test_it_is_not_taken_up_with_another_parameter(bench: Bench) -> None:
    kill_before_publication(bench, 1)
    bench.succeed(2, text="bonjour")
    assert executors(bench) == 2
    bench.assert_sound()


def test_it_is_not_taken_up_by_another_run(bench: Bench) -> None:
    kill_before_publication(bench, 1, cache=False)
    bench.succeed(1, run_id="other", cache=False)
    assert executors(bench) == 2


def test_it_is_not_taken_up_when_what_its_code_read_has_changed(bench: Bench, tmp_path: Path) -> None:
    module, word = tmp_path / "words.py", tmp_path / "word.txt"
    module.write_text(
        "from pathlib import Path\ndef make_text():\n    return Path(__file__).with_name('word.txt').read_text()\n"
    )
    word.write_text("old")
    kill_before_publication(bench, 1, module_file=str(module))
    word.write_text("new")
    bench.succeed(2, module_file=str(module))
    assert (bench.root / "Make" / "examples" / "2" / "0.txt").read_text() == "new"
    bench.assert_sound()


def test_without_a_cache_a_clear_makes_it_again(bench: Bench) -> None:
    bench.succeed(1, cache=False)
    bench.succeed(2, cache=False)
    assert executors(bench) == 2


def test_a_store_that_stays_away_costs_a_try_and_not_the_work(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(barriers))
    monkeypatch.setattr(publisher, "PATIENCE", timedelta(0))
    operator = component("Make", database, str(tmp_path / "root"))
    hold = barriers / "publisher.before.hold"
    hold.touch()
    errors: list[BaseException] = []
    task = threading.Thread(target=_run_into, args=[operator, errors])
    task.start()
    wait_for(lambda: list(barriers.glob("publisher.before@*")))
    with away(database):
        hold.unlink()
        task.join()
    assert [type(error) for error in errors] == [StoreUnavailableError]
    (artifact,) = run(operator, try_number=2)["examples"]
    assert len(list(barriers.glob("Make.executor.before@*"))) == 1
    assert "the executor does not run again: execution 1 had finished this work" in caplog.text
    store = MetadataStore(database)
    assert store.artifact(artifact.id) == artifact
    store.close()


def _run_into(operator: object, errors: list[BaseException]) -> None:
    try:
        run(operator)  # type: ignore[arg-type]
    except StoreUnavailableError as error:
        errors.append(error)
