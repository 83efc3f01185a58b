"""FileExampleGenOperator: the base of the operators that convert the files of a folder to splits of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output
from airflow_provider_mlpipe.storage import sources
from airflow_provider_mlpipe.storage.layout import path_part_problem

ONE_SPLIT: dict[str, Any] = {"splits": [{"name": "single_split", "pattern": "*"}]}
"""The default `input_config`."""

TRAIN_AND_EVAL: dict[str, Any] = {
    "split_config": {"splits": [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]}
}
"""The default `output_config` of a single input split."""


class FileExampleGenOperator(ComponentOperator):
    """Converts the files in a folder to records, and divides them into splits.

    A subclass publishes `examples` (Examples): one gzipped TFRecord file per output split, at
    `Split-<name>/data_tfrecord-00000-of-00001.gz`, with the properties `splits` and `record_counts`.

    :param input_base: the folder. The fingerprint covers the content of the matching files, in the order of their
        paths, but not where they are or what they are called
    :param input_config: an `Input` message or its dict: names the input splits and the glob `pattern` of their files
        (default: one split with all files that match `*`)
    :param output_config: an `Output` message or its dict: divides the one input split into output splits in proportion
        to their `hash_buckets`, by a hash of each record, or of its feature `partition_feature_name` (default:
        train:eval = 2:1). Not allowed with several input splits, which are published under their own names
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when a config does not match its message type, or the two configs do not
    match each other. The task raises InvalidInputError when `input_base` is not a folder, a pattern matches no file, a
    file changes while it is read, or no input split has a record.
    """

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
        self.input_config: Any = input_config or ONE_SPLIT
        self.output_config: Any = output_config or self._default_output()
        self._check_splits()

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return a digest per input split: of the content of its files, in the order in which they are read."""
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
        if outputs and len(inputs) != 1:
            names = ", ".join(str(split.get("name")) for split in inputs)
            raise PipelineError(
                f"{self.task_id}: output_config needs exactly one input split, but input_config has {names}; leave out "
                "output_config to publish them under their own names"
            )
        _check(self.task_id, "input_config", inputs, "pattern")
        check_output_splits(self.task_id, self.output_config)


def check_output_splits(task_id: str, output_config: Any) -> None:
    """Raise PipelineError for output splits without a name or bucket, and for a partition feature without splits."""
    deal = output_config.get("split_config", {})
    if not _splits(deal) and deal.get("partition_feature_name"):
        raise PipelineError(f"{task_id}: partition_feature_name needs output splits; list some")
    _check(task_id, "output_config", _splits(deal), "hash_buckets")


def _splits(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(config.get("splits", ()))


def _check(task_id: str, parameter: str, splits: list[Mapping[str, Any]], field: str) -> None:
    names = [split.get("name") for split in splits]
    for place, split in enumerate(splits):
        if not split.get("name") or not split.get(field):
            raise PipelineError(
                f"{task_id}: {parameter} split {place + 1} needs a name and a {field}, but it has {dict(split)}"
            )
        if problem := path_part_problem(split["name"]):
            raise PipelineError(f"{task_id}: {parameter} names a split {split['name']!r}, which {problem}")
        if split["name"] in names[:place]:
            raise PipelineError(f"{task_id}: {parameter} names the split {split['name']!r} twice")
