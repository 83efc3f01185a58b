"""ImportExampleGenOperator: takes over the records of TFRecord files."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.file_example_gen import FileExampleGenOperator
from airflow_provider_mlpipe.pipeline.spec import Value

PayloadFormat = Literal["FORMAT_TF_EXAMPLE", "FORMAT_TF_SEQUENCE_EXAMPLE", "FORMAT_PROTO"]


class ImportExampleGenOperator(FileExampleGenOperator):
    """Divides the records of the TFRecord files in a folder, gzipped or not, into splits; no byte of them changes.

    Reads no artifact. Publishes `examples` (Examples) as FileExampleGenOperator does. The other components read
    tf.Examples; records of other formats are for code of your own.

    :param payload_format: what the records are: FORMAT_TF_EXAMPLE (default), FORMAT_TF_SEQUENCE_EXAMPLE, or
        FORMAT_PROTO for any bytes
    :param kwargs: `input_base`, `input_config`, `output_config`, `shuffle_seed` (see FileExampleGenOperator), and
        everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time as FileExampleGenOperator does, and for a `partition_feature_name` with
    another format than FORMAT_TF_EXAMPLE. The task raises InvalidInputError, with file and record, for: a file that is
    cut off or corrupt; a record of another format; a feature with values of two types; a `partition_feature_name` that
    is missing somewhere, or FLOAT.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}

    def __init__(self, *, payload_format: Value[PayloadFormat] = "FORMAT_TF_EXAMPLE", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.payload_format = payload_format
        feature = self.output_config.get("split_config", {}).get("partition_feature_name")
        if feature and payload_format != "FORMAT_TF_EXAMPLE":
            raise PipelineError(
                f"{self.task_id}: partition_feature_name needs records of FORMAT_TF_EXAMPLE, not {payload_format}"
            )
