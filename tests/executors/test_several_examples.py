"""Components that take several Examples: together they are as good as one with all their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluations import evaluate
from fresh import run_executor
from transforms import DEFAULTS

from airflow_provider_mlpipe.artifacts import (
    Examples,
    ExampleStatistics,
    Model,
    Schema,
    TransformCache,
    TransformGraph,
)
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.pieces import pieces_of
from airflow_provider_mlpipe.records.tfrecord import read_records
from airflow_provider_mlpipe.storage.digests import tree_digest

PENGUIN_MODULE = Path(__file__).with_name("penguin_module.py")

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning:keras"),
]

Rows = Sequence[dict[str, str]]


def of_span(examples: Examples, span: int) -> Examples:
    return Examples(uri=examples.uri, id=span, digest=str(span), properties={**examples.properties, "span": span})


@pytest.fixture(scope="module")
def window(write_penguins: Callable[..., Examples], penguin_rows: Rows) -> list[Examples]:
    """Three spans; the last has an empty split."""
    cuts = [penguin_rows[:120], penguin_rows[120:200], penguin_rows[200:]]
    splits = [{"train": rows[::2], "eval": rows[1::2]} for rows in cuts[:2]] + [{"train": cuts[2], "eval": []}]
    return [of_span(write_penguins(each), 7 + place) for place, each in enumerate(splits)]


@pytest.fixture(scope="module")
def whole(write_penguins: Callable[..., Examples], window: list[Examples], penguin_rows: Rows) -> Examples:
    """All rows of the window, in its order."""
    cuts = [penguin_rows[:120], penguin_rows[120:200]]
    train = [row for rows in cuts for row in rows[::2]] + list(penguin_rows[200:])
    examples: Examples = write_penguins({"train": train, "eval": [row for rows in cuts for row in rows[1::2]]})
    return examples


class Transformed:
    """What Transform makes of several Examples."""

    def __init__(self, examples: Sequence[Examples], schema: Schema, folder: Path, **changed: Any) -> None:
        for name in ("graph", "cache", "tmp"):
            (folder / name).mkdir(parents=True)
        self.examples = [Examples(uri=str(folder / "examples" / str(place))) for place in range(len(examples))]
        for one in self.examples:
            Path(one.uri).mkdir(parents=True)
        self.graph = TransformGraph(uri=str(folder / "graph"))
        self.cache = TransformCache(uri=str(folder / "cache"))
        ran = run_executor(
            "airflow_provider_mlpipe.components.transform.executor:run",
            **{**DEFAULTS, "module_file": str(PENGUIN_MODULE), **changed},
            examples=list(examples),
            schema=schema,
            transform_graph=self.graph,
            transformed_examples=self.examples,
            updated_analyzer_cache=self.cache,
            context=ExecutorContext(component_id="Transform", execution_id=1, tmp_dir=str(folder / "tmp")),
        )
        made: Any = ran.produced["transformed_examples"]
        self.produced: list[Produced] = made if isinstance(made, list) else [made]
        self.log = ran.log

    def published(self) -> list[Examples]:
        return [
            Examples(uri=one.uri, properties=produced.properties)
            for one, produced in zip(self.examples, self.produced, strict=True)
        ]


def records(examples: Sequence[Examples], split: str) -> list[bytes]:
    return [
        record
        for piece in pieces_of(examples, [split], parameter="splits")
        for path in piece.files
        for record in read_records(path)
    ]


def test_transform_analyzes_them_together_and_transforms_each(
    window: list[Examples], whole: Examples, penguin_schema: Schema, tmp_path: Path
) -> None:
    several = Transformed(window, penguin_schema, tmp_path / "several")
    one = Transformed([whole], penguin_schema, tmp_path / "one")
    for split in ("train", "eval"):
        assert parsed(several.published(), split) == parsed(one.published(), split, nearly=pytest.approx)
    assert [produced.properties["span"] for produced in several.produced] == [7, 8, 9]
    assert several.produced[2].properties["record_counts"]["eval"] == 0


def parsed(
    examples: Sequence[Examples], split: str, nearly: Callable[..., Any] = lambda values, **_: values
) -> list[Any]:
    """The records, whose floats may differ in the last digits: sums of other chunks do."""
    import tensorflow as tf

    return [
        {
            name: nearly(list(feature.float_list.value), rel=1e-4, abs=1e-4)
            if feature.WhichOneof("kind") == "float_list"
            else list(feature.int64_list.value or feature.bytes_list.value)
            for name, feature in tf.train.Example.FromString(record).features.feature.items()
        }
        for record in records(examples, split)
    ]


def test_a_rolling_window_analyzes_only_the_new_span(
    window: list[Examples], penguin_schema: Schema, tmp_path: Path
) -> None:
    first = Transformed(window[:2], penguin_schema, tmp_path / "first")
    rolled = Transformed(window[1:], penguin_schema, tmp_path / "rolled", analyzer_cache=first.cache)
    fresh = Transformed(window[1:], penguin_schema, tmp_path / "fresh")
    (said,) = [line for line in rolled.log if line.startswith("Analyzer cache")]
    reused, total = (int(word) for word in said.split(": ")[1].split(" states")[0].split(" of "))
    assert 0 < reused == total - reused  # the states of one of two spans
    assert tree_digest(Path(rolled.graph.uri)) == tree_digest(Path(fresh.graph.uri))
    assert [one.digest for one in rolled.produced] == [one.digest for one in fresh.produced]


def test_a_split_that_one_of_them_lacks_is_named(
    window: list[Examples],
    write_penguins: Callable[..., Examples],
    penguin_schema: Schema,
    penguin_rows: Rows,
    tmp_path: Path,
) -> None:
    without = of_span(write_penguins({"eval": penguin_rows[:9]}), 3)
    with pytest.raises(InvalidInputError, match=f"splits_config.analyze: Examples {without.uri} has no split 'train'"):
        Transformed([without, *window], penguin_schema, tmp_path)


def test_trainer_gets_the_files_of_all(
    window: list[Examples], penguin_schema: Schema, train: Callable[..., Any], tmp_path: Path
) -> None:
    transformed = Transformed(window, penguin_schema, tmp_path / "t")
    module = tmp_path / "files_module.py"
    module.write_text(
        f"{PENGUIN_MODULE.read_text()}\n"
        "import pathlib\n"
        "train = run_fn\n"
        "def run_fn(fn_args):\n"
        f"    pathlib.Path({str(tmp_path / 'files')!r}).write_text('\\n'.join(fn_args.train_files))\n"
        "    train(fn_args)\n"
    )
    train(module_file=str(module), examples=transformed.published(), transform_graph=transformed.graph)
    assert (tmp_path / "files").read_text().splitlines() == [
        f"{one.uri}/Split-train/*.gz" for one in transformed.examples
    ]


def test_evaluator_counts_the_examples_of_all(
    window: list[Examples], whole: Examples, penguin_model: Model, tmp_path: Path
) -> None:
    config = {
        "model_specs": [{"label_key": "species_xf", "preprocessing_function_names": ["transform_features"]}],
        "metrics_specs": [{"metrics": [{"class_name": "ExampleCount"}, {"class_name": "SparseCategoricalAccuracy"}]}],
    }
    several = evaluate(
        tmp_path / "several", config, examples=window, model=penguin_model, example_splits=["train", "eval"]
    )
    one = evaluate(tmp_path / "one", config, examples=[whole], model=penguin_model, example_splits=["train", "eval"])
    assert several.fell_back is None
    assert not several.differences(one, relative=1e-6)


def test_schema_gen_infers_one_schema_that_fits_all(
    window: list[Examples], whole: Examples, context: Callable[[], ExecutorContext], empty: Callable[..., Any]
) -> None:
    from airflow_provider_mlpipe.components.schema_gen.executor import run as infer
    from airflow_provider_mlpipe.components.statistics_gen.executor import run as describe
    from airflow_provider_mlpipe.records.inputs import read_schema

    def schema_of(several: Sequence[Examples]) -> Any:
        described = []
        for examples in several:
            statistics = empty(ExampleStatistics)
            produced = describe(
                examples=examples,
                schema=None,
                stats_options=None,
                exclude_splits=[],
                sample_rate_by_split=None,
                statistics=statistics,
                context=context(),
            )["statistics"]
            described.append(ExampleStatistics(uri=statistics.uri, properties=produced.properties))
        schema = empty(Schema)
        infer(
            statistics=described,
            curated_schema=None,
            infer_feature_shape=True,
            exclude_splits=[],
            schema=schema,
            context=context(),
        )
        return read_schema(schema)

    ours, theirs = schema_of(window), schema_of([whole])
    assert [feature.name for feature in ours.feature] == [feature.name for feature in theirs.feature]
    assert {domain.name: set(domain.value) for domain in ours.string_domain} == {
        domain.name: set(domain.value) for domain in theirs.string_domain
    }
    assert np.array_equal([feature.type for feature in ours.feature], [feature.type for feature in theirs.feature])
