"""The `[mlpipe]` section of Airflow's configuration."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk.configuration import conf

SECTION = "mlpipe"


def default_pipeline_root() -> str:
    """`[mlpipe] pipeline_root`, else the folder `mlpipe` in Airflow's home."""
    configured = conf.get(SECTION, "pipeline_root", fallback="")
    return configured or str(Path(airflow_home(), "mlpipe"))


def max_memory_mb() -> int | None:
    """`[mlpipe] max_memory_mb`, None when it is not set; raises AirflowConfigException when it is not a number."""
    return conf.getint(SECTION, "max_memory_mb", fallback=0) or None


def warm_parent_idle_seconds() -> int:
    """`[mlpipe] warm_parent_idle_seconds`; raises AirflowConfigException when it is not a number."""
    seconds: int = conf.getint(SECTION, "warm_parent_idle_seconds", fallback=900)
    return seconds


def airflow_home() -> str:
    """Airflow's home folder."""
    from airflow.configuration import AIRFLOW_HOME

    return AIRFLOW_HOME
