from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from code_files import printed, write

from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.user_code import module_source
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.user_code import check_arguments, load_function


def test_load_function_from_a_file_and_by_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", model="import part\ndef run_fn(): return part.x", part="x = 42")
    code = "from airflow_provider_mlpipe.execution.user_code import *; print(load_function({}, 'run_fn')())"
    by_file, by_name = code.format("'model.py', None"), code.format("None, 'model.run_fn'")
    assert printed(by_file, folder) == "42"
    assert printed(by_name, folder) == "42"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("*, a, b, context", None),
        ("a, b, context, more=None", None),
        ("*rest, a, **others", None),
        ("*, a", r"own\.py, line 2: run\(\) lacks b, context\. It takes .*: def run\(\*, a, b, context\)$"),
        ("a, b, /, context", r"run\(\) lacks a, b\. It takes"),
        ("a, c, **others", r"run\(\) has c, which its component does not give\."),
        ("a, c, context", r"run\(\) lacks b and has c, which its component does not give\."),
    ],
)
def test_an_executor_takes_what_its_component_gives(parameters: str, words: str | None) -> None:
    defined: dict[str, Any] = {}
    exec(compile(f"\ndef run({parameters}): pass", "own.py", "exec"), defined)
    with pytest.raises(UserCodeError, match=words) if words else contextlib.nullcontext():
        check_arguments(defined["run"], ["a", "b", "context"])


