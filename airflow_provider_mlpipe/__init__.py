"""TFX-style ML pipelines as an Apache Airflow provider.

The public names are imported when first used, so that a DAG file pays only for what it names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "create_dag": "dag_factory",
    "Channel": "channels",
    "RuntimeParameter": "channels",
    "CsvExampleGenOperator": "components.example_gen.operator",
    "StatisticsGenOperator": "components.statistics_gen.operator",
    "SchemaGenOperator": "components.schema_gen.operator",
    "ImportSchemaGenOperator": "components.schema_gen.operator",
    "ExampleValidatorOperator": "components.example_validator.operator",
    "TransformOperator": "components.transform.operator",
    "TrainerOperator": "components.trainer.operator",
    "EvaluatorOperator": "components.evaluator.operator",
    "PusherOperator": "components.pusher.operator",
    "ImporterOperator": "components.importer.operator",
    "ResolverOperator": "components.resolver.operator",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from airflow_provider_mlpipe.channels import Channel as Channel
    from airflow_provider_mlpipe.channels import RuntimeParameter as RuntimeParameter
    from airflow_provider_mlpipe.components.evaluator.operator import EvaluatorOperator as EvaluatorOperator
    from airflow_provider_mlpipe.components.example_gen.operator import CsvExampleGenOperator as CsvExampleGenOperator
    from airflow_provider_mlpipe.components.example_validator.operator import (
        ExampleValidatorOperator as ExampleValidatorOperator,
    )
    from airflow_provider_mlpipe.components.importer.operator import ImporterOperator as ImporterOperator
    from airflow_provider_mlpipe.components.pusher.operator import PusherOperator as PusherOperator
    from airflow_provider_mlpipe.components.resolver.operator import ResolverOperator as ResolverOperator
    from airflow_provider_mlpipe.components.schema_gen.operator import (
        ImportSchemaGenOperator as ImportSchemaGenOperator,
    )
    from airflow_provider_mlpipe.components.schema_gen.operator import (
        SchemaGenOperator as SchemaGenOperator,
    )
    from airflow_provider_mlpipe.components.statistics_gen.operator import (
        StatisticsGenOperator as StatisticsGenOperator,
    )
    from airflow_provider_mlpipe.components.trainer.operator import TrainerOperator as TrainerOperator
    from airflow_provider_mlpipe.components.transform.operator import TransformOperator as TransformOperator
    from airflow_provider_mlpipe.dag_factory import create_dag as create_dag


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
