"""The names of metrics that a DAG file may use are those that the installed TFMA and Keras know."""

from __future__ import annotations

import inspect

import pytest

from airflow_provider_mlpipe.components.evaluator.metric_names import KERAS, TFMAS

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]


def test_the_recorded_names_are_those_of_the_installed_libraries() -> None:
    from airflow_provider_mlpipe.records import keras3  # noqa: F401

    # isort: split
    import tensorflow_model_analysis  # noqa: F401
    from tensorflow_model_analysis.metrics import metric_types
    from tensorflow_model_analysis.utils.keras_lib import tf_keras

    where_names_are_looked_up = inspect.getmodule(tf_keras.metrics.deserialize)
    classes = {
        name
        for name, found in vars(where_names_are_looked_up).items()
        if inspect.isclass(found) and issubclass(found, tf_keras.metrics.Metric)
    }
    assert set(metric_types.registered_metrics()) == TFMAS
    assert classes == KERAS
