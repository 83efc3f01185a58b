from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from code_files import printed, write

from airflow_provider_mlpipe.caching.user_code import module_source
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.user_code import load_function


def test_load_function_from_a_file_and_by_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", model="import part\ndef run_fn(): return part.x", part="x = 42")
    code = "from airflow_provider_mlpipe.execution.user_code import *; print(load_function({}, 'run_fn')())"
    by_file, by_name = code.format("'model.py', None"), code.format("None, 'model.run_fn'")
    assert printed(by_file, folder) == "42"
    assert printed(by_name, folder) == "42"


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
    assert not module_source(folder / "model.py").files


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist"),
        ("raise ValueError('broken here')", "broken here"),
        ("import not_there_at_all", "not_there_at_all"),
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
    with pytest.raises(UserCodeError, match="already taken"):
        load_function(str(path), None, "run_fn")


def test_exactly_one_way_to_name_a_function() -> None:
    for module_file, function in [(None, None), ("a.py", "b.c")]:
        with pytest.raises(UserCodeError, match="either"):
            load_function(module_file, function, "run_fn")
