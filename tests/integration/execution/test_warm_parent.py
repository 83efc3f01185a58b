"""The warm parent with real processes. What it imports here is light, which makes no difference to how it lives."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from light_parent import light_parent, start, state, stopped_afterwards
from processes import is_alive, parent_of
from stamps import without_stamps
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import ExecutorDiedError
from airflow_provider_mlpipe.execution import linux, warm
from airflow_provider_mlpipe.execution.launcher import Launcher
from airflow_provider_mlpipe.execution.warm import ColdError, ParentState, WarmParent
from airflow_provider_mlpipe.forms import to_messages
from airflow_provider_mlpipe.proto import mlpipe_pb2 as pb
from airflow_provider_mlpipe.proto.values import to_map

pytestmark = pytest.mark.skipif(not linux.IS_LINUX, reason="a warm parent needs Linux")


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent may take longer to listen, and to say how it is, than a task would wait for it."""
    monkeypatch.setattr(warm, "_UNTIL_IT_LISTENS", PATIENCE)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long for a parent that hangs."""
    monkeypatch.setattr(warm, "_UNTIL_IT_LISTENS", 0.2)


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[WarmParent]:
    """One that nobody has started; whatever is started in its folder is stopped afterwards."""
    with stopped_afterwards(light_parent(tmp_path / "warm")) as parent:
        yield parent


@pytest.fixture
def parent(cold: WarmParent) -> WarmParent:
    """One that is ready."""
    start(cold)
    return cold


def printed(parent: WarmParent) -> str:
    return parent.log.read_text()


class Execution:
    """An executor of parts_executors, its output and its task's log."""

    def __init__(self, folder: Path, parent: WarmParent | None) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._parent = parent
        self._launcher = Launcher()

    def run(self, **parameters: Any) -> pb.ExecutorResult:
        self.folder.mkdir()
        given = {"text": "a", "files": 1, "act": None, "shut": False, "module_file": None, "words": []} | parameters
        invocation = pb.ExecutorInvocation(
            executor="parts_executors:make",
            component_id="Make",
            execution_id=1,
            parameters=to_map(given),
            outputs={"examples": to_messages([Examples(uri=str(self.folder))])},
        )
        return self._launcher.launch(invocation, log=self.lines.append, warm=self._parent)

    def does(self, statements: str) -> pb.ExecutorResult:
        """Runs the statements as user code."""
        module = self.folder.with_suffix(".py")
        lines = "".join(f"    {line}\n" for line in statements.splitlines())
        module.write_text(f"import json, os, random, sys, tempfile\ndef make_text():\n{lines}    return 'done'\n")
        return self.run(module_file=str(module))

    def tells(self, expression: str) -> Any:
        """What the expression is in user code."""
        self.does(f"return json.dumps({expression})")
        return json.loads(self.text)

    def dies(self, statements: str) -> str:
        """How the task reports what the statements do."""
        with pytest.raises(ExecutorDiedError) as died:
            self.does(statements)
        return str(died.value)

    def kill(self) -> None:
        self._launcher.kill("a test wants it")

    @property
    def is_waiting(self) -> bool:
        return self._launcher._kept is not None

    @property
    def text(self) -> str:
        return (self.folder / "0.txt").read_text()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def was_forked(self) -> bool:
        return "fresh process" not in self.log


Make = Callable[..., Execution]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Executions that use the given parent, or none."""
    count = iter(range(1000))
    return lambda parent=None: Execution(tmp_path / f"execution_{next(count)}", parent)


@pytest.fixture
def barriers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "barriers"
    folder.mkdir()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(folder))
    return folder


@contextlib.contextmanager
def held(barriers: Path, name: str, execution: Execution, **parameters: Any) -> Iterator[int]:
    """The executor's pid while it is held at the barrier; at the end of the block it goes on, and its task ends."""
    hold = barriers / f"{name}.hold"
    hold.touch()
    task = threading.Thread(target=execution.run, kwargs=parameters)
    task.start()
    try:
        wait_for(lambda: list(barriers.glob(f"{name}@*")))
        (reached,) = barriers.glob(f"{name}@*")
        yield int(reached.name.rpartition("@")[2])
    finally:
        hold.unlink(missing_ok=True)
        task.join(PATIENCE)
    assert not task.is_alive()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed modules on the import path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


