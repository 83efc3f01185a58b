"""`scripts/in-debian-13` runs programs as root, so it takes only a root folder that is root's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from other_user import UID, needs_root

CHECKOUT = Path(__file__).parents[2]


@needs_root
@pytest.mark.parametrize("name", ["root", "root.lock"])
@pytest.mark.parametrize("how", ["owned", "linked"])
def test_what_another_user_made_is_not_entered(tmp_path: Path, name: str, how: str) -> None:
    (tmp_path / "theirs").mkdir()
    if how == "owned":
        (tmp_path / "theirs").rename(tmp_path / name)
        os.chown(tmp_path / name, UID, UID)
    else:
        (tmp_path / name).symlink_to(tmp_path / "theirs")
    result = subprocess.run(
        [CHECKOUT / "scripts" / "in-debian-13", "true"],
        env=os.environ | {"DEBIAN_13": str(tmp_path / "root")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"in-debian-13: {tmp_path / name} is not root's own: remove it, or set DEBIAN_13" in result.stderr
