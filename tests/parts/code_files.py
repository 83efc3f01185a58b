"""Modules that a test writes and loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def write(folder: Path, modules: dict[str, str] | None = None, **more: str) -> Path:
    for name, text in {**(modules or {}), **more}.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


def printed(code: str, folder: Path) -> str:
    """Runs `code` in a fresh process, since loading imports modules for good; returns what it printed."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    return result.stdout.strip()
