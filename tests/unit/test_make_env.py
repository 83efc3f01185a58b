"""`scripts/make-env`, in a copy of the files that it knows."""

from __future__ import annotations

import shutil
import subprocess
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(CHECKOUT / "scripts" / "make-env", tmp_path / "scripts")
    shutil.copy(CHECKOUT / ".env.example", tmp_path)
    return tmp_path


def make_env(checkout: Path, **environment: str) -> dict[str, str]:
    """Runs it; what `.env` says then."""
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    subprocess.run(["scripts/make-env"], cwd=checkout, env=path | environment, check=True, capture_output=True)
    lines = (checkout / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_value_is_there_and_secret(checkout: Path) -> None:
    values = make_env(checkout)
    example = (checkout / ".env.example").read_text().splitlines()
    assert list(values) == [line.split("=")[0] for line in example if "=" in line and not line.startswith("#")]
    assert all(values.values())
    assert len(urlsafe_b64decode(values["AIRFLOW_FERNET_KEY"])) == 32
    assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600
    other = {name for name, value in make_env_anew(checkout, values["AIRFLOW_PORT"]).items() if value != values[name]}
    assert other == {name for name in values if name.endswith(("PASSWORD", "KEY", "SECRET"))}


def make_env_anew(checkout: Path, port: str) -> dict[str, str]:
    """With the same port: by now another one may be the first that is free."""
    (checkout / ".env").unlink()
    return make_env(checkout, AIRFLOW_PORT=port)


def test_what_is_there_stays(checkout: Path) -> None:
    make_env(checkout)
    before = (checkout / ".env").read_bytes()
    make_env(checkout, AIRFLOW_PORT="1")
    assert (checkout / ".env").read_bytes() == before


def test_a_file_that_others_could_read_is_closed(checkout: Path) -> None:
    (checkout / ".env").write_text("MINE=1\n")
    (checkout / ".env").chmod(0o644)
    assert make_env(checkout)["MINE"] == "1"
    assert (checkout / ".env").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in checkout.iterdir()) == [".env", ".env.example", "scripts"]


@pytest.mark.parametrize("blank", ["", "\r", '""', "   ", "  # to do"])
def test_what_is_blank_is_filled_and_what_is_missing_added(checkout: Path, blank: str) -> None:
    (checkout / ".env").write_text(f"MINE=1\nPOSTGRES_PASSWORD={blank}\nAIRFLOW_PASSWORD=abc", newline="")
    values = make_env(checkout)
    assert (values["MINE"], values["AIRFLOW_PASSWORD"]) == ("1", "abc")
    assert values["POSTGRES_PASSWORD"].isalnum()
    assert values["REDIS_PASSWORD"].isalnum()


def test_a_port_is_a_number(checkout: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        make_env(checkout, AIRFLOW_PORT="a&b")
    assert not (checkout / ".env").exists()
