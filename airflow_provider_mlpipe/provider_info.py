"""What Airflow asks of a provider package."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's description, in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-mlpipe",
        "name": "ML pipelines",
        "description": "TFX-style ML pipelines: every component an operator, every artifact a row in Postgres.",
    }
