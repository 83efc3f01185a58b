"""ExampleDiffOperator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, ExamplesDiff
from airflow_provider_mlpipe.components.example_diff.config import check_config, check_share
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError, InvalidInputError, PermanentError, PipelineError
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Ignored, Input, Value
from airflow_provider_mlpipe.pipeline.wiring import misfits
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExampleDiffConfig
from airflow_provider_mlpipe.storage.split_pairs import check_split_pairs


class ExampleDiffOperator(ComponentOperator):
    """Pairs examples by their identifiers, reports in which features they differ, and can stop the run because of it.

    It finds where the same thing has other features, such as in training and in serving, although the distributions are
    the same. Processes on this machine do the work, in a database in a temporary folder, also when `beam_pipeline_args`
    name a runner.

    Reads `examples_test` and `examples_base`. Publishes `example_diff_result` (ExamplesDiff): for each pair of splits a
    folder `SplitPair-<test>_<base>/` with TFX's files, TFRecords of the messages of TFDV's feature_skew_results.proto:
    `skew_stats`, a FeatureSkew for each feature; `match_stats`, the MatchStats; `sample_pairs`, a sample of SkewPairs;
    and `confusion`, the ConfusionCounts. `summary.json` has the same without TensorFlow. The property `pair_counts`
    says how many pairs of examples there are, `differing_counts` how many of them differ, each by pair of splits.

    A feature without values, whether it is left out or an empty list, equals another one. Floats are equal if their
    bits are. An example without a partner, or without an identifier, is counted, and not compared.

    :param examples_test: a channel of Examples, to be tested
    :param examples_base: a channel of Examples to compare with
    :param config: an ExampleDiffConfig or a dict of its fields. `paired_example_skew` has `identifier_features`, the
        names of the features that examples of a pair have in common; `ignore_features`, those that are not compared;
        `skew_sample_size`, how many differing pairs to publish (default 0); `float_round_ndigits`, to how many digits
        after the decimal point floats are rounded before (default: not at all; in TFX 0);
        `allow_duplicate_identifiers`, whether each of several examples with the same identifiers is compared with each
        of the other side (default: they are an error); and `confusion_config`, [{`feature_name`: name}, ...], features
        of at most one text, of which each pair of values is counted
    :param include_split_pairs: the pairs of splits to compare, [[split of `examples_test`, split of `examples_base`],
        ...] (default: those of the same name; in TFX all)
    :param max_diff_share: after the result is published, the task fails if a greater share of the pairs differs, from 0
        to 1. Everything else that reads `examples_test` waits for this task (default None: the task does not fail). Not
        part of the fingerprint: the gate checks a cached result, too
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when an input is not a channel of its type, or `config` does not fit. The
    task raises InvalidInputError for an unknown split or feature, for identifiers of different types, for duplicates
    that are not allowed, for a confusion feature with numbers or several values, and when no example has a partner. It
    raises AnomaliesFoundError, which is not retried, when more pairs differ than `max_diff_share` allows.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"example_diff_result": ExamplesDiff}

    def __init__(
        self,
        *,
        examples_test: Input[Examples],
        examples_base: Input[Examples],
        config: Config[ExampleDiffConfig | Mapping[str, Any]],
        include_split_pairs: Value[Sequence[Sequence[str]] | None] = None,
        max_diff_share: Ignored[float | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.examples_test = examples_test
        self.examples_base = examples_base
        self.config: Any = config
        self.include_split_pairs = include_split_pairs
        self.max_diff_share = max_diff_share
        self._check(PipelineError)

    def convert_rendered(self) -> None:
        """As in every component; then what the DAG file did not know is checked, too."""
        super().convert_rendered()
        self._check(InvalidInputError)

    def gated_channels(self) -> list[Channel[Any]]:
        """Return the channel of the tested examples, whose readers wait for the gate; none without one."""
        is_gate = self.max_diff_share is not None and isinstance(self.examples_test, Channel)
        return [self.examples_test] if is_gate else []

    def check_gate(self, outputs: Mapping[str, Sequence[Artifact]]) -> None:
        """Raise AnomaliesFoundError, with the features that differ most, if too many pairs differ."""
        if self.max_diff_share is None:
            return
        share = float(self.max_diff_share)  # type: ignore[arg-type]
        artifacts = outputs.get("example_diff_result", ())
        if found := [line for artifact in artifacts for line in _beyond(artifact, share)]:
            raise AnomaliesFoundError(
                f"{self.task_id}: more pairs differ than max_diff_share={share:g} allows:\n"
                + "\n".join(found)
                + "\nLook for the cause in the summary.json there, or raise max_diff_share."
            )

    def _check(self, error: type[PermanentError]) -> None:
        with misfits(self.task_id, error):
            check_config(self.config)
            check_split_pairs(self.include_split_pairs)
            check_share(self.max_diff_share)


def _beyond(artifact: Artifact, most: float) -> Iterator[str]:
    counts, differing = artifact.properties["pair_counts"], artifact.properties["differing_counts"]
    for pair, count in counts.items():
        if (share := differing[pair] / count) > most:
            most_different = artifact.custom_properties["most_different"][pair]
            named = ", ".join(f"{feature} ({number:,})" for feature, number in most_different.items())
            yield (
                f"  {artifact.uri}, split pair {pair}: {differing[pair]:,} of {count:,} pairs differ ({share:.4g}), in "
                f"{named}"
            )