# ---- what a fork is


def test_a_fork_does_what_a_fresh_process_does(make: Make, parent: WarmParent) -> None:
    forked, fresh = make(parent), make()
    results = [without_stamps(one.run(words=["one"])) for one in (forked, fresh)]
    assert results[0] == results[1]
    assert forked.was_forked
    assert forked.lines == fresh.lines == ["making 1 files"]
    assert forked.text == fresh.text


ALIKE = [
    "sorted(os.environ.items())",
    "sys.path",
    "os.getcwd()",
    "os.umask(0o22)",
    "[os.readlink('/proc/self/fd/0'), os.readlink('/proc/self/fd/1')[:5], os.path.sameopenfile(1, 2)]",
    "len(os.listdir('/proc/self/fd'))",
    "os.getsid(0) == os.getpid() == os.getpgid(0)",
    "[str(__import__('signal').getsignal(number)) for number in range(1, 32)]",
    "sorted(__import__('signal').pthread_sigmask(0, []))",
    "[type(each).__name__ for each in __import__('logging').getLogger().handlers]",
    "[sys.flags.safe_path, sys.stdout.write_through, sys.stdout.encoding, sys.getfilesystemencoding()]",
    "__import__('threading').active_count()",
]


def test_a_fork_is_as_a_fresh_process_is(
    make: Make, parent: WarmParent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundle").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "bundle"))
    forked, fresh = (
        json.loads(re.sub(r"execution_\d+|executor-\w+", "own", json.dumps(made.tells(f"[{', '.join(ALIKE)}]"))))
        for made in (make(parent), make())
    )
    for expression, one, other in zip(ALIKE, forked, fresh, strict=True):
        assert one == other, expression
    assert str(tmp_path / "bundle") in forked[1]


def test_each_task_has_its_own_environment_and_folders(
    make: Make, parent: WarmParent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("MLPIPE_TEST_OWN", name)
        monkeypatch.chdir(tmp_path / name)
        execution = make(parent)
        told = execution.tells("[os.environ['MLPIPE_TEST_OWN'], os.getcwd(), tempfile.gettempdir()]")
        assert execution.was_forked
        assert told[0] == name
        temporary |= {*told[1:]}
    monkeypatch.delenv("MLPIPE_TEST_OWN")
    assert make(parent).tells("os.environ.get('MLPIPE_TEST_OWN')") is None
    assert len(temporary) == 4
    assert not [folder for folder in temporary if Path(folder).exists()]


def test_a_folder_that_is_gone_is_no_hindrance(
    make: Make, parent: WarmParent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    execution = make(parent)
    execution.run()
    assert execution.was_forked


def test_forks_draw_different_random_numbers(make: Make, parent: WarmParent) -> None:
    assert make(parent).tells("random.random()") != make(parent).tells("random.random()")


def test_the_parent_never_imports_user_code(make: Make, parent: WarmParent, tmp_path: Path) -> None:
    module = tmp_path / "edited_between_runs.py"
    for text in ("first", "other"):
        module.write_text(f"def make_text(): return {text!r}")
        execution = make(parent)
        result = execution.run(module_file=str(module))
        assert execution.was_forked
        assert execution.text == text
        assert str(module) in result.user_files


def test_a_parent_that_would_import_user_code_does_not_serve(cold: WarmParent, tmp_path: Path, installed: Path) -> None:
    (tmp_path / "users_own.py").touch()
    (installed / "users_own_linked.py").symlink_to(tmp_path / "users_own.py")
    other = replace(cold, preload=("users_own_linked",))
    other.start()
    words = f"user code was imported, which forks must not share: {tmp_path}/users_own.py"
    wait_for(lambda: words in printed(other))
    wait_for(lambda: state(other).state == "gone")


def test_what_is_read_once_must_be_the_same(make: Make, parent: WarmParent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    execution = make(parent)
    assert execution.tells("os.environ['OMP_NUM_THREADS']") == "3"
    why = "the parent was started with other values than this task for: OMP_NUM_THREADS"
    assert f"fresh process: the warm parent started no executor: {why}" in execution.log
    monkeypatch.delenv("OMP_NUM_THREADS")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        execution = make(parent)
        assert execution.tells("__import__('resource').getrlimit(7)[0]") == soft - 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "with other values than this task for: RLIMIT_NOFILE, RLIMIT_OFILE" in execution.log


def test_a_module_that_a_library_would_hide_is_found(make: Make, parent: WarmParent, tmp_path: Path) -> None:
    (tmp_path / "packaging.py").write_text("WORD = 'the own one'")
    execution = make(parent)
    assert execution.tells("__import__('packaging').WORD") == "the own one"
    assert f"the parent has imported a library with the same name as {tmp_path}/packaging.py" in execution.log


# ---- executors that behave badly


WAYS_TO_DIE = {
    "killed": "os.kill(os.getpid(), 9)",
    "segfault": "print('last words')\n__import__('ctypes').string_at(0)",
    "exit": "os._exit(3)",
    "exit as if all were well": "os._exit(0)",
    "abort": "os.abort()",
    "kills its group": "os.killpg(0, 15)",
}


@pytest.mark.parametrize("statements", WAYS_TO_DIE.values(), ids=WAYS_TO_DIE)
def test_a_death_is_reported_as_a_fresh_process_is(make: Make, parent: WarmParent, statements: str) -> None:
    forked, fresh = make(parent), make()
    assert forked.dies(statements) == fresh.dies(statements)
    assert forked.was_forked
    assert forked.lines == fresh.lines


def test_who_kills_its_keeper_dies(make: Make, parent: WarmParent) -> None:
    for execution in (make(parent), make()):
        statements = "print(os.getpid(), flush=True)\nos.kill(os.getppid(), 9)\n__import__('time').sleep(60)"
        assert "ended without a result, killed" in execution.dies(statements)
        wait_for(lambda: not is_alive(int(execution.lines[-1])))  # noqa: B023


WAYS_TO_LEAVE_SOMETHING = {
    "threads": "import threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()",
    "files": "sys.modules['leak'] = [open(os.devnull) for _ in range(200)]",
    "memory": "sys.modules['leak'] = bytearray(300_000_000)",
    "at exit": "import atexit\natexit.register(lambda: os._exit(9))",
    "closed output": "sys.stdout.close()\nsys.stderr.close()",
    "no files at all": "os.closerange(0, 1000)",
    "a child": "import subprocess\nsubprocess.Popen(['sleep', '600'])",
    "a fork that goes on": "if os.fork() == 0:\n    __import__('signal').pause()",
    "other directions": "os.chdir('/'); os.umask(0o777); os.environ.clear(); sys.path.clear(); sys.argv.clear()",
    "ignored signals": "import signal\nfor number in (1, 2, 15, 17): signal.signal(number, signal.SIG_IGN)",
}


@pytest.mark.parametrize("statements", WAYS_TO_LEAVE_SOMETHING.values(), ids=WAYS_TO_LEAVE_SOMETHING)
def test_what_an_executor_leaves_is_gone(make: Make, parent: WarmParent, statements: str) -> None:
    before = what_it_holds(parent)
    for _ in range(2):
        execution = make(parent)
        note = f"open({str(execution.folder / 'session')!r}, 'w').write(str(os.getsid(0)))"
        execution.does(f"{note}\n{statements}")
        assert execution.was_forked
        assert execution.text == "done"
        session = int((execution.folder / "session").read_text())
        wait_for(lambda: not in_session(session))  # noqa: B023
    assert make(parent).tells("os.environ['PATH']") == os.environ["PATH"]
    assert what_it_holds(parent) == before


WAYS_TO_LEAVE_THE_GROUP = {
    "a session of its own": "import subprocess\nleft = subprocess.Popen(['sleep', '600'], start_new_session=True).pid",
    "a group of its own": "left = os.fork()\nif not left:\n    os.setpgid(0, 0)\n    __import__('signal').pause()",
    "a daemon": """
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, b"%d" % os.getpid())
        __import__("signal").pause()
    os._exit(0)
left = int(os.read(reading, 20))
""",
}


@pytest.mark.parametrize("statements", WAYS_TO_LEAVE_THE_GROUP.values(), ids=WAYS_TO_LEAVE_THE_GROUP)
def test_what_leaves_its_group_is_gone_too(make: Make, parent: WarmParent, statements: str) -> None:
    for execution in (make(parent), make()):
        note = execution.folder / "left"
        execution.does(f"{statements}\nopen({str(note)!r}, 'w').write(str(left))")
        assert execution.text == "done"
        assert not is_alive(int(note.read_text()))


def what_it_holds(parent: WarmParent) -> tuple[list[str], int]:
    """The parent's sockets and pipes, and how many threads it has."""
    process = Path(f"/proc/{state(parent).pid}")
    wait_for(lambda: len(channels_of(process)) == 1)  # the one by which it told its state is closed
    return channels_of(process), len(list((process / "task").iterdir()))


def channels_of(process: Path) -> list[str]:
    found = []
    for file in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(file))
    return sorted(name for name in found if not name.startswith("/"))


def in_session(session: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(process.name))
    return found


def test_who_writes_on_from_another_session_holds_nobody_up(make: Make, parent: WarmParent) -> None:
    for execution in (make(parent), make()):
        statements = "if os.fork() == 0:\n    os.setsid()\n    while True: os.write(1, b'more ' * 1000 + b'\\n')"
        execution.does(statements)
        assert execution.text == "done"


def test_fifty_at_once(make: Make, parent: WarmParent) -> None:
    executions = [make(parent) for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda execution: execution.run(text=execution.folder.name), executions))
    assert [execution.text for execution in executions] == [execution.folder.name for execution in executions]
    assert all(execution.was_forked for execution in executions)
    wait_for(lambda: state(parent).forked == 50)  # a keeper that has told all may not have ended yet


# ---- a parent that behaves badly


def test_the_parent_is_killed_during_a_run(make: Make, parent: WarmParent, barriers: Path) -> None:
    execution = make(parent)
    with held(barriers, "executor.inside.0", execution):
        os.kill(state(parent).pid, signal.SIGKILL)
        wait_for(lambda: state(parent).state == "gone")
    assert execution.was_forked
    assert execution.text == "a"
    following = make(parent)
    following.run()
    assert "fresh process: there was no warm parent; one is being started" in following.log
    wait_for(lambda: state(parent).state == "ready")


@pytest.mark.usefixtures("hurry")
def test_the_parent_hangs(make: Make, parent: WarmParent) -> None:
    """The first to notice takes its socket, so that nobody else has to; when it wakes up, it leaves."""
    impatient = replace(parent, patience=0.3)
    pid = state(parent).pid
    os.kill(pid, signal.SIGSTOP)
    first, second = make(impatient), make(impatient)
    first.run()
    assert "the warm parent started no executor: it did not answer within 0 seconds" in first.log
    second.run()
    assert "the warm parent is about to end, or hangs" in second.log
    assert first.text == second.text == "a"
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not is_alive(pid))
    assert "ends: its socket is gone" in printed(parent)


def test_the_imports_take_too_long(make: Make, cold: WarmParent, installed: Path) -> None:
    (installed / "slow_to_import.py").write_text("import signal\nsignal.pause()")
    other = replace(cold, preload=("slow_to_import",), patience=0.3)
    assert other.start()
    assert not other.start()
    wait_for(lambda: state(other).state == "importing")
    execution = make(other)
    execution.run()
    assert "did not answer within" in execution.log
    assert execution.text == "a"


def test_the_imports_fail(make: Make, cold: WarmParent) -> None:
    other = replace(cold, preload=("there_is_no_such_module",))
    assert other.start()
    wait_for(lambda: "No module named 'there_is_no_such_module'" in printed(other))
    wait_for(lambda: state(other).state == "gone")
    execution = make(other)
    execution.run()
    words = f"fresh process: the last warm parent died during its imports; its log {other.log} says why"
    assert words in execution.log


@pytest.fixture
def gate(installed: Path) -> Path:
    """The import of `waits_for_a_gate` lasts until somebody writes here."""
    path = installed / "gate"
    os.mkfifo(path)
    (installed / "waits_for_a_gate.py").write_text(f"open({str(path)!r}).read()")
    return path


def test_a_task_that_waits_for_imports_gets_its_fork(make: Make, cold: WarmParent, gate: Path) -> None:
    other = replace(cold, preload=("waits_for_a_gate",))
    other.start()
    executions = [make(other) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(execution.run) for execution in executions]
        gate.write_text("go")
        for result in results:
            result.result()
    assert all(execution.was_forked for execution in executions)


def test_a_task_that_is_killed_while_it_waits_starts_nothing(make: Make, cold: WarmParent, installed: Path) -> None:
    (installed / "slow_to_import.py").write_text("import signal\nsignal.pause()")
    other = replace(cold, preload=("slow_to_import",))
    other.start()
    execution = make(other)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(execution.run)
        wait_for(lambda: execution.is_waiting or result.done())
        execution.kill()
        with pytest.raises(ExecutorDiedError, match="was killed: a test wants it"):
            result.result()
    assert not execution.lines


@pytest.mark.parametrize("warm_start", [True, False])
def test_a_task_that_is_killed_before_there_is_an_executor_runs_none(
    make: Make, parent: WarmParent, warm_start: bool
) -> None:
    execution = make(parent if warm_start else None)
    execution.kill()
    with pytest.raises(ExecutorDiedError, match="was killed: a test wants it"):
        execution.run()
    assert not (execution.folder / "0.txt").exists()


def test_a_folder_that_others_may_enter_is_not_used(make: Make, parent: WarmParent) -> None:
    parent.folder.chmod(0o755)
    execution = make(parent)
    execution.run()
    assert f"cannot be reached: only this user may have access to {parent.folder}" in execution.log
    parent.folder.chmod(0o700)


# ---- how it starts and leaves


def test_of_many_starters_one_starts_it(cold: WarmParent) -> None:
    starters = [replace(cold) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(WarmParent.start, starters)) == [False] * 15 + [True]
    wait_for(lambda: state(cold).state == "ready")
    only_one_is_left(cold)


def test_many_tasks_without_a_parent_start_one(make: Make, cold: WarmParent) -> None:
    executions = [make(cold) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Execution.run, executions))
    assert [execution.was_forked for execution in executions].count(False) == 1
    only_one_is_left(cold)


