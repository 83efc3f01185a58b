"""SqlExampleGenOperator: converts the rows of a SQL query to splits of gzipped tf.Examples."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.caching.driver import CachePolicy, ComponentRun
from airflow_provider_mlpipe.components.sql_example_gen.database import Database
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.file_example_gen import TRAIN_AND_EVAL, check_output_splits
from airflow_provider_mlpipe.pipeline.spec import Config, Ignored, Setting, Value
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Output


class SqlExampleGenOperator(ComponentOperator):
    """Converts the rows of a SQL query to tf.Examples, and divides them into splits.

    Reads no artifact. Publishes `examples` (Examples): one gzipped TFRecord file per output split, at
    `Split-<name>/data_tfrecord-00000-of-00001.gz`, with the properties `splits` and `record_counts`. A column becomes a
    feature; `docs/sources.md` lists the types. Null alone is missing. Rows come as a stream. Nothing is written to the
    database.

    :param query: the query; a template may stand in it, as `WHERE day = '{{ ds }}'`
    :param conn_id: the Airflow connection of the database. Its type, host, port and database are part of the
        fingerprint, the login is not
    :param fingerprint_query: a query for a watermark, such as `SELECT max(updated_at) FROM orders`. Its first row is
        part of the fingerprint. Without one nobody can know whether the rows are those of before: the task always runs
    :param fingerprint_timeout: seconds after which Postgres ends the watermark's query
    :param output_config: an `Output` message or its dict: divides the rows into output splits in proportion to their
        `hash_buckets`, by a hash of each record, or of its feature `partition_feature_name` (default: train:eval = 2:1)
    :param shuffle_seed: a number for a random order of the records of each output split, the same for the same number
        and rows; None (default) keeps the order of the query. Without ORDER BY in it a database promises none
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when `output_config` does not match its message type, and for TFX's
    `@span_...` in a query. The task raises InvalidInputError for an error in the query, two columns of one name, no row
    at all, a type or value that a tf.Example cannot hold, and a `partition_feature_name` that cannot be used. While the
    database cannot be reached, or when the connection breaks, it raises TransientError, so Airflow retries it.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}
    HANDED_OVER = ("connection",)

    def __init__(
        self,
        *,
        query: Value[str],
        conn_id: Ignored[str],
        fingerprint_query: Value[str | None] = None,
        fingerprint_timeout: Setting[float] = 60.0,
        output_config: Config[Output | Mapping[str, Any] | None] = None,
        shuffle_seed: Value[int | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.query = query
        self.conn_id = conn_id
        self.fingerprint_query = fingerprint_query
        self.fingerprint_timeout = fingerprint_timeout
        self.output_config: Any = output_config or TRAIN_AND_EVAL
        self.shuffle_seed = shuffle_seed
        check_output_splits(self.task_id, self.output_config)
        for given in (query, fingerprint_query):
            if isinstance(given, str) and "@span_" in given:
                raise PipelineError(
                    f"{self.task_id}: a query has TFX's @span_..., but there is no range of spans; write a template in "
                    "its place, e.g. {{ ds }}"
                )

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return where the database is, and the watermark, if there is a query for it."""
        database = Database(parameters["conn_id"], self._connection(parameters["conn_id"]))
        found = {"database": database.place}
        if query := parameters["fingerprint_query"]:
            with database.cursor(self.fingerprint_timeout) as cursor:
                cursor.execute(query)
                found["watermark"] = repr(cursor.fetchone())
        return found

    @property
    def cache_policy(self) -> CachePolicy:
        """Without a watermark the result is not reused."""
        policy = super().cache_policy
        if self.fingerprint_query:
            return policy
        return dataclasses.replace(policy, mode=False, off="without a fingerprint_query the rows may be others")

    def handed_over(self, run: ComponentRun) -> dict[str, str]:
        """The connection goes to the executor only."""
        return {"connection": json.dumps(self._connection(run.parameters["conn_id"]))}

    @staticmethod
    def _connection(conn_id: str) -> dict[str, Any]:
        try:
            found = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException as error:
            raise InvalidInputError(
                f"Airflow has no connection {conn_id!r}; make it, or give another conn_id"
            ) from error
        names = ("conn_type", "host", "port", "schema", "login", "password")
        return {name: getattr(found, name) for name in names} | {"extra": found.extra_dejson}
