"""Trainer on the flights: how long its data takes to come, and the whole component, from the sidecar and without one.

Without a sidecar the dataset is tfx_bsl's own, which is what TFX gives a `run_fn`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_example_gen import make
from bench_transform import FLIGHTS
from measured import HEAD, Run, measure, ratio, report
from tables import table

BATCHES = (64, 1024, 8192)


def figures() -> Iterator[list[str]]:
    from flights import data

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data.prepare(root / "flights")
        make(root / "flights", root / "raw")
        transformed = root / "transformed"
        measure(str(Path(__file__).with_name("bench_transform.py")), "ours", root / "raw", transformed)
        without = root / "without"
        shutil.copytree(transformed, without, ignore=shutil.ignore_patterns("Arrow-*"))
        for batch in BATCHES:
            for order in ("in order", "shuffled"):
                runs = [measure(__file__, "read", one, batch, order) for one in (without, transformed)]
                yield from lines(f"one pass, {order}, batches of {batch:,}", *runs)
        runs = [measure(__file__, "train", one, root / f"model-{one.name}") for one in (without, transformed)]
        yield from lines("the component, with its training", *runs)


def lines(what: str, stock: Run, ours: Run) -> Iterator[list[str]]:
    yield [f"{what}: tfx_bsl's reader", *stock.cells(), ""]
    yield [f"{what}: from the sidecar", *ours.cells(), ratio(stock, ours)]


def read(folder: str, batch: str, order: str) -> None:
    """What the fresh process does: take every batch of `train`."""
    import tensorflow_transform as tft
    from tfx_bsl.public.tfxio import TensorFlowDatasetOptions

    from airflow_provider_mlpipe.components.trainer.executor import tf_dataset

    schema = tft.TFTransformOutput(f"{folder}/graph").transformed_metadata.schema
    options = TensorFlowDatasetOptions(batch_size=int(batch), num_epochs=1, shuffle=order == "shuffled")

    def work() -> int:
        batches = tf_dataset([f"{folder}/Split-train/*.gz"], options, schema)
        return sum(int(one["late"].shape[0]) for one in batches)

    report(work)


def train(folder: str, out: str) -> None:
    """What the fresh process does: the DAG's training, with its validations."""
    from flights import data

    from airflow_provider_mlpipe.artifacts import Examples, Model, ModelRun, Schema, TransformGraph
    from airflow_provider_mlpipe.components.trainer.executor import run
    from airflow_provider_mlpipe.execution.contract import ExecutorContext

    for name in ("model", "run", "tmp"):
        Path(out, name).mkdir(parents=True)
    examples = [Examples(uri=folder, properties={"splits": ["train", "eval"]})]

    def work() -> int:
        run(
            examples=examples,
            transform_graph=TransformGraph(uri=f"{folder}/graph"),
            schema=Schema(uri=str(FLIGHTS)),
            base_model=None,
            hyperparameters=None,
            module_file=str(FLIGHTS / "model.py"),
            run_fn=None,
            train_args={"num_steps": 1200},
            eval_args=None,
            custom_config={"learning_rate": 0.002},
            check_examples=None,
            model=Model(uri=f"{out}/model"),
            model_run=ModelRun(uri=f"{out}/run"),
            context=ExecutorContext(component_id="Trainer", execution_id=1, tmp_dir=f"{out}/tmp"),
        )
        return data.FLIGHTS

    report(work)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"read": read, "train": train}[sys.argv[1]](*sys.argv[2:])
    else:
        print(table(["Trainer", *HEAD, "times faster (in CPU)"], list(figures())))
