"""What Airflow sees of the provider."""

from __future__ import annotations

import json
from pathlib import Path

import airflow
import jsonschema
from airflow.sdk.configuration import conf
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from airflow_provider_mlpipe.provider_info import get_provider_info


def test_the_provider_info_is_what_airflow_asks_for() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_knows_the_connection_type_and_the_configuration() -> None:
    hook = ProvidersManagerTaskRuntime().hooks["mlpipe"]
    assert hook is not None
    assert hook.hook_name == "ML pipeline metadata (Postgres)"
    assert conf.get("mlpipe", "pipeline_root") == ""
    assert conf.getint("mlpipe", "warm_parent_idle_seconds") == 900
