"""AvroExampleGenOperator: converts Avro files to splits of gzipped tf.Examples."""

from __future__ import annotations

from typing import ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.pipeline.file_example_gen import FileExampleGenOperator


class AvroExampleGenOperator(FileExampleGenOperator):
    """Converts the Avro files in a folder to tf.Examples, and divides them into splits.

    Reads no artifact. Publishes `examples` (Examples) as FileExampleGenOperator does. A field becomes a feature, an
    array one with several values, and a nested record a feature for each of its fields; `docs/sources.md` lists the
    types. Null alone is missing: 0 and "" are values.

    Its arguments are those of FileExampleGenOperator: `input_base`, `input_config`, `output_config`, `shuffle_seed`.

    Raises PipelineError at DAG parse time as FileExampleGenOperator does. The task raises InvalidInputError, with file,
    byte, column or row, for: a file that is cut off, corrupt or not Avro; columns that differ between files; a type or
    value that a tf.Example cannot hold; a `partition_feature_name` that is missing, FLOAT or null somewhere.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}
