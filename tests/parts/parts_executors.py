from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, Examples, ExampleStatistics, Model
from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.execution.user_code import load_function
from airflow_provider_mlpipe.storage.sources import input_files


def make(
    *,
    text: str,
    files: int,
    act: str | None,
    shut: bool,
    module_file: str | None,
    words: list[str],
    examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    print(f"making {files} files")
    if act is not None:
        ACTS[act](context)
    if module_file is not None:
        text = load_function(module_file, None, "make_text")()
    for number in range(files):
        Path(examples.uri, f"{number}.txt").write_text(text + " ".join(words))
        barrier(f"executor.inside.{number}")
    if words == ["misspelt"]:
        return {"exampels": Produced()}
    return {"examples": Produced(properties={"splits": ["train"], "record_counts": {"train": files}})}


def use(*, examples: Examples, model: Model, context: ExecutorContext) -> None:
    parts = [path.read_text() for path in sorted(Path(examples.uri).iterdir())]
    Path(model.uri, "saved").write_text("\n".join(parts))


def keep(*, steps: int, model: Model, context: ExecutorContext) -> None:
    assert context.checkpoint_dir is not None
    folder = Path(context.checkpoint_dir)
    begin = max((int(path.name) for path in folder.glob("[0-9]*")), default=0)
    for step in range(begin, steps):
        draft = folder / f".{step + 1}"
        draft.mkdir()
        (draft / "state").write_text(str(step))
        barrier(f"keep.half.{step + 1}")
        draft.rename(folder / f"{step + 1}")
        barrier(f"keep.whole.{step + 1}")
    Path(model.uri, "began").write_text(str(begin))


def read(
    *, input_base: str, input_config: dict[str, Any], output_config: dict[str, Any], shuffle_seed: int | None,
    examples: Examples, context: ExecutorContext,
) -> dict[str, Produced]:  # fmt: skip
    """What a file says happens while it is read: "crash" or "raise"."""
    for split in input_config["splits"]:
        for file in input_files(input_base, split["pattern"]):
            barrier(f"read.{file.name}")
            if (text := file.read_text()) in ACTS:
                ACTS[text](context)
            Path(examples.uri, file.name).write_text(text)
    return {"examples": Produced(properties={"splits": ["train"]})}


def describe(
    *, examples: Examples, model: Model | None, statistics: ExampleStatistics, context: ExecutorContext
) -> None:
    shutil.copytree(examples.uri, statistics.uri, dirs_exist_ok=True)


def compare(
    *, statistics: ExampleStatistics, examples: Examples, before: ExampleStatistics | None, fails: str,
    anomalies: ExampleAnomalies, context: ExecutorContext,
) -> None:  # fmt: skip
    spans = [artifact.properties.get("span") for artifact in (statistics, examples)]
    Path(anomalies.uri, "spans").write_text(str(spans))
    Path(anomalies.uri, "before").write_text(Path(before.uri, "a.txt").read_text() if before else "nothing")


def join(
    *, examples: list[Examples], model: Model, copies: list[Examples], context: ExecutorContext
) -> dict[str, list[Produced]]:
    texts = [path.read_text() for one in examples for path in sorted(Path(one.uri).iterdir())]
    Path(model.uri, "saved").write_text(" ".join(texts))
    for one, copy in zip(examples, copies, strict=True):
        shutil.copytree(one.uri, copy.uri, dirs_exist_ok=True)
    return {"copies": [Produced(properties={"splits": ["train"]}) for _ in copies]}


def maybe(*, examples: Examples | None, hint: Model | None, model: Model, context: ExecutorContext) -> None:
    print("with a hint" if hint else "without a hint")
    Path(model.uri, "saved").write_text("nothing" if examples is None else "something")


def _raise(context: ExecutorContext) -> None:
    raise ValueError("what the user did wrong")


def _permanent(context: ExecutorContext) -> None:
    raise InvalidInputError("data.csv, line 7: no such luck")


def _exit(context: ExecutorContext) -> None:
    sys.exit("bye")


def _crash(context: ExecutorContext) -> None:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _leave_child(context: ExecutorContext) -> None:
    """A grandchild that holds standard output and would outlive everything."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    print(f"grandchild {child.pid}", flush=True)


def _talk(context: ExecutorContext) -> None:
    for word in ("one", "two"):
        print(word, flush=True)
        barrier(f"said.{word}")
    os.write(1, b"no newline, \xff\xfe bytes")


def _no_folder(context: ExecutorContext) -> None:
    """Its outputs' root goes, and with it the folder that the executor was to write to."""
    shutil.rmtree(Path(os.environ["MLPIPE_TEST_ROOT"]))


def _surrogate(context: ExecutorContext) -> None:
    raise InvalidInputError("caf\udce9.csv is not text")


class OwnError(InvalidInputError):
    """A user's own permanent error."""


def _own_error(context: ExecutorContext) -> None:
    raise OwnError("of a kind of its own")


def _namesake(context: ExecutorContext) -> None:
    raise type("InvalidInputError", (Exception,), {})("which only shares the name")


def _long(context: ExecutorContext) -> None:
    raise ValueError("x" * 10_000_000)


def _silent(context: ExecutorContext) -> None:
    os.close(1)
    os.close(2)
    sys.stdout = sys.stderr = io.StringIO()


def _hog(context: ExecutorContext) -> None:
    """One long call that keeps the interpreter to itself."""
    barrier("hogging")
    sum(range(10**12))


ACTS = {
    "no_folder": _no_folder,
    "surrogate": _surrogate,
    "own_error": _own_error,
    "namesake": _namesake,
    "long": _long,
    "silent": _silent,
    "hog": _hog,
    "raise": _raise,
    "permanent": _permanent,
    "exit": _exit,
    "crash": _crash,
    "leave_child": _leave_child,
    "talk": _talk,
}
