"""ParquetExampleGenOperator: converts Parquet files to splits of gzipped tf.Examples."""

from __future__ import annotations

from typing import ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.pipeline.file_example_gen import FileExampleGenOperator


class ParquetExampleGenOperator(FileExampleGenOperator):
    """Converts the Parquet files in a folder to tf.Examples, and divides them into splits.

    Reads no artifact. Publishes `examples` (Examples) as FileExampleGenOperator does. A column becomes a feature, a
    list column one with several values, and a struct a column for each of its fields; `docs/sources.md` lists the
    types. Null alone is missing: 0 and "" are values. Bytes stay bytes, so a column may hold images.

    Its arguments are those of FileExampleGenOperator: `input_base`, `input_config`, `output_config`, `shuffle_seed`.

    Raises PipelineError at DAG parse time as FileExampleGenOperator does. The task raises InvalidInputError, with file,
    row group, column or row, for: a file that is cut off, corrupt or not Parquet; columns that differ between files; a
    type or value that a tf.Example cannot hold; a `partition_feature_name` that is missing, FLOAT or null somewhere.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}
