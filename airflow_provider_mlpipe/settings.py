"""The `[mlpipe]` section of Airflow's configuration."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk.configuration import conf

SECTION = "mlpipe"


def default_pipeline_root() -> str:
    """`[mlpipe] pipeline_root`, else the folder `mlpipe` in Airflow's home."""
    configured = conf.get(SECTION, "pipeline_root", fallback="")
    return configured or str(Path(_airflow_home(), "mlpipe"))


def max_memory_mb() -> int | None:
    """`[mlpipe] max_memory_mb`, None when it is not set; raises AirflowConfigException when it is no number."""
    return conf.getint(SECTION, "max_memory_mb", fallback=0) or None


def _airflow_home() -> str:
    from airflow.configuration import AIRFLOW_HOME

    return AIRFLOW_HOME