def only_one_is_left(parent: WarmParent) -> None:
    """A fork of it that has just answered may not have ended yet."""
    pid = state(parent).pid
    wait_for(lambda: processes_with(str(parent.folder)) == [pid])


def processes_with(text: str) -> list[int]:
    """Those that are called with the text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text in (process / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(process.name))
    return found


PARTS = Path(__file__).parents[2] / "parts"
STARTER = """
import os, sys
from pathlib import Path
os.set_inheritable(int(sys.argv[3]), True)
sys.path.append(sys.argv[1])
from light_parent import light_parent
parent = light_parent(Path(sys.argv[2]))
print(parent.start(), os.getpid(), flush=True)
os.kill(0, 9)
"""


def test_its_starter_is_free_of_it(cold: WarmParent) -> None:
    """It holds none of its starter's files, whose end somebody may wait for, and outlives its starter's group."""
    ours, theirs = socket.socketpair()
    arguments = [str(PARTS), str(cold.folder), str(theirs.fileno())]
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
    theirs.close()
    output, _ = starter.communicate(timeout=PATIENCE)
    assert output.startswith(b"True"), output.decode()
    ours.settimeout(PATIENCE)
    assert ours.recv(1) == b""
    ours.close()
    wait_for(lambda: [each.state for each in in_folder(cold)] == ["ready"])
    assert parent_of(in_folder(cold)[0].pid) != starter.pid


def in_folder(parent: WarmParent) -> list[ParentState]:
    """Whoever's: a starter with another sys.path than this process has another parent."""
    return warm.parents(parent.home, parent.folder)


