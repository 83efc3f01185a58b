"""How Postgres answers the store's statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_mlpipe.metadata import sql
from airflow_provider_mlpipe.metadata.connection import Connection

LARGE = {"execution", "artifact", "event", "attribution"}


@dataclass(frozen=True)
class QueryPlan:
    """What Postgres did to answer a statement."""

    root: dict[str, Any]

    @property
    def nodes(self) -> list[dict[str, Any]]:
        return list(_nodes(self.root))

    @property
    def rows(self) -> int:
        """How many rows it returned."""
        return int(self.root["Actual Rows"])

    @property
    def blocks(self) -> int:
        """How many blocks it looked at, in memory or on disk."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def scanned(self) -> set[str]:
        """The large tables that it read as a whole."""
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"} & LARGE


def query_plan(connection: Connection, statement: str, **parameters: Any) -> QueryPlan:
    """Runs a named statement, and says how."""
    text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql.load()[statement]}"
    (row,) = connection.run(text, parameters)
    return QueryPlan(row["QUERY PLAN"][0]["Plan"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)
