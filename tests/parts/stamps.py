"""Results of executors, compared without what their files look like on disk."""

from __future__ import annotations

from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExecutorResult


def without_stamps(result: ExecutorResult) -> ExecutorResult:
    """A copy without the inodes and times of the files."""
    copy = ExecutorResult.FromString(result.SerializeToString())
    for outputs in copy.success.outputs.values():
        for output in outputs.artifacts:
            assert output.files.stamp
            output.files.stamp = ""
    return copy
