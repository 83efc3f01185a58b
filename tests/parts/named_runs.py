"""Runs for tests without Airflow: each has the key of its name."""

from __future__ import annotations

import uuid

from airflow_provider_mlpipe.metadata.store import Run


def named_run(pipeline: str, run_id: str) -> Run:
    return Run(pipeline=pipeline, run_id=run_id, key=str(uuid.uuid5(uuid.NAMESPACE_OID, repr((pipeline, run_id)))))
