"""Runs one component as a task process would, without Airflow around it: `python -m run_part DSN ROOT REQUEST_JSON`.

Prints what it published as JSON on the last line, or the error as `ErrorType: message` with exit code 3.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import parts
from light_parent import light_parent
from named_runs import named_run

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching.driver import ComponentRun
from airflow_provider_mlpipe.exceptions import MlpipeError
from airflow_provider_mlpipe.forms import to_dict
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.declared import converted
from airflow_provider_mlpipe.pipeline.node import Published


def component(name: str, dsn: str, root: str, **arguments: Any) -> ComponentOperator:
    """An operator of parts.py whose store is at `dsn`."""
    operator: ComponentOperator = getattr(parts, f"{name}Operator")(pipeline_root=root, **arguments)
    operator.__dict__["store"] = MetadataStore(dsn)
    return operator


def component_run(
    operator: ComponentOperator, *, run_id: str = "run", try_number: int = 1, inputs: dict[str, Artifact] | None = None
) -> ComponentRun:
    """The try that Airflow's context would describe."""
    parameters = {name: getattr(operator, name) for name in operator.SPEC.parameters}
    plain = {key: converted(value, Any, key) for key, value in parameters.items()}
    return ComponentRun(
        spec=operator.SPEC,
        dag_run=named_run("pipeline", run_id),
        component_id=operator.task_id,
        map_index=-1,
        try_number=try_number,
        triggered_by="test",
        inputs=dict.fromkeys(operator.SPEC.inputs, ()) | {key: [artifact] for key, artifact in (inputs or {}).items()},
        parameters=plain,
        shown=plain,
        resolved=plain,
        external=operator.external_inputs(plain),
        cache=operator.cache_policy,
    )


def run(operator: ComponentOperator, **how: Any) -> Published:
    """Runs one try and looks at the gate, as `execute` does."""
    published = operator.run_node(component_run(operator, **how))
    operator.check_gate(published)
    return published


def main(dsn: str, root: str, request: str) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    asked = json.loads(request)
    operator = component(asked["component"], dsn, root, **asked.get("arguments", {}))
    if parent := asked.get("parent"):
        operator.__dict__["warm_parent"] = lambda: light_parent(Path(parent))
    try:
        published = run(operator, **asked.get("how", {}))
    except MlpipeError as error:
        print(f"{type(error).__name__}: {error}")
        return 3
    print(json.dumps({key: [to_dict(artifact) for artifact in found] for key, found in published.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
