# The public names and the modules that define them. Use: `from airflow_provider_mlpipe import create_dag`.

from .artifacts import Artifact as Artifact
from .artifacts import PropertyType as PropertyType
from .components.avro_example_gen.operator import AvroExampleGenOperator as AvroExampleGenOperator
from .components.csv_example_gen.operator import CsvExampleGenOperator as CsvExampleGenOperator
from .components.distribution_validator.operator import DistributionValidatorOperator as DistributionValidatorOperator
from .components.evaluator.operator import EvaluatorOperator as EvaluatorOperator
from .components.example_diff.operator import ExampleDiffOperator as ExampleDiffOperator
from .components.example_validator.operator import ExampleValidatorOperator as ExampleValidatorOperator
from .components.import_example_gen.operator import ImportExampleGenOperator as ImportExampleGenOperator
from .components.import_schema_gen.operator import ImportSchemaGenOperator as ImportSchemaGenOperator
from .components.importer.operator import ImporterOperator as ImporterOperator
from .components.parquet_example_gen.operator import ParquetExampleGenOperator as ParquetExampleGenOperator
from .components.pusher.operator import PusherOperator as PusherOperator
from .components.resolver.operator import ResolverOperator as ResolverOperator
from .components.schema_gen.operator import SchemaGenOperator as SchemaGenOperator
from .components.sql_example_gen.operator import SqlExampleGenOperator as SqlExampleGenOperator
from .components.statistics_gen.operator import StatisticsGenOperator as StatisticsGenOperator
from .components.trainer.checkpoint import training_checkpoint as training_checkpoint
from .components.trainer.fn_args import DataAccessor as DataAccessor
from .components.trainer.fn_args import FnArgs as FnArgs
from .components.trainer.operator import TrainerOperator as TrainerOperator
from .components.transform.operator import TransformOperator as TransformOperator
from .components.transform.stats_type import StatsType as StatsType
from .execution.contract import ExecutorContext as ExecutorContext
from .execution.contract import Produced as Produced
from .pipeline.announce_spans import AnnounceSpansOperator as AnnounceSpansOperator
from .pipeline.channels import Channel as Channel
from .pipeline.component import ComponentOperator as ComponentOperator
from .pipeline.dag_factory import create_dag as create_dag
from .pipeline.parameters import RuntimeParameter as RuntimeParameter
from .pipeline.run_span import RunSpan as RunSpan
from .pipeline.spec import Content as Content
from .pipeline.spec import Input as Input
from .pipeline.spec import Inputs as Inputs
from .pipeline.spec import OptionalInput as OptionalInput
from .pipeline.spec import Value as Value
from .settings import default_pipeline_root as default_pipeline_root
from .triggers import NewSpanTrigger as NewSpanTrigger

__version__: str
