"""What the checks of files cost: before ten hits, and in a push.

The model has the size of the flights' SavedModel. A push is the process of Pusher's executor, as its task starts it: it
copies the model, compares it with its publication and flushes it to disk. Ten hits look at ten such models.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tables import table

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.storage.artifact_files import loss
from airflow_provider_mlpipe.storage.digests import tree_summary

FILES = {
    "saved_model.pb": 600_000,
    "variables/variables.data-00000-of-00001": 150_000,
    "variables/variables.index": 3_000,
}
FILES |= {f"assets/vocabulary-{number}": 2_000 for number in range(6)}
PUSH = """
import pathlib, sys
from airflow_provider_mlpipe.artifacts import Model, PushedModel
from airflow_provider_mlpipe.components.pusher.executor import run
from airflow_provider_mlpipe.execution.contract import ExecutorContext

uri, digest, place = sys.argv[1:]
output = pathlib.Path(place, "root", "Pusher", "pushed_model", "1")
output.mkdir(parents=True, exist_ok=True)
run(
    model=Model(uri=uri, digest=digest), model_blessing=None, infra_blessing=None,
    push_destination={"filesystem": {"base_directory": f"{place}/serving"}}, pushed_model=PushedModel(uri=str(output)),
    context=ExecutorContext(component_id="Pusher", execution_id=1, tmp_dir=place),
)
"""
ARTIFACTS = 10
PUSHES = 9
REPETITIONS = 100
MOST_MILLISECONDS = 10.0
MOST_OF_A_PUSH = 0.05


def make_model(folder: Path) -> Model:
    for name, size in FILES.items():
        path = folder / "Format-Serving" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    files = tree_summary(folder)
    return Model(uri=str(folder), id=1, digest=files.digest, files=files)


def push(model: Model, place: Path) -> None:
    assert model.files is not None
    subprocess.run([sys.executable, "-c", PUSH, model.uri, model.files.digest, str(place)], check=True)


def milliseconds(act: Callable[[], object], repetitions: int = REPETITIONS) -> float:
    """The median."""
    taken = []
    for _ in range(repetitions):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        models = [make_model(Path(name, "root", "Trainer", "model", str(number))) for number in range(ARTIFACTS)]
        hits = {
            how: milliseconds(lambda how=how: [loss(model, how) for model in models])  # type: ignore[misc]
            for how in ("exists", "digest")
        }
        pushed = milliseconds(lambda: push(models[0], Path(name)), PUSHES)
        share = milliseconds(lambda: tree_summary(Path(models[0].uri))) / pushed
    print(f"A model of {sum(FILES.values()):,} bytes in {len(FILES)} files.\n")
    rows = [
        ['ten hits, `verify="exists"`', f"{hits['exists']:.1f} ms"],
        ['ten hits, `verify="digest"`', f"{hits['digest']:.1f} ms"],
        ["a push", f"{pushed:.1f} ms"],
        ["of it, hashing", f"{share:.1%}"],
    ]
    print(table(["what", "median"], rows))
    if hits["exists"] > MOST_MILLISECONDS or share > MOST_OF_A_PUSH:
        raise SystemExit(f"more than {MOST_MILLISECONDS} ms, or than {MOST_OF_A_PUSH:.0%} of a push")


if __name__ == "__main__":
    main()
