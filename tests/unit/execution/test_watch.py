from __future__ import annotations

import json
from pathlib import Path

import pytest
from code_files import printed

WATCHED = """
import json, os, sys
from pathlib import Path
from airflow_provider_mlpipe.execution.watch import Watch

watch = Watch(Path("notes"), apart=["apart"])
watch.start()
sys.path.insert(0, os.getcwd())
import module
seen = watch.seen([module.__file__])
print(json.dumps([sorted(read.path.removeprefix(os.getcwd() + "/") for read in seen.reads), seen.problem]))
"""


def watched(folder: Path, code: str) -> tuple[list[str], str]:
    """What a module is seen to read, and why it is not reusable."""
    for name in ("a.json", "apart/b", "data/c"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "module.py").write_text(f"import json, os\nfrom pathlib import Path\n{code}\n")
    reads, problem = json.loads(printed(WATCHED, folder))
    return reads, problem


IN_A_FORK = "pid = os.fork()\nif not pid:\n    open('a.json'); os._exit(0)\nos.waitpid(pid, 0)"
IN_A_THREAD = "import threading; each = threading.Thread(target=Path('a.json').read_text); each.start(); each.join()"


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("json.load(open('a.json'))", ["a.json"]),
        ("Path(__file__).with_name('a.json').read_text()", ["a.json"]),
        ("os.close(os.open('a.json', os.O_RDONLY))", ["a.json"]),
        ("open(b'a.json').close(); open('a.json').close()", ["a.json"]),
        ("import pandas; pandas.read_json('a.json')", ["a.json"]),
        ("import configparser; configparser.ConfigParser().read('none.ini')", ["none.ini"]),
        (IN_A_FORK, ["a.json"]),
        (IN_A_THREAD, ["a.json"]),
        ("[path.read_text() for path in Path('data').glob('*')]", ["data", "data/c"]),
        ("import pkgutil; import package; pkgutil.get_data('package', 'd')", ["package/d"]),
        ("import linecache; linecache.getlines(__file__)", []),
        ("Path('apart/b').read_text(); os.listdir('apart')", []),
        ("Path('new').write_text('x'); Path('new').read_text()", []),
        ("open('/proc/self/stat').close(); open(os.__file__).close()", []),
        ("import wave, xml.dom.minidom", []),
        ("os.pipe(); open(os.dup(1), 'w').close()", []),
    ],
)
def test_what_user_code_reads(tmp_path: Path, code: str, reads: list[str]) -> None:
    (tmp_path / "package").mkdir()
    for name in ("__init__.py", "d"):
        (tmp_path / "package" / name).touch()
    assert watched(tmp_path, code) == (reads, "")


READS_MANY = """
for number in range(1001):
    try: open(f"none{number}")
    except OSError: pass
"""


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("open('a.json').close(); Path('a.json').write_text('1')", "changed while it ran: {folder}/a.json, which"),
        (READS_MANY, "its code reads more than 1,000 files and folders; name their folders in cache_files"),
        ("try: open(b'caf\\xe9')\nexcept OSError: pass", "a file whose name is not valid text"),
    ],
)
def test_what_cannot_be_looked_at_again_is_told(tmp_path: Path, code: str, problem: str) -> None:
    assert problem.format(folder=tmp_path) in watched(tmp_path, code)[1]


@pytest.mark.parametrize(("loaded", "reads"), [("flights", ["flights.json"]), ("none", [])])
def test_an_installed_package_that_a_parameter_names_is_user_code(
    tmp_path: Path, loaded: str, reads: list[str]
) -> None:
    packages = tmp_path / "site-packages"
    for name in ("flights", "none"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text("def run_fn(*given): open('flights.json').close()")
    (tmp_path / "flights.json").touch()
    code = (
        f"import sys; sys.path.append({str(packages)!r}); import flights\n"
        "from airflow_provider_mlpipe.execution.user_code import load_function\n"
        "from airflow_provider_mlpipe.pipeline.declared import converted\n"
        f"load_function(None, '{loaded}.run_fn', 'run_fn'); converted(1, int, 'n', flights.run_fn)"  # as executors do
    )
    assert watched(tmp_path, code) == (reads, "")


def test_an_unusable_path_is_left_to_python(tmp_path: Path) -> None:
    code = "for path in ('a\\0b', None, object()):\n    try: open(path)\n    except (TypeError, ValueError): pass"
    assert watched(tmp_path, code) == ([], "")
