"""Evaluator on the flights: against TFMA on Beam on the eval split, and on all rows once, three and ten times.

With the flight DAG's eval_config, and a model that is compared with another; both are trained first, as the DAG does.
What the two have computed is held equal, as far as a network's last digit allows.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench_example_gen import BUCKETS, SIZES
from measured import HEAD, Run, assert_flat, measure, ratio, report
from tables import table

STEPS = {
    "_reason_against": "look whether all is covered",
    "run_kernels": "read, ask the models, add up",
    "write_results": "derive metrics, write them",
}


def figures(folder: Path) -> Iterator[str]:
    """Measure, and yield tables."""
    make(folder)
    runs: dict[str, Run] = {}
    for name in ("tfma-eval", "kernel-eval", *(f"kernel-{size}x" for size in SIZES)):
        by, split = name.split("-")
        runs[name] = measure(__file__, folder, by, split, folder / name)
    assert_equal(folder / "tfma-eval", folder / "kernel-eval")
    assert_flat(runs["kernel-3x"], runs["kernel-10x"])
    yield table(
        ["Evaluator", *HEAD, "times faster (in CPU)"],
        [
            ["TFMA on Beam, in memory: eval split", *runs["tfma-eval"].cells(), ""],
            ["this package", *runs["kernel-eval"].cells(), ratio(runs["tfma-eval"], runs["kernel-eval"])],
            ["this package: all rows", *runs["kernel-1x"].cells(), ""],
            *([f"{size} times the rows", *runs[f"kernel-{size}x"].cells(), ""] for size in SIZES[1:]),
        ],
    )
    yield profile(folder)


def profile(folder: Path) -> str:
    """Seconds and CPU seconds by step."""
    splits = ("eval", "1x", "10x")
    steps = {split: json.loads((folder / f"kernel-{split}" / "steps.json").read_text()) for split in splits}
    rows = [[text, *(_spent(*steps[split][name]) for split in splits)] for name, text in STEPS.items()]
    return table(["seconds (of CPU)", "eval split", "all rows", "ten times the rows"], rows)


def _spent(seconds: float, cpu: float) -> str:
    return f"{seconds:.1f} ({cpu:.1f})"


def make(folder: Path) -> None:
    """Make examples, a schema and two models, as the flight DAG does."""
    import flight_models
    from flights import data

    data.prepare(folder / "csv")
    done = flight_models.make(folder, str(folder / "csv"), BUCKETS, {"model": 1200, "baseline": 200})
    (folder / "examples.json").write_text(json.dumps(with_copies(done.examples)))


def with_copies(examples: Any) -> dict[str, Any]:
    """Add splits that are all rows once, three and ten times over, each a file; returns the properties."""
    counts = dict(examples.properties["record_counts"])
    files = [path for split in ("train", "eval") for path in Path(examples.uri, f"Split-{split}").glob("*.gz")]
    for size in SIZES:
        split = Path(made(Path(examples.uri, f"Split-{size}x")))
        for number in range(size):
            for place, path in enumerate(files):
                os.link(path, split / f"data_tfrecord-{number:02}-{place}.gz")
        counts[split.name.removeprefix("Split-")] = size * (counts["train"] + counts["eval"])
    return {**examples.properties, "splits": list(counts), "record_counts": counts}


def made(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def context(folder: Path) -> Any:
    from airflow_provider_mlpipe.execution.contract import ExecutorContext

    return ExecutorContext(component_id="bench", execution_id=1, tmp_dir=tempfile.mkdtemp(dir=folder))


def assert_equal(tfma: Path, kernel: Path) -> None:
    """Raise AssertionError where metrics differ by more than a network's last digit makes them."""
    one, other = (json.loads((run / "evaluation" / "summary.json").read_text()) for run in (tfma, kernel))
    for models in ("slices", "baseline"):
        for left, right in zip(one[models], other[models], strict=True):
            assert left["slice"] == right["slice"]
            for name, value in left["metrics"].items():
                assert abs(value - right["metrics"][name]) <= 1e-6 * abs(value), (left, right)


def run_once(folder: Path, by: str, split: str, out: Path, *, alone: bool = False) -> None:
    """What the fresh process does; `alone` is without the model to compare with, as in a pipeline's first run."""
    from flights.evaluation import EVAL_CONFIG

    from airflow_provider_mlpipe.artifacts import Examples, Model, ModelBlessing, ModelEvaluation, Schema
    from airflow_provider_mlpipe.components.evaluator import executor

    if by == "tfma":
        executor.why_not = asked_for
    steps: dict[str, tuple[float, float]] = {}
    for name in STEPS:
        setattr(executor, name, timed(getattr(executor, name), name, steps))
    properties = json.loads((folder / "examples.json").read_text())

    def work() -> int:
        executor.run(
            examples=[Examples(uri=str(folder / "examples"), properties=properties)],
            model=Model(uri=str(folder / "model")),
            baseline_model=None if alone else Model(uri=str(folder / "baseline")),
            schema=Schema(uri=str(folder / "schema")),
            eval_config=EVAL_CONFIG,
            example_splits=[split],
            rubber_stamp=False,
            module_file=None,
            evaluation=ModelEvaluation(uri=made(out / "evaluation")),
            blessing=ModelBlessing(uri=made(out / "blessing")),
            context=context(out),
        )
        return properties["record_counts"][split]

    report(work)
    (out / "steps.json").write_text(json.dumps(steps))


def asked_for(task: Any) -> str:
    return "it is to be measured"


def timed(function: Callable[..., Any], name: str, found: dict[str, tuple[float, float]]) -> Callable[..., Any]:
    """Note the seconds of a call, and those of CPU with those of processes that it has started and waited for."""

    def run(*arguments: Any) -> Any:
        start, cpu = time.perf_counter(), sum(os.times()[:4])
        result = function(*arguments)
        found[name] = time.perf_counter() - start, sum(os.times()[:4]) - cpu
        return result

    return run


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), alone="alone" in sys.argv[5:])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            print("\n\n".join(figures(Path(temporary))))
