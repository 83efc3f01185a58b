"""Equal input gives equal bytes, whichever process makes them, and where: what early cutoff rests on."""

from __future__ import annotations

import importlib.resources
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import taken
from csv_parameters import CSV_PARAMETERS

from airflow_provider_mlpipe.components.transform.operator import TransformOperator

pytestmark = pytest.mark.heavy

# Four executors one after another, in a process that differs from another in all that must not matter.
_CHAIN = """
import json, os, sys
from pathlib import Path

given = json.loads(sys.argv[1])
sys.path.append(given["parts"])
os.umask(given["umask"])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given["processors"]])

from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.components.csv_example_gen import executor as example_gen
from airflow_provider_mlpipe.components.schema_gen import executor as schema_gen
from airflow_provider_mlpipe.components.statistics_gen import executor as statistics_gen
from airflow_provider_mlpipe.components.transform import executor as transform
from airflow_provider_mlpipe.components.transform.operator import TransformOperator
from airflow_provider_mlpipe.storage.digests import tree_digest
from airflow_provider_mlpipe.execution.contract import ExecutorContext

from taken import call_with_one

digests = {}


def run(executor, key=None, **arguments):
    folders = {name: Path(given["root"], name) for name in executor_outputs[executor]}
    for folder in (tmp := Path(given["root"], "tmp", executor.__name__), *folders.values()):
        folder.mkdir(parents=True)
    outputs = {name: executor_outputs[executor][name](uri=str(folder)) for name, folder in folders.items()}
    context = ExecutorContext(component_id="c", execution_id=given["execution_id"], tmp_dir=str(tmp))
    produced = call_with_one(executor.run, **arguments, **outputs, context=context)
    made = []
    for name, output in outputs.items():
        said = produced.get(name)
        digests[name] = [tree_digest(folders[name]), said and said.digest, said and dict(said.properties)]
        made.append(type(output)(uri=output.uri, properties=said.properties if said else {}))
    return made[0]


executor_outputs = {
    example_gen: {"examples": Examples},
    statistics_gen: {"statistics": ExampleStatistics},
    schema_gen: {"schema": Schema},
    transform: TransformOperator.OUTPUTS,
}
splits = [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]
examples = run(
    example_gen,
    input_base=given["input_base"],
    input_config={"splits": [{"name": "all", "pattern": "*.csv"}]},
    output_config={"split_config": {"splits": splits}},
    **given["csv_parameters"],
)
statistics = run(
    statistics_gen,
    examples=examples, schema=None, stats_options=None, exclude_splits=[], sample_rate_by_split={"eval": 0.5},
)
schema = run(schema_gen, statistics=statistics, curated_schema=None, infer_feature_shape=True, exclude_splits=[])
run(
    transform,
    examples=examples, schema=schema, module_file=given["module_file"], preprocessing_fn=None, custom_config=None,
    splits_config=None, analyzer_cache=None, disable_analyzer_cache=False, disable_statistics=False,
    stats_options_updater_fn=None,
)
Path(given["root"], "digests.json").write_text(json.dumps(digests))
"""

_MODULE = """
import tensorflow as tf
import tensorflow_transform as tft


def _dense(values):
    column = tf.SparseTensor(values.indices, values.values, [values.dense_shape[0], 1])
    return tf.sparse.to_dense(column)


def preprocessing_fn(inputs):
    return {
        "mass": tft.scale_to_z_score(_dense(inputs["body_mass_g"])),
        "depth": tft.scale_to_gaussian(_dense(inputs["bill_depth_mm"])),  # it has loops, and functions
        "flipper": tft.bucketize(_dense(inputs["flipper_length_mm"]), 5),
        "island": tft.compute_and_apply_vocabulary(inputs["island"], vocab_filename="island"),
        "species": tft.compute_and_apply_vocabulary(inputs["species"]),
    }
"""


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes made of equal data, by output: the digest of its files, and what its executor said of it."""
    folders = [tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("elsewhere") / "and" / "deeper"]
    differences = [
        {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
        {"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "1"},
    ]
    processes = [
        _start(folder, number, environment)
        for number, (folder, environment) in enumerate(zip(folders, differences, strict=True))
    ]
    assert [process.wait() for process in processes] == [0, 0]
    return [json.loads((folder / "outputs" / "digests.json").read_text()) for folder in folders]


def _start(folder: Path, number: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    data, working = folder / f"data-{number}", folder / "working"
    data.mkdir(parents=True)
    working.mkdir()
    _write_penguins(data / f"penguins{number}.csv")
    (folder / "determined_module.py").write_text(_MODULE)
    given = {
        "root": str(folder / "outputs"),
        "input_base": str(data),
        "module_file": str(folder / "determined_module.py"),
        "execution_id": number + 1,
        "processors": number + 1,
        "csv_parameters": CSV_PARAMETERS,
        "umask": 0o077 if number else 0o022,
        "parts": str(Path(taken.__file__).parent),
    }
    command = [sys.executable, "-c", _CHAIN, json.dumps(given)]
    return subprocess.Popen(command, env=os.environ | environment | {"TMPDIR": str(working)}, cwd=working)


def _write_penguins(path: Path) -> None:
    """The Palmer penguins, with an empty cell where nothing was measured."""
    table = importlib.resources.files("palmerpenguins") / "data" / "penguins.csv"
    lines = [",".join("" if cell == "NA" else cell for cell in line.split(",")) for line in table.read_text().split()]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("output", ["examples", "statistics", "schema", *TransformOperator.OUTPUTS])
def test_two_processes_make_the_same(digests: list[dict[str, Any]], output: str) -> None:
    assert digests[0][output] == digests[1][output]


def test_the_chain_made_something(digests: list[dict[str, Any]]) -> None:
    """Equal, but of nothing, would be equal, too."""
    counts = [digests[0][output][2]["record_counts"] for output in ("examples", "transformed_examples")]
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) == 344
    different = digests[0].keys() - {"pre_transform_schema"}  # SchemaGen's schema again
    assert digests[0]["pre_transform_schema"] == digests[0]["schema"]
    assert len({digests[0][output][0] for output in different}) == len(different)
