"""One component from decision to published row: real store, real child process."""

from __future__ import annotations

import os
import re
import signal
import threading
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.timeout import timeout
from named_runs import named_run
from run_part import component, component_run, run
from waiting import wait_for

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.exceptions import (
    AnomaliesFoundError,
    ExecutorDiedError,
    ExecutorFailedError,
    InvalidInputError,
    InvalidValueError,
    LostClaimError,
    PipelineError,
    UserCodeError,
)
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.store import Claim, ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage.digests import tree_digest

Make = Callable[..., Any]


@pytest.fixture
def make(database: str, tmp_path: Path) -> Make:
    return lambda name="Make", **arguments: component(name, database, str(tmp_path / "root"), **arguments)


@pytest.fixture
def store(database: str) -> MetadataStore:
    return MetadataStore(database)


class TaskLog:
    """What was logged so far."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._captured.readouterr().out
        return self._text


@pytest.fixture
def task_log(capsys: pytest.CaptureFixture[str]) -> TaskLog:
    return TaskLog(capsys)


def one(published: Any, key: str = "examples") -> Artifact:
    (artifact,) = published[key]
    return artifact


def states(store: MetadataStore) -> list[ExecutionState]:
    return [execution.state for execution in reversed(store.executions().items)]


def test_a_miss_runs_and_publishes_and_the_same_again_is_a_hit(make: Make, store: MetadataStore) -> None:
    first = one(run(make()))
    assert first.state is ArtifactState.LIVE
    assert first.digest == tree_digest(Path(first.uri))
    assert Path(first.uri).name == str(store.executions().items[0].id)
    assert first.properties["record_counts"] == {"train": 3}
    again = one(run(make(), run_id="second"))
    assert again.id == first.id
    assert states(store) == [ExecutionState.COMPLETE, ExecutionState.CACHED]


def test_equal_content_stops_there(make: Make) -> None:
    """Early cutoff: a producer that ran again with equal bytes leaves its consumer cached."""
    first, second = (one(run(make(cache=cache), run_id=str(cache))) for cache in (True, "refresh"))
    assert first.id != second.id
    assert first.digest == second.digest
    used = [one(run(make("Use", examples=None), inputs={"examples": made}), "model").id for made in (first, second)]
    assert used[0] == used[1]


def test_another_parameter_runs_and_says_why(make: Make, task_log: TaskLog) -> None:
    run(make(text="a"))
    run(make(text="b"), run_id="second")
    assert "Make: runs, first run" in task_log.text
    assert 'Make: runs, parameter text "a" → "b"' in task_log.text


def test_outputs_that_are_gone_are_marked_missing_and_made_again(
    make: Make, store: MetadataStore, task_log: TaskLog
) -> None:
    lost = one(run(make()))
    for path in Path(lost.uri).iterdir():
        path.unlink()
    Path(lost.uri).rmdir()
    again = one(run(make(), run_id="second"))
    assert again.id != lost.id
    assert store.artifact(lost.id or 0).state is ArtifactState.MISSING  # type: ignore[union-attr]
    assert f"outputs missing: {lost.uri}" in task_log.text


@pytest.mark.parametrize(("cache", "later"), [(False, ExecutionState.COMPLETE), ("refresh", ExecutionState.CACHED)])
def test_what_a_run_without_a_look_leaves_to_later_ones(
    make: Make, store: MetadataStore, cache: Any, later: ExecutionState
) -> None:
    for number in range(2):
        run(make(cache=cache), run_id=f"run {number}")
    assert states(store) == [ExecutionState.COMPLETE] * 2
    run(make(), run_id="later")
    assert states(store)[-1] is later


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (
            "raise",
            ExecutorFailedError,
            r"what the user did wrong \(.*parts_executors\.py, line \d+\)\n(?s:.*)in _raise",
        ),
        ("permanent", InvalidInputError, r"data\.csv, line 7"),
        ("exit", ExecutorFailedError, "bye"),
        ("surrogate", InvalidInputError, r"caf\\udce9\.csv is not text"),
        ("own_error", InvalidInputError, "of a kind of its own"),
        ("namesake", ExecutorFailedError, "only shares the name"),
        ("long", ExecutorFailedError, "characters left out"),
        ("crash", ExecutorDiedError, r"(?s)Make ended without a result, killed by SIGKILL.*last words"),
    ],
)
def test_a_failed_execution_publishes_nothing_and_says_why(
    make: Make, store: MetadataStore, act: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(make(act=act))
    assert not store.artifacts().items
    (execution,) = store.executions().items
    assert execution.state is ExecutionState.FAILED
    assert execution.error is not None
    assert execution.error.startswith(error.__name__)


def test_what_an_executor_returns_is_checked(
    make: Make, store: MetadataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPIPE_TEST_ROOT", str(tmp_path / "root" / "Make"))
    with pytest.raises(InvalidValueError, match="returned unknown outputs: exampels; its outputs are: examples"):
        run(make(words=["misspelt"]))
    with pytest.raises(InvalidValueError, match=r"has removed .*, the folder of its output 'examples'"):
        run(make(act="no_folder", files=0))
    assert not store.artifacts().items


def test_a_root_that_goes_away_meanwhile_may_come_back(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPIPE_TEST_ROOT", str(tmp_path / "root"))
    with pytest.raises(ExecutorFailedError, match=r"TransientError: pipeline_root .*root is out of reach: its marker"):
        run(make(act="no_folder", files=0))


def test_an_executor_may_close_its_output(make: Make) -> None:
    assert one(run(make(act="silent"))).state is ArtifactState.LIVE


def test_code_that_is_edited_while_it_runs_makes_the_result_not_reusable(
    make: Make, store: MetadataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barriers, module = tmp_path / "barriers", tmp_path / "edited_while_it_runs.py"
    barriers.mkdir()
    (barriers / "launcher.start.hold").touch()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(barriers))
    module.write_text("def make_text(): return 'before'")
    worker = threading.Thread(target=run, args=[make(module_file=str(module))])
    worker.start()
    wait_for(lambda: list(barriers.glob("launcher.start@*")))
    module.write_text("def make_text(): return 'edited'")
    (barriers / "launcher.start.hold").unlink()
    worker.join()
    (execution,) = store.executions().items
    assert "changed while it ran: user code changed: edited_while_it_runs.py" in str(execution.not_reusable_reason)


READS_A_FILE = """
from pathlib import Path
def make_text(): return Path(__file__).with_name("vocabulary.txt").read_text()
"""


def test_a_file_that_code_reads_is_looked_at_before_a_hit(make: Make, tmp_path: Path, task_log: TaskLog) -> None:
    module, vocabulary = tmp_path / "reads_a_file.py", tmp_path / "vocabulary.txt"
    module.write_text(READS_A_FILE)
    made = []
    for number, text in enumerate(("old", "old", "new", "new", "old")):
        vocabulary.write_text(text)
        made.append(one(run(make(module_file=str(module)), run_id=str(number))))
    assert [Path(artifact.uri, "0.txt").read_text() for artifact in made] == ["old", "old", "new", "new", "old"]
    assert [artifact.id for artifact in made] == [made[0].id, made[0].id, made[2].id, made[2].id, made[0].id]
    assert f"runs, {vocabulary}, which its code reads, changed" in task_log.text


def test_a_file_is_read_beside_the_module_that_would_run(make: Make, tmp_path: Path, task_log: TaskLog) -> None:
    """The same module in another folder, such as a new version of a DAG bundle, has another file beside it."""
    made = []
    for version, text in (("v1", "old"), ("v2", "old"), ("v3", "new")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "reads_beside_it.py").write_text(READS_A_FILE)
        (tmp_path / version / "vocabulary.txt").write_text(text)
        made.append(one(run(make(module_file=str(tmp_path / version / "reads_beside_it.py")), run_id=version)))
    assert [Path(artifact.uri, "0.txt").read_text() for artifact in made] == ["old", "old", "new"]
    assert made[0].id == made[1].id
    assert f"runs, {tmp_path}/v3/vocabulary.txt, which its code reads, changed" in task_log.text


def test_a_file_of_cache_files_counts_once(make: Make, store: MetadataStore, tmp_path: Path, task_log: TaskLog) -> None:
    module, vocabulary = tmp_path / "reads_a_cache_file.py", tmp_path / "vocabulary.txt"
    module.write_text(READS_A_FILE)
    for number in range(2):
        vocabulary.write_text(str(number))
        run(make(module_file=str(module), cache_files=[str(vocabulary)]), run_id=str(number))
    assert "runs, file 0 vocabulary.txt changed" in task_log.text
    cached = store.find_cached(store.executions().items[0].fingerprint)
    assert cached is not None
    assert not cached.reads


def test_a_module_in_a_zip_file_is_code_like_any_other(make: Make, tmp_path: Path, task_log: TaskLog) -> None:
    archive = tmp_path / "packaged.zip"
    for number, text in enumerate(("one", "one", "two")):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("zipped_module.py", "import zipped_part\ndef make_text(): return zipped_part.text")
            file.writestr("zipped_part.py", f"text = {text!r}")
        made = one(run(make(module_file=f"{archive}/zipped_module.py"), run_id=str(number)))
        assert Path(made.uri, "0.txt").read_text() == text
    assert "Make: cached, equal to execution 1" in task_log.text
    assert "Make: runs, user code changed: zipped_part.py" in task_log.text


def test_a_zip_file_that_is_damaged_is_named(make: Make, tmp_path: Path) -> None:
    archive = tmp_path / "packaged.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_module.py", "")
    archive.write_bytes(archive.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
    with pytest.raises(InvalidInputError, match=r"packaged\.zip cannot be read as a zip file"):
        run(make(module_file=f"{archive}/zipped_module.py"))


KEEPS_A_FILE = """
from pathlib import Path
def make_text():
    with open("kept.txt", "a") as file:
        file.write("a line ")
    return Path("kept.txt").read_text()
