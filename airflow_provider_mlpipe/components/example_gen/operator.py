"""CsvExampleGenOperator: CSV files to split, gzipped tf.Examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content
from airflow_provider_mlpipe.proto.configs import config_dict
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output
from airflow_provider_mlpipe.storage import sources

ONE_SPLIT: dict[str, Any] = {"splits": [{"name": "single_split", "pattern": "*"}]}
"""The default `input_config`."""

TRAIN_AND_EVAL: dict[str, Any] = {
    "split_config": {"splits": [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]}
}
"""The default `output_config` of a single input split."""


class CsvExampleGenOperator(ComponentOperator):
    """Turns the CSV files in a folder into tf.Examples, dealt to splits.

    Reads no artifact. Publishes `examples` (Examples): one gzipped TFRecord file of tf.Examples per output split, at
    `Split-<name>/data_tfrecord-00000-of-00001.gz`, with the properties `splits` and `record_counts`. A column becomes
    an INT, FLOAT or STRING feature by all its cells in all files of its input split, as in TFX; an empty cell is a
    missing value.

    :param input_base: the folder; for the cache only what the matching files hold counts, in the order of their paths,
        not where they are or what they are called
    :param input_config: an `Input` message or its dict: names the input splits and the glob `pattern` of their files
        (default: one split, of all files that `*` matches)
    :param output_config: an `Output` message or its dict: deals the one input split to output splits in proportion to
        their `hash_buckets`, by a hash of each record, or of its feature `partition_feature_name` (default:
        train:eval = 2:1). Not for several input splits, which pass through under their own names
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError when the DAG is parsed and a config does not fit its message, or the two do not fit each other.
    The task raises InvalidInputError when `input_base` is no folder, a pattern matches no file, a file is no proper CSV
    or changes while it is read, there are no rows, or `partition_feature_name` is no INT or STRING column.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}

    def __init__(
        self,
        *,
        input_base: Content[str],
        input_config: Config[Input | Mapping[str, Any] | None] = None,
        output_config: Config[Output | Mapping[str, Any] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_base = input_base
        self.input_config = config_dict(Input, input_config, parameter="input_config") or ONE_SPLIT
        self.output_config = config_dict(Output, output_config, parameter="output_config") or self._default_output()
        self._check_splits()

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Only what the matching files hold counts, in the order in which they are read."""
        return {
            f"split {split['name']}": sources.source_digest(
                sources.input_files(parameters["input_base"], split["pattern"])
            )
            for split in parameters["input_config"]["splits"]
        }

    def _default_output(self) -> dict[str, Any]:
        return TRAIN_AND_EVAL if len(_splits(self.input_config)) == 1 else {}

    def _check_splits(self) -> None:
        inputs, outputs = _splits(self.input_config), _splits(self.output_config.get("split_config", {}))
        if not inputs:
            raise PipelineError(f"{self.task_id}: input_config has no split")
        if not outputs and self.output_config.get("split_config", {}).get("partition_feature_name"):
            raise PipelineError(f"{self.task_id}: partition_feature_name needs output splits to deal to")
        if outputs and len(inputs) != 1:
            names = ", ".join(str(split.get("name")) for split in inputs)
            raise PipelineError(
                f"{self.task_id}: output_config needs exactly one input split, input_config has {names}; leave out "
                "output_config to pass them through under their own names"
            )
        _check(self.task_id, "input_config", inputs, "pattern")
        _check(self.task_id, "output_config", outputs, "hash_buckets")


def _splits(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(config.get("splits", ()))


def _check(task_id: str, parameter: str, splits: list[Mapping[str, Any]], field: str) -> None:
    names = [split.get("name") for split in splits]
    for place, split in enumerate(splits):
        if not split.get("name") or not split.get(field):
            raise PipelineError(
                f"{task_id}: {parameter} split {place + 1} needs a name and a {field}, has {dict(split)}"
            )
        if split["name"] in names[:place]:
            raise PipelineError(f"{task_id}: {parameter} names the split {split['name']!r} twice")
