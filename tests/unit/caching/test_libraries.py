from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

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
        (info / "RECORD").write_text(f'{module},,\n"more/a, b.py",,\n{info.name}/RECORD,,\n')
        (info / "top_level.txt").write_text("\n")
    code = (
        f"import sys; sys.path[:0] = {[str(tmp_path / version) for version in ('1.0', '2.0')]};"
        "from airflow_provider_mlpipe.caching.libraries import library_versions;"
        "print(library_versions(['fast']), library_versions(['more']))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "{'fast': '1.0'} {'fast': '1.0'}\n"
