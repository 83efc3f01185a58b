"""An executor that only imports another's module and says when it could begin. Run by bench_warm_parent.py."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.execution.contract import ExecutorContext


def run(*, module: str, said: Artifact, context: ExecutorContext) -> None:
    importlib.import_module(module)
    Path(said.uri, "began").write_text(str(time.time()))
