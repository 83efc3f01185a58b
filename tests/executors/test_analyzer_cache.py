"""States that Transform takes over from an earlier execution are those that it would compute."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fresh import run_executor
from transforms import DEFAULTS, EVERY_ANALYZER_SCHEMA, write_schema, write_splits

from airflow_provider_mlpipe.artifacts import Examples, Schema, TransformCache, TransformGraph
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.storage.digests import tree_digest

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

EVERY_ANALYZER = Path(__file__).with_name("every_analyzer.py")
WORDS = ["a", "ä", "日本", "b c", "", "Zoë", "e" * 50, "\U0001f600"]
Rows = list[dict[str, list[Any]]]


def rows(seed: int, count: int) -> Rows:
    draw = random.Random(seed)
    return [
        {
            "id": [number],
            "x": [draw.gauss(0, 1)],
            "number": [draw.randrange(-3, 9)],
            "key": [draw.choice(WORDS[:3])],
            "vector": [draw.gauss(0, 1), draw.gauss(10, 2), draw.random()],
            "sparse": [draw.gauss(3, 1) for _ in range(draw.randrange(2))],
            "words": [draw.choice(WORDS) for _ in range(draw.randrange(4))],
        }
        for number in range(count)
    ]


SPLITS = {"one": rows(1, 1_201), "two": rows(2, 803), "eval": rows(3, 5)}


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Rows]], Examples]:
    return lambda splits: write_splits(tmp_path_factory.mktemp("given") / "examples", splits)


@pytest.fixture(scope="module")
def examples(write: Callable[[dict[str, Rows]], Examples]) -> Examples:
    return write(SPLITS)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    return write_schema(tmp_path_factory.mktemp("given") / "schema", EVERY_ANALYZER_SCHEMA)


@dataclass(frozen=True)
class Ran:
    """What Transform has written below `folder`, and logged."""

    folder: Path
    log: list[str]

    @property
    def cache(self) -> TransformCache:
        return TransformCache(uri=str(self.folder / "cache"))

    @property
    def states(self) -> list[Path]:
        return sorted(Path(self.cache.uri).iterdir())

    @property
    def result(self) -> tuple[str, str]:
        return tree_digest(self.folder / "graph"), tree_digest(self.folder / "examples")

    @property
    def said(self) -> str:
        (line,) = [line for line in self.log if line.startswith("Analyzer cache: ") and "cannot be used" not in line]
        return line.removeprefix("Analyzer cache: ")

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.log if "cannot be used" in line]


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def run(examples: Examples, schema: Schema, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Transforms `eval` by what is analyzed of `one` and `two`; keywords replace the executor's parameters."""

    def transform(module: Path, *, beam: tuple[str, ...] = (), **changed: Any) -> Ran:
        folder = tmp_path_factory.mktemp("out")
        for name in ("graph", "examples", "cache", "tmp"):
            (folder / name).mkdir()
        given: dict[str, Any] = {
            "examples": examples,
            "schema": schema,
            "splits_config": {"analyze": ["one", "two"], "transform": ["eval"]},
        }
        ran = run_executor(
            "airflow_provider_mlpipe.components.transform.executor:run",
            module_file=str(module),
            transform_graph=TransformGraph(uri=str(folder / "graph")),
            transformed_examples=Examples(uri=str(folder / "examples")),
            updated_analyzer_cache=TransformCache(uri=str(folder / "cache")),
            context=ExecutorContext(
                component_id="Transform", execution_id=1, tmp_dir=str(folder / "tmp"), beam_pipeline_args=beam
            ),
            **(DEFAULTS | given | changed),
        )
        return Ran(folder, ran.log)

    return transform


def test_the_result_is_the_same_with_and_without(run: Run) -> None:
    without = run(EVERY_ANALYZER, disable_analyzer_cache=True)
    assert (without.said, without.states) == ("not used, because disable_analyzer_cache is set", [])
    cold = run(EVERY_ANALYZER)
    full = run(EVERY_ANALYZER, analyzer_cache=cold.cache)

    assert cold.said == "0 of 78 states reused; 78 computed, 4 of which cannot be kept"
    assert full.said == "74 of 78 states reused; 4 computed, 4 of which cannot be kept"
    assert without.result == cold.result == full.result
    assert tree_digest(Path(cold.cache.uri)) == tree_digest(Path(full.cache.uri))


MODULE = """
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    return {{
        {first}
        "z": tft.scale_to_z_score(inputs["x"]),
        "bucket": tft.bucketize(inputs["x"], 4),
        "key": tft.compute_and_apply_vocabulary(inputs["key"]),
        {last}
    }}
"""


