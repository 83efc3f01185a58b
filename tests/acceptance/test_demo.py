"""The demo, on a pipeline of small components: the first time, when a gate is shut, and the second time."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlpipe.local.demo import run_demo

pytestmark = pytest.mark.airflow

PARTS = Path(__file__).parent.parent / "parts"
DAG_FILE = """
import parts
from airflow_provider_mlpipe.pipeline.dag_factory import create_dag

make = parts.MakeOperator(files=1234)
dag = create_dag("small", [make, parts.UseOperator(examples=make.outputs["examples"]), {more}])
print("what a DAG file prints is no answer")
"""
OWN_PROBLEMS = """
import parts
from airflow_provider_mlpipe.pipeline.dag_factory import create_dag

texts = {
    "Variable": "{{ var.value.nope }}",
    "Connection": "{{ conn.nope.host }}",
    "Xcom": "{{ ti.xcom_pull('other') }}",
    "Fine": "fine",
}
dag = create_dag("problems", [parts.MakeOperator(task_id=name, text=text) for name, text in texts.items()])
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mlpipe-demo-"))
    folder.chmod(0o755)  # Postgres' user must get through
    (folder / "dags").mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _parts_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PARTS))


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def write_dag(root: Path, *more: str) -> None:
    (root / "dags" / "small.py").write_text(DAG_FILE.format(more=", ".join(more)))


def test_a_first_run_runs_everything_and_a_shut_gate_fails_the_demo(root: Path) -> None:
    shut = 'shut := parts.MakeOperator(task_id="Shut", text="other", shut=True)'
    write_dag(root, shut, 'parts.UseOperator(task_id="Below", examples=shut.outputs["examples"])')
    out = io.StringIO()
    status = run_demo(dag_id="small", dags_folder=root / "dags", state_dir=root / "state", once=True, out=out)
    shown = out.getvalue()
    assert status == 1, shown
    lines = [line.split() for line in shown.splitlines()]
    made = next(line for line in lines if line[:3] == ["Make", "done", "run"])
    assert made[-2:] == ["train", "1,234"]
    assert any(line[:3] == ["Use", "done", "run"] for line in lines)
    assert "The run ended: failed. 0 of the 3 components reached are cached. Not reached: Below." in shown
    assert "Shut failed:" in shown
    assert "the gate is shut" in shown
    assert "user admin, password" in shown


def test_a_second_run_is_cached_and_stays_up_until_ctrl_c(root: Path) -> None:
    write_dag(root)
    # A shell starts what runs in its background, perhaps these tests, deaf to SIGINT, and children inherit that.
    heed_ctrl_c = ["env", "--default-signal=INT"]
    command = [*heed_ctrl_c, sys.executable, "-m", "airflow_provider_mlpipe.local.demo", "--dag-id=small"]
    folders = [f"--dags-folder={root / 'dags'}", f"--state-dir={root / 'state'}"]
    with subprocess.Popen([*command, *folders], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = ""
        for line in process.stdout:
            shown += line
            if "Ctrl-C" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0, shown
    assert "The run ended: success. Every component cached (2)." in shown


def test_afterwards_commands_find_what_the_demo_made_and_print_their_answer_alone(root: Path) -> None:
    write_dag(root)
    (root / "dags" / "problems.py").write_text(OWN_PROBLEMS)
    command = [sys.executable, "-m", "airflow_provider_mlpipe.local.look", f"--dags-folder={root / 'dags'}"]
    with subprocess.Popen([*command, f"--state-dir={root / 'state'}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        source = next(line for line in process.stdout if line.startswith("source "))

        def airflow(arguments: str) -> tuple[int, str]:
            shell = subprocess.run(
                ["bash", "-c", f"{source}exec airflow mlpipe {arguments}"],
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PARTS)},
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            return shell.returncode, shell.stdout

        assert {row["component"] for row in json.loads(airflow("runs --output json")[1])} == {"Make", "Use", "Shut"}
        status, answer = airflow("plan small --output json")
        assert (status, [row["verdict"] for row in json.loads(answer)]) == (0, ["hit", "hit"])
        status, answer = airflow("plan problems --output json")
        found = {row["component"]: (row["verdict"], row["reason"]) for row in json.loads(answer)}
        process.terminate()
        assert "Stopped." in process.stdout.read()
    assert status == 2
    assert found["Fine"] == ("run", "first run")
    for name in ("Variable", "Connection"):
        assert found[name][0] == "fails"
        assert "nope" in found[name][1]
    assert found["Xcom"] == ("unknown", "its text is known only in its task: {{ ti.xcom_pull('other') }}")
    assert process.returncode == 0
