"""The evaluation of the flight model: a TFMA EvalConfig in its JSON form.

A simple table of rates per carrier and hour reaches an AUC of 0.655, the network 0.766. The threshold is between them,
far from both (`benchmarks/bench_flight_baseline.py` prints the AUC of this table and of finer ones). Accuracy would say
little: three flights in four are on time, so the answer "never late" is right three times in four.
"""

from __future__ import annotations

MIN_AUC = 0.72
MIN_AUC_OF_AN_ORIGIN = 0.69
MAX_AUC_LOSS = 0.01

ALL: dict = {}
BY_ORIGIN = {"feature_keys": ["origin"]}
BY_CARRIER = {"feature_keys": ["carrier"]}

AUC = {
    "class_name": "AUC",
    "per_slice_thresholds": [
        {
            "slicing_specs": [ALL],
            "threshold": {
                "value_threshold": {"lower_bound": MIN_AUC},
                # Compared with the latest blessed model: a small loss is noise, a larger one is not accepted.
                "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": -MAX_AUC_LOSS},
            },
        },
        {
            "slicing_specs": [BY_ORIGIN],
            "threshold": {"value_threshold": {"lower_bound": MIN_AUC_OF_AN_ORIGIN}},
        },
    ],
}

EVAL_CONFIG = {
    "model_specs": [
        {
            "signature_name": "serving_default",
            "label_key": "late",
            "example_weight_key": "weight",  # 0 for the flights that never arrived
        }
    ],
    "slicing_specs": [ALL, BY_ORIGIN, BY_CARRIER],
    "metrics_specs": [
        {
            "metrics": [
                AUC,
                {"class_name": "Calibration"},  # predicted rate of late flights / actual rate; 1 is ideal
                {"class_name": "WeightedExampleCount"},  # flights that arrived
            ]
        },
        {"metrics": [{"class_name": "ExampleCount"}], "example_weights": {"unweighted": True}},  # all flights
    ],
}


def by_day_config() -> dict:
    """The same for a model that is judged on the flights of one day, some three hundred: it must not be worse.

    With so few flights an AUC varies by some hundredths from day to day. So its bound is low, and slices have none.
    """
    bounds = {
        "value_threshold": {"lower_bound": 0.55},
        "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": 0.0},
    }
    auc = {"class_name": "AUC", "per_slice_thresholds": [{"slicing_specs": [ALL], "threshold": bounds}]}
    metrics = [auc, {"class_name": "Calibration"}, {"class_name": "WeightedExampleCount"}]
    return {**EVAL_CONFIG, "slicing_specs": [ALL, BY_ORIGIN], "metrics_specs": [{"metrics": metrics}]}