"""


def test_runs_do_not_share_what_they_write_by_relative_paths(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keeps_a_file.py").write_text(KEEPS_A_FILE)
    made = [one(run(make(module_file="keeps_a_file.py", cache="refresh"), run_id=str(number))) for number in range(2)]
    assert [Path(artifact.uri, "0.txt").read_text() for artifact in made] == ["a line "] * 2
    assert not (tmp_path / "kept.txt").exists()


def test_relative_paths_mean_what_they_mean_to_the_task(
    database: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("modules")
    Path("modules").mkdir()
    Path("modules", "found_by_a_relative_path.py").write_text("text = 'found'")
    Path("relative.py").write_text("import found_by_a_relative_path as it\ndef make_text(): return it.text")
    made = one(run(component("Make", database, "relative root", module_file="relative.py")))
    assert Path(made.uri, "0.txt").read_text() == "found"
    used = one(run(component("Use", database, "relative root", examples=None), inputs={"examples": made}), "model")
    assert Path(used.uri, "saved").read_text() == "found\n" * 2 + "found"


READS_A_VARIABLE = "import os\nNAME = 'MLPIPE_TEST_K'\ndef make_text(): return "


@pytest.mark.parametrize(
    ("code", "settings"),
    [("os.environ.get(NAME, '1')", {}), ("dict(os.environ).get(NAME, '1')", {"cache_env": ["MLPIPE_TEST_K"]})],
)
def test_an_environment_variable_that_code_reads_counts(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_log: TaskLog, code: str, settings: dict[str, Any]
) -> None:
    module = tmp_path / f"reads_a_variable_{len(code)}.py"
    module.write_text(READS_A_VARIABLE + code)
    made = []
    for number, value in enumerate(("1", "7", "7")):
        monkeypatch.setenv("MLPIPE_TEST_K", value)
        made.append(one(run(make(module_file=str(module), **settings), run_id=str(number))))
    assert [Path(artifact.uri, "0.txt").read_text() for artifact in made] == ["1", "7", "7"]
    assert made[1].id == made[2].id
    assert "runs, environment variable MLPIPE_TEST_K changed" in task_log.text
    assert "cache_env" not in task_log.text


def test_a_variable_whose_name_is_computed_is_warned_of(make: Make, tmp_path: Path, task_log: TaskLog) -> None:
    module = tmp_path / "reads_any_variable.py"
    module.write_text(READS_A_VARIABLE + "str(len(os.environ))")
    run(make(module_file=str(module)))
    assert f"{module}, line 3: reads environment variables whose names are not written there" in task_log.text
    assert "name those that change the result in cache_env" in task_log.text


def test_outputs_out_of_reach_are_not_given_up(make: Make, store: MetadataStore, tmp_path: Path) -> None:
    first = one(run(make()))
    (tmp_path / "root").rename(tmp_path / "not mounted")
    one(run(make(), run_id="meanwhile"))
    assert store.artifact(first.id or 0).state is ArtifactState.LIVE  # type: ignore[union-attr]


def test_an_output_that_was_emptied_is_missing(make: Make, store: MetadataStore) -> None:
    first = one(run(make()))
    for path in Path(first.uri).iterdir():
        path.unlink()
    assert one(run(make(), run_id="second")).id != first.id
    assert store.artifact(first.id or 0).state is ArtifactState.MISSING  # type: ignore[union-attr]


def test_an_output_that_was_changed_at_equal_size_is_missing(make: Make, store: MetadataStore) -> None:
    first = one(run(make()))
    file = Path(first.uri, "1.txt")
    before = file.stat()
    file.write_text("HELLO")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert one(run(make(), run_id="later")).id != first.id
    assert store.artifact(first.id).state is ArtifactState.MISSING  # type: ignore[arg-type, union-attr]


def test_an_output_below_another_root_is_read_before_it_is_used(make: Make, database: str, tmp_path: Path) -> None:
    first = one(run(make()))
    elsewhere = component("Make", database, str(tmp_path / "another"))
    assert one(run(elsewhere, run_id="later")).id == first.id
    Connection(database).run("UPDATE mlpipe.artifact SET files_digest = 'what was published', digest = 'the same'")
    assert one(run(make(), run_id="here")).id == first.id  # nobody has written to the files since
    assert one(run(elsewhere, run_id="there")).id != first.id


def test_a_shut_gate_stays_shut_on_a_hit(make: Make, store: MetadataStore) -> None:
    for run_id in ("a", "b"):
        with pytest.raises(AnomaliesFoundError):
            run(make(shut=True), run_id=run_id)
    assert states(store) == [ExecutionState.COMPLETE, ExecutionState.CACHED]


def test_a_retry_is_a_new_execution_and_a_zombie_cannot_publish(make: Make, store: MetadataStore) -> None:
    operator = make()
    decision_run = component_run(operator)
    zombie = store.start_execution(driver.decide(store, decision_run).start)
    published = one(run(operator, try_number=2))
    with pytest.raises(LostClaimError, match="superseded by try 2"):
        store.publish(zombie, {})
    assert states(store) == [ExecutionState.FAILED, ExecutionState.COMPLETE]
    assert store.artifact(published.id or 0) == published


def test_an_equal_result_that_the_component_refuses_is_made_again(make: Make, store: MetadataStore) -> None:
    run(make())
    operator = make()
    operator.cached_outputs_problem = lambda outputs: "it is not served any more"
    run(operator, run_id="second")
    assert states(store) == [ExecutionState.COMPLETE] * 2


def start_elsewhere(make: Make, store: MetadataStore) -> Claim:
    """What `make` makes by default is being made in another run."""
    return store.start_execution(driver.decide(store, component_run(make(), run_id="elsewhere")).start)


def test_while_another_makes_the_same_a_task_waits_and_then_hits(make: Make, store: MetadataStore) -> None:
    other = start_elsewhere(make, store)
    with pytest.raises(TaskDeferred) as deferred:
        run(make())
    assert deferred.value.method_name == "execute_again"
    assert deferred.value.trigger.serialize() == (
        "airflow_provider_mlpipe.triggers.ExecutionEndedTrigger",
        {"execution_id": other.execution_id, "metadata_conn_id": "mlpipe_default"},
    )
    store.publish(other, {})
    run(make())
    assert states(store) == [ExecutionState.COMPLETE, ExecutionState.CACHED]


@pytest.mark.parametrize("cache", [False, "refresh"])
def test_who_does_not_look_does_not_wait(make: Make, store: MetadataStore, cache: Any) -> None:
    start_elsewhere(make, store)
    run(make(cache=cache))
    assert states(store) == [ExecutionState.RUNNING, ExecutionState.COMPLETE]


def test_for_a_dead_worker_nobody_waits(make: Make, store: MetadataStore, database: str) -> None:
    start_elsewhere(make, store)
    Connection(database).run("UPDATE mlpipe.execution SET heartbeat_at = heartbeat_at - interval '61 seconds'")
    run(make())
    assert states(store) == [ExecutionState.ABANDONED, ExecutionState.COMPLETE]


def test_what_is_published_between_the_look_and_the_claim_is_hit(
    make: Make, store: MetadataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    (barriers / "driver.before_start.hold").touch()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(barriers))
    worker = threading.Thread(target=run, args=[make()])
    worker.start()
    wait_for(lambda: list(barriers.glob("driver.before_start@*")))
    monkeypatch.delenv("MLPIPE_BARRIERS")
    made = one(run(make(), run_id="elsewhere"))
    (barriers / "driver.before_start.hold").unlink()
    worker.join()
    assert sorted(states(store)) == [ExecutionState.CACHED, ExecutionState.COMPLETE]
    assert store.run_outputs(named_run("pipeline", "run"), component_id="Make", key="examples") == [made]


def test_log_lines_arrive_as_they_are_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_log: TaskLog
) -> None:
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    held = barriers / "said.one.hold"
    held.touch()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(barriers))
    worker = threading.Thread(target=run, args=[make(act="talk")])
    worker.start()
    wait_for(lambda: "one  " in task_log.text)
    assert "two  " not in task_log.text  # the executor is held right after it said "one"
    held.unlink()
    worker.join()
    assert "two  " in task_log.text
    assert "no newline, \\xff\\xfe bytes" in task_log.text


def test_what_an_executor_leaves_running_ends_with_it(make: Make, task_log: TaskLog) -> None:
    run(make(act="leave_child"))
    (pid,) = re.findall(r"grandchild (\d+)", task_log.text)
    wait_for(lambda: not alive(int(pid)))


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (signal.SIGTERM, ExecutorDiedError, r"Make was killed: Airflow ended the task: it was marked failed, success"),
        (signal.SIGALRM, AirflowTaskTimeout, r"^AirflowTaskTimeout: the task timed out after 1:00:00"),
    ],
)
def test_an_execution_that_airflow_ends_says_so(
    make: Make,
    store: MetadataStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    error: type[BaseException],
    words: str,
) -> None:
    """Airflow has the task's process handle both signals, as it is done here."""
    barriers, hour = tmp_path / "barriers", timedelta(hours=1)
    barriers.mkdir()
    (barriers / "executor.inside.0.hold").touch()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(barriers))
    operator = make(execution_timeout=hour)

    def end() -> None:
        wait_for(lambda: list(barriers.glob("executor.inside.0@*")))
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    before = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(error), timeout(hour.total_seconds()):
        run(operator)
    ending.join()
    signal.signal(signal.SIGTERM, before)
    (execution,) = store.executions().items
    assert execution.state is ExecutionState.FAILED
    assert re.search(words, execution.error or "")
    (arrived,) = barriers.glob("executor.inside.0@*")
    wait_for(lambda: not alive(int(arrived.name.rpartition("@")[2])))


