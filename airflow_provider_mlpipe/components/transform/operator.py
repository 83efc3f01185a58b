"""TransformOperator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import (
    Artifact,
    ExampleAnomalies,
    Examples,
    ExampleStatistics,
    Schema,
    TransformCache,
    TransformGraph,
)
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Function, IgnoredInput, Input, Inputs, Value
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SplitsConfig

_STATISTICS: dict[str, type[Artifact]] = {
    "pre_transform_stats": ExampleStatistics,
    "pre_transform_schema": Schema,
    "post_transform_stats": ExampleStatistics,
    "post_transform_schema": Schema,
    "post_transform_anomalies": ExampleAnomalies,
}


class TransformOperator(ComponentOperator):
    """Runs the user's `preprocessing_fn` over examples: analyzes whole splits first, then transforms every record.

    Processes on this machine do both, without Beam. If `beam_pipeline_args` name a runner, the runner does both, and
    TFT's own code does the analysis. TFT's own code also does it, in this process, when a function uses what only TFT
    computes: a vocabulary with `labels` (mutual information), with a `key_fn` or an approximate one, a
    `ptransform_analyzer`, or a `tf.py_function`. The log says which code does the analysis.

    Reads `examples` and `schema`. Publishes `transform_graph` (TransformGraph): the graph with its vocabularies and
    both schemas, as `tft.TFTransformOutput` reads them; `transformed_examples` (Examples), one for each of `examples`:
    each transformed split as gzipped TFRecords of tf.Examples, in the order of the input, with a sidecar; and
    `updated_analyzer_cache` (TransformCache): the states of the analyzers for each analyzed split.

    Unless `disable_statistics` is set, it also publishes `pre_transform_stats` (ExampleStatistics): `FeatureStats.pb`
    of all analyzed splits together, with the features that the function reads; `post_transform_stats`
    (ExampleStatistics): the same of all transformed splits; `pre_transform_schema` (Schema) and `post_transform_schema`
    (Schema): what these features should be; and `post_transform_anomalies` (ExampleAnomalies): `SchemaDiff.pb`, where
    the transformed examples differ from their schema. Anomalies do not stop a run.

    With an `analyzer_cache`, an analyzer passes over a split only if the cache lacks its state for the same records. A
    split that no analyzer needs is not read for the analysis. The result is the same with and without the cache. The
    cache keeps the states of TFT's analyzers that depend on the features through stateless TensorFlow ops only. It does
    not keep states that depend on another analyzer's result, nor states of a first pass that needs a table, a variable
    or a random number. When TFT's own code does the analysis, the new cache is a copy of `analyzer_cache`.

    :param examples: a channel of Examples; several are analyzed together
    :param schema: a channel of the Schema to parse the examples with
    :param analyzer_cache: a channel of the TransformCache of an earlier execution, for example from a ResolverOperator
        with the strategy "LatestArtifact"; it is not part of the fingerprint (default None)
    :param module_file: a `.py` file that defines `preprocessing_fn(inputs)`, as in TFX. The fingerprint covers its
        source, the local files that it imports and the versions of the libraries, but not its path. A result is not
        reused if the run imported a local file that the fingerprint does not cover
    :param preprocessing_fn: instead of `module_file`, the function's dotted name, "module.function". The fingerprint
        covers its module in the same way, and the name
    :param custom_config: a dict, for a function that takes `custom_config` (default None: an empty dict)
    :param splits_config: a `SplitsConfig` or its dict: lists the splits to `analyze` and to `transform` (default:
        analyze `train`, and transform every split)
    :param disable_analyzer_cache: whether to analyze everything again, and keep no states for later (default False)
    :param disable_statistics: whether to compute no statistics, and publish none (default False)
    :param stats_options_updater_fn: with `preprocessing_fn`, the dotted name of a function that takes a `StatsType` and
        the `tfdv.StatsOptions` for it, and returns the options to use (default None: TFDV's own defaults, with the
        schema). With `module_file`, the function of this name in the module, if it has one. It may take `custom_config`
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when neither or both of `module_file` and `preprocessing_fn` are given,
    `stats_options_updater_fn` is given with a `module_file`, `splits_config` does not match its message type, or an
    input is not a channel of its type. The task raises UserCodeError when a function is missing, cannot be imported or
    raises an error, or when `preprocessing_fn` has an op that fails on the data (the message has its line), calls an
    analyzer inside another function, such as a tf.function, or returns an output (the message has its name) that is not
    a tensor of tf.int64, tf.float32 or tf.string with a value for each row. It raises InvalidInputError for an unknown
    split, analyzed splits without records, a schema that cannot be read, and the first row that does not fit the
    schema.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {
        "transform_graph": TransformGraph,
        "transformed_examples": Examples,
        "updated_analyzer_cache": TransformCache,
        **_STATISTICS,
    }
    OUTPUTS_PER: ClassVar[dict[str, str]] = {"transformed_examples": "examples"}

    def __init__(
        self,
        *,
        examples: Inputs[Examples],
        schema: Input[Schema],
        analyzer_cache: IgnoredInput[TransformCache] = None,
        module_file: Content[str | None] = None,
        preprocessing_fn: Function[str | None] = None,
        custom_config: Config[Mapping[str, Any] | None] = None,
        splits_config: Config[SplitsConfig | Mapping[str, Any] | None] = None,
        disable_analyzer_cache: Value[bool] = False,
        disable_statistics: Value[bool] = False,
        stats_options_updater_fn: Function[str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (module_file is None) == (preprocessing_fn is None):
            raise PipelineError(f"{self.task_id}: give either module_file or preprocessing_fn")
        if module_file is not None and stats_options_updater_fn is not None:
            raise PipelineError(
                f"{self.task_id}: stats_options_updater_fn is for preprocessing_fn; with module_file, define the "
                "function in the module"
            )
        self.examples = examples
        self.schema = schema
        self.analyzer_cache = analyzer_cache
        self.module_file = module_file
        self.preprocessing_fn = preprocessing_fn
        self.custom_config = custom_config
        self.splits_config = splits_config
        self.disable_analyzer_cache = disable_analyzer_cache
        self.disable_statistics = disable_statistics
        self.stats_options_updater_fn = stats_options_updater_fn

    def output_types(self) -> Mapping[str, type[Artifact]]:
        """Return the types of what it publishes: without statistics if they are disabled."""
        left_out = _STATISTICS.keys() if self.disable_statistics is True else ()
        return {key: kind for key, kind in self.OUTPUTS.items() if key not in left_out}
