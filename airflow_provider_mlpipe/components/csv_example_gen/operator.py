"""CsvExampleGenOperator: converts CSV files to splits of gzipped tf.Examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.pipeline.file_example_gen import FileExampleGenOperator
from airflow_provider_mlpipe.pipeline.spec import Value


class CsvExampleGenOperator(FileExampleGenOperator):
    """Converts the CSV files in a folder to tf.Examples, and divides them into splits.

    Reads no artifact. Publishes `examples` (Examples) as FileExampleGenOperator does. As in TFX, the type of a column
    (INT, FLOAT or STRING) is inferred from all its cells in all files of its input split; but a column that is FLOAT in
    one input split is not INT in another. An empty cell is a missing value.

    :param null_values: texts such as "NA" that mean a missing value, as an empty cell does, in every column (default:
        none). Without them the log names columns that are text only because of such cells
    :param kwargs: `input_base`, `input_config`, `output_config` (see FileExampleGenOperator), and everything that
        ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time as FileExampleGenOperator does. The task raises InvalidInputError for files
    that are missing, are not valid CSV or change while they are read, when no input split has a row, and when
    `partition_feature_name` is not an INT or STRING column.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}

    def __init__(self, *, null_values: Value[Sequence[str]] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.null_values = null_values
