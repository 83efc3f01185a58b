"""DistributionValidatorOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, ExampleAnomalies, ExampleStatistics
from airflow_provider_mlpipe.components.distribution_validator.config import check_config
from airflow_provider_mlpipe.exceptions import InvalidInputError, PermanentError, PipelineError
from airflow_provider_mlpipe.pipeline.anomalies_gate import AnomaliesGateOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Input, OptionalInput, Value
from airflow_provider_mlpipe.pipeline.wiring import misfits
from airflow_provider_mlpipe.proto.mlpipe_pb2 import DistributionValidatorConfig
from airflow_provider_mlpipe.storage.split_pairs import check_split_pairs


class DistributionValidatorOperator(AnomaliesGateOperator):
    """Finds features whose distribution differs from that of a baseline, and can stop the run if there are any.

    Reads `statistics` and `baseline_statistics`. Publishes `anomalies` (ExampleAnomalies): for each pair of splits
    `SplitPair-<test>_<base>/SchemaDiff.pb`, a binary `tensorflow.metadata.v0.Anomalies` with the comparison's anomalies
    and the measured distances. The property `blessed` is 1 for a pair without anomalies, otherwise 0; the custom
    property `anomalies` lists the anomalies by pair and feature. A feature that cannot be compared, because one side
    lacks it or its values, is an anomaly with the severity ERROR.

    Without a baseline, as in a first run, nothing is compared: no file is written, and `blessed` is 2 for each pair. It
    is the same for a split whose baseline is itself.

    :param statistics: a channel of ExampleStatistics, to be tested
    :param baseline_statistics: a channel of ExampleStatistics to compare with, such as those of a Resolver, which finds
        none in a first run; or None
    :param config: a DistributionValidatorConfig or a dict of its fields. `default_slice_config` has `feature`, a list
        of {`path`: {`step`: [the feature's name]}, `distribution_comparator`: {comparator: {`threshold`: number}}}, and
        `num_examples_comparator` with `min_fraction_threshold` and `max_fraction_threshold`, for the number of examples
        divided by that of the baseline. The comparators are `jensen_shannon_divergence` (0 to 1; numbers and
        categories), `infinity_norm` (0 to 1; only categories: the largest difference of a value's share) and
        `normalized_abs_difference` (only categories: the largest difference of a value's count, divided by the number
        of all). An anomaly is a distance above its threshold
    :param include_split_pairs: the pairs of splits to compare, [[split of `statistics`, split of
        `baseline_statistics`], ...] (default: those of the same name)
    :param kwargs: `fail_on` (see AnomaliesGateOperator), and everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when an input is not a channel of its type, and when `config` compares
    nothing, names a feature twice, or lacks a threshold. The task raises InvalidInputError for an unknown split, for
    statistics that cannot be read, when no split has examples, and for a feature of numbers with a comparator of
    categories. It raises AnomaliesFoundError, which is not retried, when an anomaly fails the gate.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"anomalies": ExampleAnomalies}
    PART = "split pair"
    REMEDY = "Look for what changed in the data, or raise the thresholds in config"

    def __init__(
        self,
        *,
        statistics: Input[ExampleStatistics],
        baseline_statistics: OptionalInput[ExampleStatistics],
        config: Config[DistributionValidatorConfig | Mapping[str, Any]],
        include_split_pairs: Value[Sequence[Sequence[str]] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.statistics = statistics
        self.baseline_statistics = baseline_statistics
        self.config: Any = config
        self.include_split_pairs = include_split_pairs
        self._check(PipelineError)

    def convert_rendered(self) -> None:
        """As in every component; then what the DAG file did not know is checked, too."""
        super().convert_rendered()
        self._check(InvalidInputError)

    def _check(self, error: type[PermanentError]) -> None:
        with misfits(self.task_id, error):
            check_config(self.config)
            check_split_pairs(self.include_split_pairs)
