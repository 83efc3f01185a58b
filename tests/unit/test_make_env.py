"""`scripts/make-env`, in a copy of the files that it knows."""

from __future__ import annotations

import shutil
import subprocess
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
COMPOSE_FILES = ["docker-compose.yml", "docker-compose.celery.yml"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(CHECKOUT / "scripts" / "make-env", tmp_path / "scripts")
    shutil.copy(CHECKOUT / ".env.example", tmp_path)
    return tmp_path


def make_env(checkout: Path, **environment: str) -> dict[str, str]:
    """Runs it; what `.env` and the files of `secrets` say then."""
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    subprocess.run(["scripts/make-env"], cwd=checkout, env=path | environment, check=True, capture_output=True)
    lines = (checkout / ".env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return settings | {path.name: path.read_text().strip() for path in (checkout / "secrets").iterdir()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_every_value_is_there_and_secret(checkout: Path) -> None:
    values = make_env(checkout)
    services = [yaml.safe_load((CHECKOUT / name).read_text()) for name in COMPOSE_FILES]
    secrets = {name for file in services for name in file["secrets"]}
    assert secrets == {path.name for path in (checkout / "secrets").iterdir()}
    assert set(values) == secrets | {"AIRFLOW_PORT", "AIRFLOW_PARALLELISM"}
    assert all(values.values())
    assert len(urlsafe_b64decode(values["fernet_key"])) == 32
    assert len(values["jwt_secret"]) == 64
    assert mode(checkout / ".env") == 0o600
    assert mode(checkout / "secrets") == 0o700
    shutil.rmtree(checkout / "secrets")
    assert {name for name, value in make_env(checkout).items() if value != values[name]} == secrets


def test_what_is_there_stays(checkout: Path) -> None:
    before = make_env(checkout)
    assert make_env(checkout, AIRFLOW_PORT="1") == before


def test_what_others_could_read_is_closed(checkout: Path) -> None:
    (checkout / ".env").write_text("MINE=1\n")
    (checkout / ".env").chmod(0o644)
    (checkout / "secrets").mkdir(mode=0o755)
    assert make_env(checkout)["MINE"] == "1"
    assert mode(checkout / ".env") == 0o600
    assert mode(checkout / "secrets") == 0o700
    assert sorted(path.name for path in checkout.iterdir()) == [".env", ".env.example", "scripts", "secrets"]


def test_a_folder_that_is_a_link_is_refused(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (checkout / "secrets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(subprocess.CalledProcessError) as error:
        make_env(checkout)
    assert b"must be yours, and no link" in error.value.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("blank", ["", "\r", '""', "   ", "  # to do"])
def test_a_blank_port_is_filled(checkout: Path, blank: str) -> None:
    (checkout / ".env").write_text(f"MINE=1\nAIRFLOW_PORT={blank}\nOTHER=2", newline="")
    values = make_env(checkout)
    assert (values["MINE"], values["OTHER"]) == ("1", "2")
    assert values["AIRFLOW_PORT"].isdigit()


@pytest.mark.parametrize("blank", ["", "\n", " \r\n"])
def test_a_blank_secret_is_filled_and_a_missing_one_added(checkout: Path, blank: str) -> None:
    (checkout / "secrets").mkdir()
    (checkout / "secrets" / "admin_password").write_text("abc")
    (checkout / "secrets" / "postgres_password").write_text(blank)
    values = make_env(checkout)
    assert values["admin_password"] == "abc"
    assert values["postgres_password"].isalnum()
    assert values["redis_password"].isalnum()


def test_a_port_is_a_number(checkout: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        make_env(checkout, AIRFLOW_PORT="a&b")
    assert not (checkout / ".env").exists()
