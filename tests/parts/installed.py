"""A virtual environment of its own, in which programs run as people run them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Installed:
    """A folder with a virtual environment, `venv`, and the home of its Airflow."""

    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of its shells, beside those of this machine."""
        return {"AIRFLOW_HOME": str(self.folder / "home"), "VIRTUAL_ENV": str(self.folder / "venv")}

    def environment(self, **more: str) -> dict[str, str]:
        ours = ("AIRFLOW", "MLPIPE", "PYTHON")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return inherited | self.settings | more

    def program(self, name: str) -> str:
        """A program of the virtual environment, or else of this machine."""
        known = self.folder / "venv" / "bin" / name
        return str(known) if known.exists() else name

    def run(self, program: str, *arguments: str, **environment: str) -> str:
        """Runs a program in the folder, as in a shell of its own; what it printed."""
        result = subprocess.run(
            [self.program(program), *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"{program} {arguments}:\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
        return result.stdout
