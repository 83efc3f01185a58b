"""TransformOperator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Schema, TransformCache, TransformGraph
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Function, IgnoredInput, Input, Value
from airflow_provider_mlpipe.proto.configs import config_dict
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SplitsConfig


class TransformOperator(ComponentOperator):
    """Runs the user's `preprocessing_fn` over examples: analysis in a full pass, then every record.

    Processes on this machine do both, without Beam. Where `beam_pipeline_args` name a runner, it does, and the analysis
    is TFT's own code. So it is, in this process, for what that code alone computes: vocabularies by mutual information
    with `labels`, with a `key_fn`, or approximate, a `ptransform_analyzer`, a `tf.py_function`. The log says so.

    Reads `examples` and `schema`. Publishes `transform_graph` (TransformGraph): what `tft.TFTransformOutput` reads, the
    graph with its vocabularies and both schemas; `transformed_examples` (Examples): each transformed split as gzipped
    TFRecords of tf.Examples, in the order of the input, with their sidecar; and `updated_analyzer_cache`
    (TransformCache): what the analyzers have kept of each analyzed split.

    With an `analyzer_cache` only those analyzers pass over a split that no earlier execution has run over the same
    records; a split for which that leaves none is not read for the analysis. Neither the cache nor its absence shows
    in the result. Kept is what analyzers of TFT compute from the features, by TensorFlow's own ops without state: not
    what depends on another analyzer's result, nothing of a first pass that needs a table, a variable or a random
    number. Where TFT's own code analyzes, nothing is added to what was there.

    :param examples: a channel of Examples
    :param schema: a channel of the Schema by which the examples are parsed
    :param analyzer_cache: a channel of the TransformCache of an earlier execution, say from a ResolverOperator with the
        strategy "LatestArtifact"; it does not count for Transform's own cache (default None)
    :param module_file: a `.py` file that defines `preprocessing_fn(inputs)`, as in TFX. For the cache its source, the
        local files that it imports and the versions of the libraries count, and not its path; a result is not reused
        when a local file was imported in another way, and so could not be counted
    :param preprocessing_fn: instead of `module_file`, the function's dotted name, "module.function", whose module
        counts in the same way, and so does the name
    :param custom_config: a dict, for a function that takes `custom_config` (default None: it is given an empty one)
    :param splits_config: a `SplitsConfig` or its dict: lists the splits to `analyze` and to `transform` (default:
        `train` is analyzed, and every split transformed)
    :param disable_analyzer_cache: whether to analyze everything anew, and keep nothing for later (default False)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError when the DAG is parsed and neither or both of `module_file` and `preprocessing_fn` are given,
    `splits_config` does not fit, or an input is no channel of its type. The task raises UserCodeError when the function
    is missing, does not import, raises (with its line), or returns an output (it is named) that is no tensor of
    tf.int64, tf.float32 or tf.string with a value for each row; and InvalidInputError for an unknown split, analyzed
    splits without records, and a schema that cannot be read.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {
        "transform_graph": TransformGraph,
        "transformed_examples": Examples,
        "updated_analyzer_cache": TransformCache,
    }

    def __init__(
        self,
        *,
        examples: Input[Examples],
        schema: Input[Schema],
        analyzer_cache: IgnoredInput[TransformCache] = None,
        module_file: Content[str | None] = None,
        preprocessing_fn: Function[str | None] = None,
        custom_config: Config[Mapping[str, Any] | None] = None,
        splits_config: Config[SplitsConfig | Mapping[str, Any] | None] = None,
        disable_analyzer_cache: Value[bool] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (module_file is None) == (preprocessing_fn is None):
            raise PipelineError(f"{self.task_id}: give either module_file or preprocessing_fn")
        self.examples = examples
        self.schema = schema
        self.analyzer_cache = analyzer_cache
        self.module_file = module_file
        self.preprocessing_fn = preprocessing_fn
        self.custom_config = custom_config
        self.splits_config = config_dict(SplitsConfig, splits_config, parameter="splits_config")
        self.disable_analyzer_cache = disable_analyzer_cache