def test_user_code_that_was_not_hashed_makes_the_result_not_reusable(
    make: Make, store: MetadataStore, tmp_path: Path, task_log: TaskLog
) -> None:
    hidden = tmp_path / "hidden_words.py"
    hidden.write_text("TEXT = 'first'")
    module = tmp_path / "made_of_hidden_words.py"
    module.write_text("import importlib\ndef make_text(): return importlib.import_module('hidden_words').TEXT")
    run(make(module_file=str(module)))
    hidden.write_text("TEXT = 'other'")
    again = one(run(make(module_file=str(module)), run_id="second"))
    assert Path(again.uri, "0.txt").read_text() == "other"
    execution = store.executions().items[0]
    assert "hidden_words.py" in str(execution.not_reusable_reason)
    assert "Make: runs, the earlier result is not reusable: imported while it ran" in task_log.text


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "does not exist"), ("x = (", "line 1"), ("x = 1", r"no function make_text\(\)"), ("1 / 0", "ZeroDivision")],
)
def test_a_user_module_that_cannot_be_used_is_permanent(
    make: Make, tmp_path: Path, text: str | None, words: str
) -> None:
    module = tmp_path / "user_module_that_fails.py"
    if text is not None:
        module.write_text(text)
    with pytest.raises(UserCodeError, match=words) as error:
        run(make(module_file=str(module)))
    assert str(module) in str(error.value)


def test_a_path_object_is_as_good_as_its_text(make: Make, tmp_path: Path) -> None:
    module = tmp_path / "module_given_as_a_path.py"
    module.write_text("def make_text(): return 'from a path'")
    assert Path(one(run(make(module_file=module))).uri, "0.txt").read_text() == "from a path"


def test_a_root_that_cannot_be_written_is_named(database: str, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(InvalidInputError, match=rf"pipeline_root {blocked}/root cannot be written"):
        run(component("Make", database, str(blocked / "root")))


def test_a_link_out_of_the_root_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "Make").mkdir(parents=True)
    (tmp_path / "root" / "Make" / "examples").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInputError, match=r"leads to .*/elsewhere/1, out of the pipeline_root"):
        run(make())
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("task_id", ["..", "."])
def test_a_task_id_that_leads_elsewhere_is_refused(task_id: str, database: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"the task_id '\.+' cannot be the name of a folder"):
        component("Make", database, str(tmp_path / "root"), task_id=task_id)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