def test_stale_bytecode_is_not_run(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", model="import part\ndef run_fn(): return part.x", part="x = 1")
    code = (
        "import sys; sys.dont_write_bytecode = False; from airflow_provider_mlpipe.execution.user_code import *;"
        "{} print(load_function('model.py', None, 'run_fn')())"
    )
    before = (folder / "part.py").stat()
    assert printed(code.format(""), folder) == "1"
    assert list((folder / "__pycache__").iterdir())
    write(folder, part="x = 2")
    os.utime(folder / "part.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert printed(code.format("import_from_source();"), folder) == "2"


def test_files_imported_dynamically_are_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", model="import importlib\ndef f(): importlib.import_module('hidden')", hidden="")
    code = (
        "from airflow_provider_mlpipe.execution.user_code import *; load_function('model.py', None, 'f')();"
        "print(*(path.rpartition('/')[2] for path in imported_user_files(Path('generated'))))"
    )
    write(folder / "generated", made="")
    assert printed("import sys; sys.path.append('generated'); import made;" + code, folder) == "hidden.py model.py"
    assert not module_source(Address(str(folder / "model.py"), "f"), "model").files


def test_a_link_among_the_installed_is_seen_but_for_pythons_own(tmp_path: Path) -> None:
    folder = write(tmp_path / "elsewhere", linked="", sitecustomize="")
    (tmp_path / "site-packages").mkdir()
    for name in ("linked", "sitecustomize"):
        (tmp_path / "site-packages" / f"{name}.py").symlink_to(folder / f"{name}.py")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site-packages')!r}); sys.modules.pop('sitecustomize', None);"
        "import linked, sitecustomize; from airflow_provider_mlpipe.execution.user_code import *;"
        "print(sitecustomize.__file__, imported_user_files(Path('generated')))"
    )
    assert printed(code, folder) == f"{tmp_path / 'site-packages' / 'sitecustomize.py'} {[str(folder / 'linked.py')]}"


def test_what_a_user_has_python_import_at_its_start_is_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", sitecustomize="")
    code = (
        "import sys; sys.path.insert(0, ''); sys.modules.pop('sitecustomize', None); import sitecustomize;"
        "from airflow_provider_mlpipe.execution.user_code import *; print(imported_user_files(Path('generated')))"
    )
    assert printed(code, folder) == str([str(folder / "sitecustomize.py")])


BOTH = """
import importlib, os, sys, zipfile
from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.user_code import module_source
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.user_code import load_executor, load_function

here = os.getcwd()
with zipfile.ZipFile("own.zip", "w") as file:
    for name in ("model.py", "package/__init__.py", "package/part.py"):
        file.write(f"own/{{name}}", name)
sys.path += [f"{{here}}/{{place}}" for place in {places}]
{before}
address = Address.parse({address!r}.replace("HERE", here))
try:
    hashed = module_source(address, "a test").paths
    loaded = load_executor(str(address))()
    is_hashed = loaded in hashed
    print(os.path.relpath(loaded, here) if loaded.startswith(here) else "Python's", is_hashed)
except UserCodeError as error:
    print(str(error).replace(here, "HERE").splitlines()[0])
"""


@pytest.mark.parametrize(
    ("imports", "places", "before", "address", "answer"),
    [
        ("part", [], "", "HERE/own/model.py:f", "own/part.py True"),
        ("part", ["other", "own"], "", "HERE/own/model.py:f", "own/part.py True"),
        ("part", ["other", "own"], "", "model:f", "other/part.py True"),
        ("part", ["own", "other"], "", "model:f", "own/part.py True"),
        ("package.part", ["own"], "", "model:f", "own/package/part.py True"),
        ("package.part", ["own.zip"], "", "model:f", "own.zip/package/part.py True"),
        ("package.part", [], "", "HERE/own.zip/model.py:f", "own.zip/package/part.py True"),
        # Of two modules with one name, that of the installation is hashed and used where Python looks there first.
        ("lib", ["site-packages", "own"], "", "model:f", "site-packages/lib.py False"),
        ("lib", ["own", "site-packages"], "", "model:f", "own/lib.py True"),
        ("lib", ["site-packages", "own"], "", "HERE/own/model.py:f", "own/lib.py True"),
        ("wave", ["own"], "", "model:f", "Python's False"),
        # No module is hashed where another is used.
        (
            "lib",
            ["site-packages"],
            "import lib",
            "HERE/own/model.py:f",
            "module file HERE/own/model.py needs HERE/own/lib.py as 'lib', but other code has imported "
            "HERE/site-packages/lib.py by that name before: rename lib.py",
        ),
        (
            "part",
            [],
            "load_function(f'{here}/other/executor.py', None, 'f')",
            "HERE/own/model.py:f",
            "module file HERE/own/model.py needs HERE/own/part.py as 'part', but other code has imported "
            "HERE/other/part.py by that name before: rename part.py",
        ),
        (
            "wave",
            [],
            "",
            "HERE/own/model.py:f",
            "HERE/own/wave.py has the name of Python's own module 'wave', which other code may have imported already: "
            "rename the file, and write its new name in `import wave`",
        ),
    ],
)
def test_what_is_hashed_is_what_is_used(
    tmp_path: Path, imports: str, places: list[str], before: str, address: str, answer: str
) -> None:
    write(tmp_path / "own", {"package/__init__": "", "package/part": ""}, part="", lib="", wave="")
    write(tmp_path / "own", model=f"import {imports} as it\ndef f(): return it.__file__")
    write(tmp_path / "other", part="", executor="import part\ndef f(): pass")
    write(tmp_path / "site-packages", lib="")
    assert printed(BOTH.format(places=places, before=before, address=address), tmp_path) == answer


@pytest.mark.parametrize("name", ["model.v2.py", "my-model.py"])
def test_a_file_that_no_import_can_name_is_loaded_by_its_path(tmp_path: Path, name: str) -> None:
    write(tmp_path, part="x = 42", **{name.removesuffix(".py"): "import part\ndef f(): return __name__, part.x"})
    code = (
        "from airflow_provider_mlpipe.execution.user_code import *;"
        f"one, again = (load_function({name!r}, None, 'f') for _ in range(2)); print(one(), one is again);"
        "import pickle; print(pickle.loads(pickle.dumps(one)) is one, len(imported_user_files()))"
    )
    module = name.removesuffix(".py").replace(".", "-")
    assert printed(code, tmp_path) == f"{(module, 42)} True\nTrue 2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist"),
        ("raise ValueError('broken here')", "broken here"),
        ("import not_there_at_all", "not_there_at_all"),
        ("from tfx import v1 as tfx", "No module named 'tfx'.*write `from airflow_provider_mlpipe import DataAccessor"),
        ("import tfx.components", "No module named 'tfx'.*and `FnArgs` and `DataAccessor` for `tfx.components.FnArgs`"),
        (
            "def run_fn(data_accessor: tfx.components.DataAccessor): pass",
            "name 'tfx' is not defined.*in annotations, too",
        ),
        ("def other_fn(): pass", r"has no function run_fn\(\); it defines: other_fn"),
        ("run_fn = 3", "has no function"),
    ],
)
def test_a_module_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, words: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / f"module_{abs(hash(text))}.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserCodeError, match=words) as error:
        load_function(str(path), None, "run_fn")
    assert str(path) in str(error.value)


def test_a_name_that_is_taken_is_no_silent_wrong_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "json.py"
    path.write_text("def run_fn(): pass")
    with pytest.raises(UserCodeError, match=r"'json' is already taken by .*/json/__init__\.py; rename the file"):
        load_function(str(path), None, "run_fn")


def test_exactly_one_way_to_name_a_function() -> None:
    for module_file, function in [(None, None), ("a.py", "b.c")]:
        with pytest.raises(UserCodeError, match="either"):
            load_function(module_file, function, "run_fn")
