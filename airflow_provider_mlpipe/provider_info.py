"""The provider's metadata, in the format of Airflow's `provider_info.schema.json`."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's hook, connection form, configuration section and command."""
    return {
        "package-name": "airflow-provider-mlpipe",
        "name": "ML pipelines",
        "description": "TFX-style ML pipelines: each component is an operator, each artifact is a row in Postgres.",
        "hooks": [
            {"integration-name": "ML pipelines", "python-modules": ["airflow_provider_mlpipe.metadata.hook"]},
        ],
        "connection-types": [_CONNECTION],
        "triggers": [{"integration-name": "ML pipelines", "python-modules": ["airflow_provider_mlpipe.triggers"]}],
        "config": {"mlpipe": _CONFIG},
        "cli": ["airflow_provider_mlpipe.cli.commands.get_cli_commands"],
    }


_CONNECTION = {
    "connection-type": "mlpipe",
    "hook-class-name": "airflow_provider_mlpipe.metadata.hook.MlpipeHook",
    "hook-name": "ML pipeline metadata (Postgres)",
    "ui-field-behaviour": {
        "hidden-fields": ["extra"],
        "relabeling": {"schema": "Database"},
        "placeholders": {"host": "localhost", "port": "5432", "schema": "mlpipe", "login": "mlpipe"},
    },
    "conn-fields": {
        "sslmode": {
            "label": "SSL mode",
            "schema": {
                "type": ["string", "null"],
                "enum": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", None],
            },
        },
        "sslrootcert": {"label": "SSL root certificate (path)", "schema": {"type": ["string", "null"]}},
    },
}

_CONFIG = {
    "description": "ML pipelines (airflow-provider-mlpipe)",
    "options": {
        "pipeline_root": {
            "description": "Folder for the outputs of components; a DAG or a component can set its own pipeline_root "
            "instead. Every worker must see it under this path. Empty: the folder `mlpipe` in Airflow's home.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "/srv/mlpipe",
            "default": "",
        },
        "max_memory_mb": {
            "description": "How much memory, in MiB, a component's executor and its processes may use together. "
            "The executor uses one process per core, or fewer, so that each has 1 GiB of this memory. "
            "0: half of the machine's memory. Set it if tasks run in parallel or in a container with a memory limit.",
            "version_added": "0.1.0",
            "type": "integer",
            "example": "4096",
            "default": "0",
        },
        "warm_parent_idle_seconds": {
            "description": "Executors that need TensorFlow are forked from the warm parent, a process that has "
            "imported TensorFlow. Each worker machine has one per user; it takes about 700 MiB. It starts when a run "
            "needs it and ends after this many seconds without work. 0: no warm parent, each executor imports "
            "TensorFlow itself.",
            "version_added": "0.1.0",
            "type": "integer",
            "example": "3600",
            "default": "900",
        },
    },
}
