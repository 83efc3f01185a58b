"""A pipeline_root belongs to one store, and no other makes, or deletes, anything below it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from run_part import component, run

from airflow_provider_mlpipe.exceptions import ExecutorFailedError, ForeignRootError, TransientError
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.storage import marker, orphans
from airflow_provider_mlpipe.storage.digests import tree_digest
from airflow_provider_mlpipe.storage.marker import NAME, Marker


@pytest.fixture
def other(postgres_server: EmbeddedPostgres, _migrated: str) -> Iterator[str]:
    """Another store. The databases of tests are copies of one, so this one gets another id."""
    dsn = postgres_server.create_database("other_store", template=_migrated)
    connection = Connection(dsn)
    connection.run("UPDATE mlpipe.store SET id = gen_random_uuid()")
    connection.close()
    yield dsn
    postgres_server.drop_database("other_store")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def make(dsn: str, root: Path, text: str = "hello", **arguments: str) -> Path:
    (made,) = run(component("Make", dsn, str(root), text=text, **arguments), run_id=text)["examples"]
    return Path(made.uri)


def fail(dsn: str, root: Path) -> None:
    with pytest.raises(ExecutorFailedError):
        make(dsn, root, act="raise")


def test_a_store_has_an_id_of_its_own(database: str, other: str) -> None:
    ids = [MetadataStore(dsn).id for dsn in (database, database, other)]
    assert ids[0] == ids[1] != ids[2]


def test_the_first_output_makes_a_root_its_stores(database: str, other: str, root: Path) -> None:
    make(database, root)
    make(database, root, "more")
    assert json.loads((root / NAME).read_text()) == {"store": MetadataStore(database).id, "from_execution": 0}
    before = tree_digest(root)
    with pytest.raises(ForeignRootError, match=rf"names {MetadataStore(database).id}, but this store is .*of its own$"):
        make(other, root)
    with pytest.raises(ForeignRootError):
        make(other, root, "more")  # nor in a folder whose number nobody has used
    assert tree_digest(root) == before
    assert "ForeignRootError" in str(MetadataStore(other).executions().items[0].error)


@pytest.mark.parametrize("is_marked", [True, False])
def test_files_of_another_store_are_never_deleted(database: str, other: str, root: Path, is_marked: bool) -> None:
    """Although an execution of the same component with the same number has failed, and began before."""
    fail(other, root.parent / "its own root")
    made = make(database, root)
    if not is_marked:
        (root / NAME).unlink()
    with pytest.raises(ForeignRootError if is_marked else orphans.InvalidInputError):
        orphans.find(MetadataStore(other), [str(root)])
    assert len(list(made.iterdir())) == 3


def test_a_root_without_a_marker_is_taken_by_the_store_that_made_all_below_it(
    database: str, other: str, root: Path
) -> None:
    make(database, root)
    make(database, root, "more")
    (root / NAME).unlink()
    with pytest.raises(ForeignRootError, match=r"this one did not make .*/Make/examples/1\. Give each"):
        make(other, root)
    assert not (root / NAME).exists()
    make(database, root, "again")
    assert marker.read(root) == Marker(store=MetadataStore(database).id, from_execution=3)


def test_of_stores_that_race_for_a_root_one_gets_it(root: Path) -> None:
    root.mkdir()
    given = [Marker(store=str(number), from_execution=0) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        written = set(pool.map(lambda one: marker.write(root, one), given))
    assert len(written) == 1
    assert written == {marker.read(root)}
    assert [path.name for path in root.iterdir()] == [NAME]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"store": "x"'])
def test_a_marker_that_is_not_complete_is_named_and_read_again_later(database: str, root: Path, text: str) -> None:
    root.mkdir()
    (root / NAME).write_text(text)
    with pytest.raises(TransientError, match=rf"{NAME} is not complete: .* if it stays so, remove it"):
        make(database, root)


def test_without_hard_links_the_first_marker_stays_too(root: Path) -> None:
    root.mkdir()
    for store in ("first", "second"):
        marker._write_in_place(root / NAME, Marker(store=store, from_execution=0))
    assert marker.read(root) == Marker(store="first", from_execution=0)
