"""CsvExampleGenOperator: converts CSV files to splits of gzipped tf.Examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError, PermanentError, PipelineError
from airflow_provider_mlpipe.pipeline.declared import IsLater, as_written
from airflow_provider_mlpipe.pipeline.file_example_gen import FileExampleGenOperator
from airflow_provider_mlpipe.pipeline.parameters import is_known_later
from airflow_provider_mlpipe.pipeline.spec import Value
from airflow_provider_mlpipe.records.csv_dialect import dialect_problem


class CsvExampleGenOperator(FileExampleGenOperator):
    r"""Converts the CSV files in a folder to tf.Examples, and divides them into splits.

    Reads no artifact. Publishes `examples` (Examples) as FileExampleGenOperator does. As in TFX, the type of a column
    (INT, FLOAT or STRING) is inferred from all its cells in all files of its input split; but a column that is FLOAT in
    one input split is not INT in another. An empty cell is a missing value. A file whose name ends in `.gz` is
    decompressed as it is read.

    :param null_values: texts such as "NA" that mean a missing value, as an empty cell does, in every column (default:
        none). Without them the log names columns that are text only because of such cells
    :param delimiter: the character between the cells: "," (default), "\t", ";", "|" or another of ASCII
    :param quote: the character around a cell that holds a delimiter, a line break or, doubled, itself (default: '"');
        None if no cell is quoted
    :param encoding: the encoding of the files, by the name that Python's codecs have for it (default "utf-8"). A byte
        order mark is no data
    :param kwargs: `input_base`, `input_config`, `output_config`, `shuffle_seed` (see FileExampleGenOperator), and
        everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time as FileExampleGenOperator does, and for a delimiter, quote or encoding that
    cannot be used. The task raises InvalidInputError for files that are missing, are not valid CSV, gzip or text in
    `encoding`, or change while they are read, when no input split has a row, and when `partition_feature_name` is not
    an INT or STRING column.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}

    def __init__(
        self,
        *,
        null_values: Value[Sequence[str]] = (),
        delimiter: Value[str] = ",",
        quote: Value[str | None] = '"',
        encoding: Value[str] = "utf-8",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.null_values = null_values
        self.delimiter = delimiter
        self.quote = quote
        self.encoding = encoding
        self._check_dialect(is_known_later, PipelineError)

    def convert_rendered(self) -> None:
        """As in every component; then how the cells are written is known."""
        super().convert_rendered()
        self._check_dialect(as_written, InvalidInputError)

    def _check_dialect(self, is_later: IsLater, error: type[PermanentError]) -> None:
        given: dict[str, Any] = {name: getattr(self, name) for name in ("delimiter", "quote", "encoding")}
        known = {name: value for name, value in given.items() if not is_later(value, Any, name)}
        if problem := dialect_problem(**known):
            raise error(f"{self.task_id}: {problem}")