def test_it_leaves_when_nobody_needs_it(make: Make, cold: WarmParent, barriers: Path, gate: Path) -> None:
    brief = replace(cold, idle_seconds=0.3, preload=("waits_for_a_gate",))
    brief.start()
    execution = make(brief)

    def open_the_gate() -> None:
        wait_for(lambda: execution.is_waiting)  # so that somebody needs it, however late this test is
        gate.write_text("go")

    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(open_the_gate)
        with held(barriers, "executor.inside.0", execution):
            pid = state(brief).pid
            assert not ends(pid, within=1)  # an executor is work
        opened.result()
    wait_for(lambda: not is_alive(pid))
    assert "ends: no executor was needed for 0 seconds" in printed(brief)
    assert execution.text == "a"


def ends(pid: int, within: float) -> bool:
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not is_alive(pid), within)
        return True
    return False


@pytest.mark.parametrize("change", ["installed", "removed", "upgraded"])
def test_it_leaves_when_what_is_installed_changes(cold: WarmParent, installed: Path, change: str) -> None:
    library = installed / "library-1.0.dist-info"
    library.mkdir()
    before = replace(cold)
    start(before)
    pid = state(before).pid
    if change == "installed":
        (installed / "other-1.0.dist-info").mkdir()
    elif change == "removed":
        library.rmdir()
    else:
        library.rename(installed / "library-2.0.dist-info")
    wait_for(lambda: not is_alive(pid))
    assert "ends: the installed packages have changed" in printed(before)
    after = replace(cold)
    assert after.key != before.key
    start(after)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_it_leaves_without_its_socket(parent: WarmParent, is_replaced: bool) -> None:
    path, pid = parent.log.with_suffix(".sock"), state(parent).pid
    path.unlink()
    if is_replaced:
        path.write_text("not its own")
    wait_for(lambda: not is_alive(pid))
    assert "ends: its socket is gone" in printed(parent)
    assert path.exists() == is_replaced
    start(parent)  # whatever lies there