def module(folder: Path, name: str, first: str = "", last: str = "") -> Path:
    path = folder / f"cached_{name}.py"
    path.write_text(MODULE.format(first=first, last=last))
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return module(tmp_path_factory.mktemp("module"), "small")


@pytest.fixture(scope="module")
def cold(run: Run, small: Path) -> Ran:
    ran = run(small)
    assert (ran.said, len(ran.states)) == ("0 of 6 states reused; 6 computed", 6)
    return ran


def test_after_an_edit_only_new_analyzers_are_computed(run: Run, cold: Ran, tmp_path: Path) -> None:
    first = '"another": tft.scale_to_z_score(inputs["number"]), "more": tf.sin(inputs["x"]) * 2,'
    edited = module(tmp_path, "edited", first=first)
    ran, anew = run(edited, analyzer_cache=cold.cache), run(edited)
    assert (ran.said, anew.said) == ("6 of 8 states reused; 2 computed", "0 of 8 states reused; 8 computed")
    assert ran.result == anew.result != cold.result
    assert len(ran.states) == 8
    assert tree_digest(Path(ran.cache.uri)) == tree_digest(Path(anew.cache.uri))


def test_what_is_not_used_any_more_is_not_kept(run: Run, cold: Ran, tmp_path: Path) -> None:
    more = run(module(tmp_path, "more", last='"w": tft.scale_to_z_score(inputs["vector"]),'), analyzer_cache=cold.cache)
    again = run(module(tmp_path, "again"), analyzer_cache=more.cache)
    assert (again.said, again.result) == ("6 of 6 states reused; 0 computed", cold.result)
    assert [path.name for path in again.states] == [path.name for path in cold.states]


def test_only_a_split_of_other_records_is_analyzed(
    run: Run, cold: Ran, small: Path, write: Callable[[dict[str, Rows]], Examples]
) -> None:
    """It is the same wherever it is, and whatever the others are: of `two`, one record is another."""
    changed = [dict(row) for row in SPLITS["two"]]
    changed[400]["x"] = [changed[400]["x"][0] + 1]
    ran = run(small, examples=write({**SPLITS, "two": changed}), analyzer_cache=cold.cache)
    assert ran.said == "3 of 6 states reused; 3 computed"
    assert ran.result[0] != cold.result[0]


def _truncated(path: Path, other: bytes) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flipped(path: Path, other: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def _of_another(path: Path, other: bytes) -> None:
    path.write_bytes(other)


def _pickled(path: Path, other: bytes) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def _empty(path: Path, other: bytes) -> None:
    path.write_bytes(b"")


def _folder(path: Path, other: bytes) -> None:
    path.unlink()
    path.mkdir()


def test_what_is_damaged_or_foreign_is_computed(run: Run, cold: Ran, small: Path, tmp_path: Path) -> None:
    cache = TransformCache(uri=shutil.copytree(cold.cache.uri, str(tmp_path / "damaged")))
    paths = sorted(Path(cache.uri).iterdir())
    other = paths[-1].read_bytes()
    for path, damage in zip(paths, [_truncated, _flipped, _of_another, _pickled, _empty, _folder], strict=True):
        damage(path, other)
    ran = run(small, analyzer_cache=cache)
    assert ran.said == "0 of 6 states reused; 6 computed"
    assert sorted(line.split()[2] for line in ran.warnings) == [str(path) for path in paths]
    assert ran.result == cold.result
    assert tree_digest(Path(ran.cache.uri)) == tree_digest(Path(cold.cache.uri))


def test_a_cache_that_is_gone_is_as_good_as_none(run: Run, cold: Ran, small: Path, tmp_path: Path) -> None:
    ran = run(small, analyzer_cache=TransformCache(uri=str(tmp_path / "gone")))
    assert (ran.said, ran.warnings, ran.result) == ("0 of 6 states reused; 6 computed", [], cold.result)


@pytest.mark.parametrize("why", ["a runner is named", "TFT alone computes an analyzer"])
def test_tfts_own_analysis_passes_on_what_was_kept(why: str, run: Run, cold: Ran, tmp_path: Path) -> None:
    if why == "a runner is named":
        ran = run(module(tmp_path, "on_beam"), analyzer_cache=cold.cache, beam=("--runner=DirectRunner",))
    else:
        of_tft = 'inputs["words"], top_k=2, coverage_top_k=1, key_fn=len'
        covering = module(tmp_path, "covering", last=f'"covering": tft.compute_and_apply_vocabulary({of_tft}),')
        ran = run(covering, analyzer_cache=cold.cache)
    assert ran.said == "not used, because TFT does the analysis"
    assert tree_digest(Path(ran.cache.uri)) == tree_digest(Path(cold.cache.uri))
