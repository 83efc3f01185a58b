"""What an executor's process does not log."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.heavy

_READS_A_SCHEMA = """
from airflow_provider_mlpipe.execution import runner
runner.prepare()
from absl import logging
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio import tensor_representation_util
schema = schema_pb2.Schema()
text_format.Parse('feature { name: "x" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }', schema)
schema.feature.add(name="x_without_a_shape", type="INT")
assert tensor_representation_util.InferTensorRepresentationsFromMixedSchema(schema)
logging.info("Feature %s is another message.", "x")
"""


def test_the_lines_of_tfx_bsl_for_each_feature_alone_are_left_out() -> None:
    ran = subprocess.run([sys.executable, "-c", _READS_A_SCHEMA], capture_output=True, text=True, check=True)
    lines = [line for line in (ran.stdout + ran.stderr).splitlines() if "Feature x" in line or "dim {" in line]
    assert lines == ["absl: Feature x is another message."]