def test_it_leaves_when_memory_is_short(cold: WarmParent, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = replace(cold, least_free=1.0)
    with pytest.raises(ColdError, match="too little memory is free"):
        greedy.start()
    monkeypatch.setattr(linux, "free_memory", lambda: 1.0)  # of the starter; the parent sees the truth
    assert greedy.start()
    wait_for(lambda: "ends: too little memory is free" in printed(greedy))
    wait_for(lambda: state(greedy).state == "gone")


def test_stopped_it_ends_and_its_executors_go_on(make: Make, parent: WarmParent, barriers: Path) -> None:
    execution = make(parent)
    with held(barriers, "executor.inside.0", execution):
        wait_for(lambda: state(parent).running == 1)  # the fork that said "ready" is one, until it has ended
        (stopped,) = warm.stop(parent.home, parent.folder)
        wait_for(lambda: not is_alive(stopped.pid))
        assert warm.parents(parent.home, parent.folder) == []
    assert execution.text == "a"
    start(parent)


@pytest.mark.usefixtures("hurry")
def test_one_that_hangs_is_stopped_too(parent: WarmParent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_GRACE", 0.2)
    pid = state(parent).pid
    os.kill(pid, signal.SIGSTOP)
    assert state(parent).state == "does not answer"
    warm.stop(parent.home, parent.folder)
    wait_for(lambda: not is_alive(pid))


def test_each_airflow_has_its_own(parent: WarmParent) -> None:
    other = replace(parent, home="another")
    assert other.key != parent.key
    assert warm.parents("another", parent.folder) == []
    assert warm.stop("another", parent.folder) == []
    assert state(parent).state == "ready"


# ---- who may use it


def as_nobody(act: Callable[[], None]) -> int:
    """The exit code of a process of another user that acts: 0, or 1 when it raises."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_nothing(parent: WarmParent, open_tmp_path: Path) -> None:
    place = open_tmp_path / "warm"
    mine = replace(parent, folder=place)
    start(mine)
    path = mine.log.with_suffix(".sock")

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            assert connection.recv(1) == b""

    assert as_nobody(ask) == 1  # may not enter the folder
    place.chmod(0o755)
    assert as_nobody(ask) == 1  # nor open the socket
    path.chmod(0o777)
    assert as_nobody(ask) == 0  # nor is answered
    place.chmod(0o700)
    assert "of user 65534" in printed(mine)
    warm.stop(mine.home, place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_not_used(make: Make, cold: WarmParent) -> None:
    cold.folder.mkdir(mode=0o700)
    os.chown(cold.folder, 65534, 65534)
    execution = make(cold)
    execution.run()
    assert "only this user may have access to" in execution.log
    assert execution.text == "a"
    os.chown(cold.folder, 0, 0)


def test_it_knows_no_secrets_of_the_task_that_started_it(
    make: Make, cold: WarmParent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SECRET", "a secret")
    start(cold)
    assert b"a secret" not in Path(f"/proc/{state(cold).pid}/environ").read_bytes()
    assert make(cold).tells("os.environ['AIRFLOW_CONN_SECRET']") == "a secret"


def test_who_says_nothing_or_nonsense_holds_nobody_up(make: Make, parent: WarmParent) -> None:
    path = parent.log.with_suffix(".sock")
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as nonsense:
        for connection in (silent, nonsense):
            connection.connect(str(path))
        nonsense.sendall(b"Fcos\nsystem\n(S'true'\ntR.\n")
        execution = make(parent)
        execution.run()
        assert execution.was_forked
        assert nonsense.recv(1) == b""


@pytest.mark.parametrize("said", [b"hello", b"[1]", b'{"pid": "x"}', b'"ended"'])
def test_who_listens_and_says_nonsense_holds_nobody_up(make: Make, cold: WarmParent, said: bytes) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(said + b"\n")
            while connection.recv(1 << 16):  # else what is sent there would be lost with what was said
                pass

    cold.folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        with warm.private_folder(cold.folder) as folder:
            listener.bind(str(folder / f"{cold.key}.sock"))
        listener.listen()
        answered = pool.submit(answer, listener)
        execution = make(cold)
        execution.run()
        answered.result(PATIENCE)
    assert execution.text == "a"
    assert f"is not a keeper; it sent {said!r}" in execution.log


@pytest.mark.parametrize("state", ["[1]", "7", "{", ""])
def test_a_state_that_makes_no_sense_is_none(cold: WarmParent, state: str) -> None:
    cold.folder.mkdir(mode=0o700)
    cold.log.with_suffix(".lock").write_text(state)
    assert cold.start()
    wait_for(lambda: [each.state for each in in_folder(cold)] == ["ready"])
