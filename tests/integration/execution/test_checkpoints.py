"""An executor's checkpoints outlive a failed try: the next try of the same work goes on from them."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench

from airflow_provider_mlpipe.metadata.store import ExecutionState
from airflow_provider_mlpipe.storage import orphans


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.component = "Keep"
    return bench


def killed_at(bench: Bench, barrier: str, try_number: int = 1, **arguments: object) -> None:
    """A try whose task is killed there, and with it its executor."""
    bench.hold(barrier)
    task = bench.start(try_number, **arguments)  # type: ignore[arg-type]
    bench.wait_at(barrier)
    task.kill()
    bench.release(barrier)


def began(bench: Bench, execution_id: int, component: str = "Keep") -> int:
    """With which step an execution's executor began."""
    return int((bench.root / component / "model" / str(execution_id) / "began").read_text())


def kept(bench: Bench) -> dict[str, list[str]]:
    """The checkpoints that there are, by execution."""
    return {
        f"{path.parent.parent.name}/{path.name}": sorted(each.name for each in path.iterdir())
        for path in bench.root.glob("*/.checkpoints/*")
    }


def test_the_next_try_goes_on_and_then_they_are_deleted(bench: Bench) -> None:
    killed_at(bench, "keep.whole.2")
    assert kept(bench) == {"Keep/1": ["1", "2"]}
    bench.succeed(2)
    assert began(bench, 2) == 2
    assert kept(bench) == {}


def test_a_component_that_keeps_none_has_no_folder(bench: Bench) -> None:
    bench.component = "Make"
    killed_at(bench, "executor.inside.1")
    assert kept(bench) == {}


def test_what_is_half_written_is_not_copied(bench: Bench) -> None:
    killed_at(bench, "keep.half.3")
    assert kept(bench) == {"Keep/1": [".3", "1", "2"]}
    bench.hold("checkpoints.seeded")
    task = bench.start(2)
    bench.wait_at("checkpoints.seeded")
    assert kept(bench)["Keep/2"] == ["1", "2"]
    bench.release("checkpoints.seeded")
    assert task.wait() == 0
    assert began(bench, 2) == 2


def test_a_copy_is_made_again_if_the_failed_try_still_writes(bench: Bench) -> None:
    killed_at(bench, "keep.whole.1")
    bench.hold("checkpoints.copy")
    task = bench.start(2)
    bench.wait_at("checkpoints.copy")
    earlier = bench.root / "Keep" / ".checkpoints" / "1"
    (earlier / "2").mkdir()
    (earlier / "2" / "state").write_text("1")
    shutil.rmtree(earlier / "1")
    bench.release("checkpoints.copy")
    assert task.wait() == 0
    assert began(bench, 2) == 2


def test_what_is_lost_while_it_is_copied_is_done_again(bench: Bench) -> None:
    killed_at(bench, "keep.whole.2")
    bench.hold("checkpoints.copy")
    task = bench.start(2)
    bench.wait_at("checkpoints.copy")
    shutil.rmtree(bench.root / "Keep" / ".checkpoints" / "1")
    bench.release("checkpoints.copy")
    assert task.wait() == 0
    assert began(bench, 2) == 0


def test_a_try_that_is_killed_while_it_copies_leaves_the_source(bench: Bench) -> None:
    killed_at(bench, "keep.whole.2")
    killed_at(bench, "checkpoints.copy", 2)
    bench.succeed(3)
    assert began(bench, 3) == 2
    assert kept(bench) == {}


def test_a_try_that_was_killed_before_it_had_any_is_passed_over(bench: Bench) -> None:
    killed_at(bench, "keep.whole.2")
    killed_at(bench, "driver.started", 2)
    bench.succeed(3)
    assert began(bench, 3) == 2


def test_tries_add_up(bench: Bench) -> None:
    killed_at(bench, "keep.whole.1")
    killed_at(bench, "keep.whole.2", 2)
    assert kept(bench) == {"Keep/2": ["1", "2"]}
    bench.succeed(3)
    assert began(bench, 3) == 2


def test_any_run_and_component_goes_on_with_the_same_work(bench: Bench) -> None:
    killed_at(bench, "keep.whole.2")
    bench.store.abandon_stale(timedelta(0))
    bench.succeed(1, run_id="other", task_id="Other")
    assert began(bench, 2, "Other") == 2
    assert kept(bench) == {}


@pytest.mark.parametrize("arguments", [{"cache": "refresh"}, {"cache": False}, {"steps": 4}], ids=str)
def test_work_that_is_not_the_same_begins_anew(bench: Bench, arguments: dict[str, object]) -> None:
    killed_at(bench, "keep.whole.2")
    bench.succeed(2, **arguments)  # type: ignore[arg-type]
    assert began(bench, 2) == 0
    assert kept(bench) == {"Keep/1": ["1", "2"]}


@pytest.mark.parametrize("mode", ["refresh", False])
def test_without_the_cache_nothing_is_taken_from_such_a_try(bench: Bench, mode: object) -> None:
    killed_at(bench, "keep.whole.2", cache=mode)
    bench.succeed(2, cache=mode)
    assert began(bench, 2) == 0


def test_the_checkpoints_of_finished_work_go_with_its_publication(bench: Bench) -> None:
    killed_at(bench, "publisher.before")
    assert kept(bench) == {"Keep/1": ["1", "2", "3"]}
    bench.succeed(2)
    assert kept(bench) == {}


@pytest.mark.parametrize(
    ("barrier", "state"), [("keep.whole.2", ExecutionState.ABANDONED), ("publisher.after", ExecutionState.COMPLETE)]
)
def test_orphans_are_found(bench: Bench, barrier: str, state: ExecutionState) -> None:
    killed_at(bench, barrier)
    bench.store.abandon_stale(timedelta(0))
    found = orphans.find(bench.store, [str(bench.root)]).orphans
    assert Path(bench.root, "Keep", ".checkpoints", "1") in [orphan.path for orphan in found if orphan.state == state]
    orphans.delete(found)
    assert kept(bench) == {}


def test_those_of_a_try_that_runs_are_no_orphans(bench: Bench) -> None:
    bench.hold("keep.whole.1")
    task = bench.start(1)
    bench.wait_at("keep.whole.1")
    assert orphans.find(bench.store, [str(bench.root)]).orphans == []
    bench.release("keep.whole.1")
    assert task.wait() == 0
