"""A second user of the machine, without a name or rights."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

UID = 54_321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python program that runs as this user, with the system's Python: this environment may be closed to others."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no Python here that every user can run")
    return subprocess.Popen(
        [python, "-c", program, *arguments],
        user=UID,
        group=UID,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
