from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from code_files import printed, write

from airflow_provider_mlpipe.caching.libraries import library_versions, missing_libraries


def test_every_installed_module_has_the_distributions_that_python_finds_for_it() -> None:
    found = importlib.metadata.packages_distributions()
    names = {name for name in found if name.isidentifier() and _is_there(name)}
    assert {"numpy", "google", "airflow", "six"} <= names
    expected = {name: {d: importlib.metadata.version(d) for d in found[name]} for name in names}
    assert {name: library_versions([name]) for name in names} == expected


def _is_there(name: str) -> bool:
    return any(Path(folder, name).is_dir() or Path(folder, f"{name}.py").is_file() for folder in sys.path)


def test_modules_of_a_shared_namespace_are_of_all_that_share_it() -> None:
    assert {"protobuf", "google-auth"} <= library_versions(["google"]).keys()
    assert library_versions(["google.protobuf", "google.protobuf.message.Message"]).keys() == {"protobuf"}


def test_what_is_missing_is_told_by_its_top_level_name() -> None:
    assert missing_libraries(["json", "os.path", "numpy.linalg", "google.protobuf", "absent.module"]) == ["absent"]


def test_what_nobody_installed_and_the_standard_library_have_none() -> None:
    assert library_versions(["json", "no_such_module"]) == {}


def test_the_first_on_the_path_counts_and_extension_modules_have_a_distribution(tmp_path: Path) -> None:
    for version, module in (("1.0", f"fast{EXTENSION_SUFFIXES[0]}"), ("2.0", "fast.py")):
        info = tmp_path / version / f"fast-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fast\nVersion: {version}\n")
        (info / "INSTALLER").write_text("pip\n")
        (info / "RECORD").write_text(f'{module},,\n"more/a, b.py",,\n{info.name}/RECORD,,\n')
        (info / "top_level.txt").write_text("\n")
    code = (
        f"import sys; sys.path[:0] = {[str(tmp_path / version) for version in ('1.0', '2.0')]};"
        "from airflow_provider_mlpipe.caching.libraries import library_versions;"
        "print(library_versions(['fast']), library_versions(['more']))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "{'fast': '1.0'} {'fast': '1.0'}\n"


INDEX = {"INSTALLER": "pip", "RECORD": "own.py,sha256=a,1\nown-1.dist-info/RECORD,,\n"}
FOLDER = INDEX | {"direct_url.json": '{"url": "file:///own", "dir_info": {}}'}


@pytest.mark.parametrize(
    ("before", "after", "is_other"),
    [
        (INDEX, INDEX | {"RECORD": "own.py,sha256=b,1\n"}, False),
        (FOLDER, FOLDER | {"RECORD": "own.py,sha256=b,1\n"}, True),
        (FOLDER, FOLDER | {"RECORD": "own.py,sha256=a,1\n../../../bin/own,sha256=c,1\n__pycache__/own.pyc,,\n"}, False),
        (FOLDER, FOLDER | {"../own.py": "x = 2"}, False),
        ({"top_level.txt": "own"}, {"top_level.txt": "own", "../own.py": "x = 2"}, True),
        ({"top_level.txt": "own", "RECORD": "own.py,,\n"}, {"RECORD": "own.py,,\n", "../own.py": "x = 2"}, True),
    ],
)
def test_what_came_from_no_index_counts_by_its_files(
    tmp_path: Path, before: dict[str, str], after: dict[str, str], is_other: bool
) -> None:
    versions = []
    for number, files in enumerate((before, after)):
        info = tmp_path / str(number) / "own-1.dist-info"
        info.mkdir(parents=True)
        files = {"METADATA": "Metadata-Version: 2.1\nName: own\nVersion: 1\n", "../own.py": "x = 1"} | files
        for name, text in files.items():
            (info / name).write_text(text)
        code = (
            f"import sys; sys.path.insert(0, {str(info.parent)!r});"
            "from airflow_provider_mlpipe.caching.libraries import library_versions;"
            "print(library_versions(['own'])['own'])"
        )
        versions.append(printed(code, tmp_path))
    assert all(version.startswith("1") for version in versions)
    assert (versions[0] != versions[1]) is is_other


def test_an_editable_installation_counts_by_its_source(tmp_path: Path) -> None:
    """As setuptools installs it where the folder of the source is not on the import path: with a finder of its own."""
    write(tmp_path / "source" / "flights", __init__="", model="from flights import part\ndef f(): return part.__file__")
    write(tmp_path / "source" / "flights", part="")
    info = tmp_path / "site-packages" / "flights-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flights\nVersion: 1\n")
    (info / "direct_url.json").write_text('{"url": "file:///source", "dir_info": {"editable": true}}')
    (info / "top_level.txt").write_text("flights\n")
    code = f"""
import importlib.util, sys
from pathlib import Path
folder = Path({str(tmp_path / "source" / "flights")!r})
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "flights":
            init, places = folder / "__init__.py", [str(folder)]
            return importlib.util.spec_from_file_location(name, init, submodule_search_locations=places)
sys.meta_path.append(Finder)
sys.path.append({str(info.parent)!r})
from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.user_code import module_source
from airflow_provider_mlpipe.execution.user_code import load_function
source = module_source(Address("flights.model", "f"), "a test")
print(sorted(source.files), load_function(None, "flights.model.f", "f")() in source.paths)
"""
    assert printed(code, tmp_path) == "['flights/__init__.py', 'flights/part.py'] True"
