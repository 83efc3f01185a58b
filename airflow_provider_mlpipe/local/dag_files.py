"""Which DAGs the files of a folder have, and which files cannot be parsed.

Airflow does not record when it has parsed every file once. So a process parses them, as Airflow's own commands do. It
gives way to Airflow's processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airflow_provider_mlpipe.execution import linux

_LAST = 19  # the lowest priority


@dataclass(frozen=True, kw_only=True)
class DagFiles:
    """The file of each DAG, by the DAG's id, and the traceback of each file that cannot be parsed."""

    folder: Path
    dags: Mapping[str, str]
    errors: Mapping[str, str]

    def what_lacks(self, dag_id: str) -> str:
        """Say that no file has this DAG: the errors that may be the reason, and the DAGs that there are."""
        errors = [f"{file} cannot be parsed:\n{trace.strip()}" for file, trace in self.errors.items()]
        there_are = f"there are: {', '.join(sorted(self.dags))}" if self.dags else "there is none"
        return "\n".join([f"no file of {self.folder} that can be parsed has the DAG {dag_id!r}; {there_are}", *errors])


class Parsing:
    """A process that parses the files of a folder."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], printed: IO[str]) -> None:
        self._folder = folder
        self._process = process
        self._printed = printed
        self._found: DagFiles | None = None

    def found(self) -> DagFiles | None:
        """Return what was found; None until all files are parsed, and for ever if a file ends the process."""
        if self._found is None and self._process.poll() == 0:
            self._printed.seek(0)
            *_, last = self._printed  # DAG files may print, too
            self._found = DagFiles(folder=self._folder, **json.loads(last))
        return self._found


@contextmanager
def parsing(folder: Path, environment: Mapping[str, str], home: Path) -> Iterator[Parsing]:
    """Parse the DAG files of a folder, while the block runs, as an Airflow with this environment and home does."""
    command = [sys.executable, "-m", __name__, str(folder)]
    with (
        tempfile.TemporaryFile("w+") as printed,  # a pipe could fill up
        subprocess.Popen(
            command, env=dict(environment), cwd=home, stdout=printed, stderr=subprocess.DEVNULL
        ) as process,
    ):
        try:
            yield Parsing(folder, process, printed)
        finally:
            process.kill()


def main(folder: Path) -> None:
    """Print the DAGs and errors as one line of JSON, the last one."""
    linux.die_with(os.getppid(), signal.SIGKILL)
    os.nice(_LAST)
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"  # so that Variables are found, as by Airflow's own commands
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
    dags = {dag_id: dag.relative_fileloc or "" for dag_id, dag in bag.dags.items()}
    print(f"\n{json.dumps({'dags': dags, 'errors': bag.import_errors})}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
