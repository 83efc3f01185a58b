from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from code_files import printed, write

from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT
from airflow_provider_mlpipe.caching.user_code import Source, executor_source, module_source
from airflow_provider_mlpipe.exceptions import UserCodeError


def source_of(file: Path) -> Source:
    return module_source(Address(str(file), "f"), f"module {file}")


def test_source_holds_local_imports_transitively(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "code",
        {
            "model": "import features\nimport json\nimport pytest\n",
            "features": "def f():\n    from helpers.text import clean\n",
            "helpers/__init__": "",
            "helpers/text": "from . import numbers\nfrom .more import x\n",
            "helpers/numbers": "",
            "helpers/more": "x = 1",
            "unrelated": "",
        },
    )
    source = source_of(folder / "model.py")
    assert set(source.files) == {
        "features.py",
        "helpers/__init__.py",
        "helpers/text.py",
        "helpers/numbers.py",
        "helpers/more.py",
    }
    assert source.libraries == {"pytest": pytest.__version__}
    assert str(folder / "model.py") in source.paths


def test_import_cycle_ends(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", a="import b", b="import a")
    assert set(source_of(folder / "a.py").files) == {"b.py"}


def test_an_executor_is_hashed_with_the_package_modules_it_imports() -> None:
    source = executor_source(Address.parse(f"{PACKAGE}.execution.runner:run"))
    assert "airflow_provider_mlpipe/artifacts.py" in source.files
    assert "airflow_provider_mlpipe/exceptions.py" in source.files
    assert "airflow_provider_mlpipe/pipeline/dag_factory.py" not in source.files
    assert "airflow_provider_mlpipe/__init__.py" not in source.files


def test_an_executor_is_the_same_code_installed_beside_its_libraries(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE_ROOT, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "isal.py").write_text("import json")
    executor = f"{PACKAGE}.records.tfrecord:TFRecordWriter"
    code = (
        "from airflow_provider_mlpipe.caching.user_code import *;"
        f"source = executor_source(Address.parse('{executor}'));"
        "print(PACKAGE_ROOT.parent, sorted(source.files.items()), source.libraries)"
    )
    here = executor_source(Address.parse(executor))
    assert printed(code, tmp_path) == f"{tmp_path} {sorted(here.files.items())} {here.libraries}"


def test_a_library_that_an_executor_of_ours_lacks_is_named_with_what_to_install(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE_ROOT, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    executor = tmp_path / PACKAGE / "components" / "pusher" / "executor.py"
    executor.write_text(f"{executor.read_text()}\ndef later():\n    import absent_library.part\n")
    code = (
        "from airflow_provider_mlpipe.caching.user_code import *\n"
        f"try: executor_source(Address.parse('{PACKAGE}.components.pusher.executor:run'))\n"
        "except InvalidInputError as error: print(error)"
    )
    said = printed(code, tmp_path)
    assert said.startswith("this worker lacks the library absent_library: ")
    assert said.endswith("pip install 'airflow-provider-mlpipe[executor]'")


def test_what_an_executor_imports_first_is_what_it_imports_outside_of_functions(tmp_path: Path) -> None:
    write(
        tmp_path,
        work="import json, helper\ndef run(): import late",
        helper="import keras.layers\ntry: import b\nfinally: pass",
    )
    code = (
        "import os, sys; sys.path.insert(0, os.getcwd()); from airflow_provider_mlpipe.caching.user_code import *;"
        "names = 'work:run', f'{os.getcwd()}/work.py:run', 'wrong:run';"
        "print(*(sorted(imported_first(Address.parse(name))) for name in names))"
    )
    write(tmp_path, wrong="import json\ndef run(:")
    assert printed(code, tmp_path) == "['b', 'json', 'keras'] ['b', 'json', 'keras'] []"


def test_a_relative_import_beyond_the_root_is_left_to_python(tmp_path: Path) -> None:
    write(tmp_path, model=f"from {'.' * 99}far import x")
    assert not source_of(tmp_path / "model.py").files


def test_a_link_to_another_folder_keeps_the_name_by_which_it_is_imported(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", model="import one, two")
    for name in ("one", "two"):
        write(tmp_path / "elsewhere" / name, __init__=f"x = {name!r}")
        (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    before = source_of(folder / "model.py")
    assert set(before.files) == {"one/__init__.py", "two/__init__.py"}
    for name in ("one", "two"):
        write(tmp_path / "elsewhere" / name, __init__="x = 'edited'")
        after = source_of(folder / "model.py")
        assert after.files != before.files
        before = after


def test_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "code", model="x = 1\ndef f(:\n")
    with pytest.raises(UserCodeError, match=r"model\.py, line 2"):
        source_of(folder / "model.py")
