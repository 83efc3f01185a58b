"""docs/security.md's way to keep teams apart: a database and a role each, made as it says there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from run_part import component, run

from airflow_provider_mlpipe.exceptions import StoreUnavailableError
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata import schema
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.store import MetadataStore

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
(COMMANDS,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def teams(postgres_server: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """The address of each team's store."""
    admin = Connection(postgres_server.dsn())
    made = {}
    for team in ("team_a", "team_b"):
        for command in COMMANDS.replace("team_a", team).split(";")[:-1]:
            admin.run_alone(command.strip())
        made[team] = f"postgresql://{team}:...@127.0.0.1:{postgres_server.port}/{team}"
    yield made
    for team in made:
        postgres_server.drop_database(team)
        admin.run(f"DROP ROLE {team}")
    admin.close()


def test_a_teams_role_needs_no_other_right_and_reaches_no_other_team(teams: dict[str, str], tmp_path: Path) -> None:
    ids = set()
    for team, address in teams.items():
        schema.upgrade(address)
        run(component("Make", address, str(tmp_path / team)))
        with closing(MetadataStore(address)) as store:
            assert [execution.component_id for execution in store.executions().items] == ["Make"]
            ids.add(store.id)
    assert len(ids) == 2
    with pytest.raises(StoreUnavailableError, match="permission denied for database"):
        Connection(teams["team_a"].rpartition("/")[0] + "/team_b").run("SELECT 1")
