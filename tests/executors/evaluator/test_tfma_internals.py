"""What `tfma_internals.py` and its measures know of TFMA's sources is true of the versions listed here."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

# By file, the first digits of its sha256 in each version that the package runs with.
KNOWN = {
    "api/model_eval_lib.py": {"0.47.1": "a3f7ecc77842", "0.52.0": "bf97decd805f"},
    "contrib/aggregates/binary_confusion_matrices.py": {"0.47.1": "181637c8afdc", "0.52.0": "c0d6b5d70fe2"},
    "evaluators/confidence_intervals_util.py": {"0.47.1": "3f4274ea4e1f", "0.52.0": "1f6c34c0702c"},
    "evaluators/jackknife.py": {"0.47.1": "09f3ee3c9de6", "0.52.0": "d95447b2572f"},
    "evaluators/metrics_plots_and_validations_evaluator.py": {"0.47.1": "234b3888b662", "0.52.0": "267ac18cdbc6"},
    "evaluators/metrics_validator.py": {"0.47.1": "0728638a2aad", "0.52.0": "a8a8f31fd9ad"},
    "evaluators/poisson_bootstrap.py": {"0.47.1": "02595e1ce596", "0.52.0": "de66aca7b026"},
    "extractors/example_weights_extractor.py": {"0.47.1": "24d5540cdfb5", "0.52.0": "2af20de60904"},
    "extractors/features_extractor.py": {"0.47.1": "783af5aae401", "0.52.0": "9703d050fc4e"},
    "extractors/labels_extractor.py": {"0.47.1": "784c7472fb6a", "0.52.0": "6e3444363861"},
    "extractors/predictions_extractor.py": {"0.47.1": "1ae008ab32a7", "0.52.0": "5c0d04fe528d"},
    "extractors/slice_key_extractor.py": {"0.47.1": "733d9a21db4f", "0.52.0": "5c91ef043d47"},
    "extractors/transformed_features_extractor.py": {"0.47.1": "7b413df3f979", "0.52.0": "6b079a7f8315"},
    "metrics/aggregation.py": {"0.47.1": "bdab6be6b9f0", "0.52.0": "41317eaa6034"},
    "metrics/binary_confusion_matrices.py": {"0.47.1": "4ebe6ab65226", "0.52.0": "b87c7a6fe683"},
    "metrics/calibration.py": {"0.47.1": "d8c7a45245e4", "0.52.0": "322bab3ca2c8"},
    "metrics/calibration_histogram.py": {"0.47.1": "7b2be4726564", "0.52.0": "dd9b6dcffa14"},
    "metrics/cross_entropy_metrics.py": {"0.47.1": "a2ddb41e848c", "0.52.0": "d9db532917f4"},
    "metrics/example_count.py": {"0.47.1": "871181b22d4c", "0.52.0": "2ef43e5abad0"},
    "metrics/mean_regression_error.py": {"0.47.1": "9fb2fa232274", "0.52.0": "61ea21164787"},
    "metrics/metric_specs.py": {"0.47.1": "7fbb1bdba8c6", "0.52.0": "8d06b1a4f4ab"},
    "metrics/metric_types.py": {"0.47.1": "5557db53ae70", "0.52.0": "bbbf3e6c8e6b"},
    "metrics/metric_util.py": {"0.47.1": "258c7f8612c2", "0.52.0": "6b757314b67a"},
    "metrics/multi_class_confusion_matrix_metrics.py": {"0.47.1": "b76dfdb0c6c5", "0.52.0": "2b0339935888"},
    "metrics/squared_pearson_correlation.py": {"0.47.1": "f291d21ca4e0", "0.52.0": "4dd8bc06334e"},
    "metrics/tf_metric_accumulators.py": {"0.47.1": "99e9f4fc625d", "0.52.0": "c959dd0d2a06"},
    "metrics/tf_metric_wrapper.py": {"0.47.1": "76b8da3bbfe1", "0.52.0": "ae205e8f465f"},
    "metrics/tjur_discrimination.py": {"0.47.1": "24cbb388d2e1", "0.52.0": "48d36b36e39b"},
    "slicer/slice_accessor.py": {"0.47.1": "eb9b36037fe7", "0.52.0": "94a08e921b70"},
    "slicer/slicer_lib.py": {"0.47.1": "c5350e54b169", "0.52.0": "1f5c68bfb338"},
    "utils/model_util.py": {"0.47.1": "6d0b65f75097", "0.52.0": "4d57e701deb9"},
    "utils/util.py": {"0.47.1": "c063131d7f62", "0.52.0": "58f2d4a229ae"},
    "writers/eval_config_writer.py": {"0.47.1": "861d568c4b6f", "0.52.0": "dce2209e1463"},
    "writers/metrics_plots_and_validations_writer.py": {"0.47.1": "462cca710d95", "0.52.0": "5400f8ab04ba"},
}


@pytest.mark.parametrize("name", KNOWN)
def test_tfma_is_as_the_kernel_knows_it(name: str) -> None:
    distribution = importlib.metadata.distribution("tensorflow-model-analysis")
    path = Path(str(distribution.locate_file("tensorflow_model_analysis")), name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert digest in KNOWN[name].values(), (
        f"TFMA {distribution.version} has another {name} than {', '.join(KNOWN[name])}. Compare the two: if what "
        f"components/evaluator/tfma_internals.py, measures.py, kernel.py and results.py do is still what it does, add "
        f"{digest!r} here; else correct them, and see that test_equality.py passes"
    )
