"""Evaluations by the kernel and by TFMA's own pipeline, and how their results differ."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fresh import Lines, in_fresh_process
from taken import call_with_one

from airflow_provider_mlpipe.artifacts import Examples, Model, ModelBlessing, ModelEvaluation, Schema
from airflow_provider_mlpipe.execution.contract import ExecutorContext


def evaluate(folder: Path, config: Mapping[str, Any], *, beam: tuple[str, ...] = (), **given: Any) -> Evaluated:
    """Run the executor; `by_tfma` leaves all to TFMA's own pipeline, `batch_rows` is how many rows a batch has."""
    for name in ("evaluation", "blessing", "tmp"):
        (folder / name).mkdir(parents=True)
    fixed = {
        "baseline_model": None,
        "schema": None,
        "example_splits": ["eval"],
        "rubber_stamp": False,
        "module_file": None,
    }
    outputs = {
        "evaluation": ModelEvaluation(uri=str(folder / "evaluation")),
        "blessing": ModelBlessing(uri=str(folder / "blessing")),
        "context": ExecutorContext(
            component_id="Evaluator", execution_id=1, tmp_dir=str(folder / "tmp"), beam_pipeline_args=beam
        ),
    }
    log = in_fresh_process(_evaluate, {"eval_config": dict(config), **fixed, **outputs, **given})
    return Evaluated(folder / "evaluation", log)


def _evaluate(given: dict[str, Any]) -> list[str]:
    from airflow_provider_mlpipe.components.evaluator import executor
    from airflow_provider_mlpipe.records import batches

    if given.pop("by_tfma", False):
        executor.why_not = _asked_for
    batches.BATCH_ROWS = given.pop("batch_rows", batches.BATCH_ROWS)
    lines = Lines()
    executor.log.addHandler(lines)
    executor.log.setLevel(logging.INFO)
    call_with_one(executor.run, **given)
    return lines.texts


def _asked_for(task: Any) -> Any:
    from airflow_provider_mlpipe.components.evaluator.measures import NotCovered

    return NotCovered("a test asked for it")


def why_not(config: Mapping[str, Any], model: Model, schema_text: str | None) -> str | None:
    """Ask the plan; to be done in a fresh process."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0.schema_pb2 import Schema as SchemaProto

    from airflow_provider_mlpipe.components.evaluator import executor, plan
    from airflow_provider_mlpipe.components.evaluator.kernel import Task

    complete = executor._complete(executor._parse(config), has_baseline=False)
    schema = text_format.Parse(schema_text, SchemaProto()).SerializeToString() if schema_text else None
    models = (("", str(Path(model.uri, "Format-Serving"))),)
    reason = plan.why_not(Task(config=complete.SerializeToString(), models=models, schema=schema))
    return None if reason is None else str(reason)


class Evaluated:
    """What an evaluation has written, as plain values, and what it has logged."""

    def __init__(self, folder: Path, log: list[str]) -> None:
        import tensorflow_model_analysis as tfma
        from google.protobuf import json_format

        def plain(message: Any) -> Any:
            return json_format.MessageToDict(message, preserving_proto_field_name=True)

        def by_slice(message: Any, pairs: Any) -> Iterator[tuple[Any, Any]]:
            place = message.cross_slice_key if message.HasField("cross_slice_key") else message.slice_key
            said = plain(message)
            yield (_text(plain(place)),), said.get("metrics") or said.get("plots") or {}
            for pair in pairs:
                value = plain(pair)
                yield (_text(plain(place)), _text(value.pop("key"))), value

        uri = str(folder)
        self.log = log
        self.metrics = {
            key: value for one in tfma.load_metrics(uri) for key, value in by_slice(one, one.metric_keys_and_values)
        }
        self.plots = {
            key: value for one in tfma.load_plots(uri) for key, value in by_slice(one, one.plot_keys_and_values)
        }
        self.validation = _sorted(plain(tfma.load_validation_result(uri)))
        self.config = json.loads((folder / "eval_config.json").read_text())
        self.summary = json.loads((folder / "summary.json").read_text())

    @property
    def fell_back(self) -> str | None:
        """Why TFMA's own pipeline evaluated, None if it did not."""
        return next((line.partition(": ")[2] for line in self.log if "own pipeline" in line), None)

    def differences(self, other: Evaluated, *, relative: float = 1e-9, absolute: float = 1e-12) -> list[str]:
        """List everything in which two evaluations differ."""
        names = ("metrics", "plots", "validation", "config", "summary")
        return [
            f"{name}{line}"
            for name in names
            for line in differences(getattr(self, name), getattr(other, name), relative, absolute)
        ]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _sorted(value: Any) -> Any:
    """Order lists, of which TFMA's validations have theirs as slices come."""
    if isinstance(value, dict):
        return {key: _sorted(one) for key, one in value.items()}
    return sorted(map(_sorted, value), key=_text) if isinstance(value, list) else value


def differences(one: Any, other: Any, relative: float = 1e-9, absolute: float = 1e-12) -> Iterator[str]:
    """Yield where two plain values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() ^ other.keys(), key=repr):
            yield f"[{key}]: only in the {'first' if key in one else 'second'}"
        for key in one.keys() & other.keys():
            yield from (f"[{key}]{line}" for line in differences(one[key], other[key], relative, absolute))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from (f"[{place}]{line}" for line in differences(left, right, relative, absolute))
    elif isinstance(one, float) and isinstance(other, float):
        if not (
            math.isclose(one, other, rel_tol=relative, abs_tol=absolute) or (math.isnan(one) and math.isnan(other))
        ):
            yield f": {one!r} != {other!r}"
    elif one != other:
        yield f": {one!r} != {other!r}"


def write_examples(folder: Path, columns: Mapping[str, Any], split: str = "eval") -> Examples:
    """Write Arrow columns as the only split of Examples."""
    import pyarrow as pa

    from airflow_provider_mlpipe.records.examples import encode_examples
    from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter

    (folder / f"Split-{split}").mkdir(parents=True)
    batch = pa.RecordBatch.from_pydict(dict(columns))
    with TFRecordWriter(folder / f"Split-{split}" / FILE_NAME) as writer:
        writer.write(encode_examples(batch).to_pylist())
    properties = {"splits": [split], "record_counts": {split: batch.num_rows}}
    return Examples(uri=str(folder), properties=properties)


def save_model(
    folder: Path, outputs: Mapping[str, tuple[str, int]], *, transform: Mapping[str, str] | None = None
) -> Model:
    """Save a model that predicts what examples say: by name of an output a feature and its number of values.

    `transform` gives it the signature `transform_features`: by name of a transformed feature that of a text.
    """
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature([size], tf.float32) for name, size in outputs.values()}
    texts = {name: tf.io.FixedLenFeature([1], tf.string) for name in (transform or {}).values()}
    signature = [tf.TensorSpec([None], tf.string, name="examples")]

    @tf.function(input_signature=signature)
    def serve(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, spec)
        return {name: parsed[feature] for name, (feature, _) in outputs.items()}

    @tf.function(input_signature=signature)
    def transform_features(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, texts)
        return {name: tf.strings.upper(parsed[feature]) for name, feature in (transform or {}).items()}

    signatures = {"serving_default": serve} | ({"transform_features": transform_features} if transform else {})
    module = tf.Module()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(folder / "Format-Serving"), signatures=signatures)
    return Model(uri=str(folder))


def write_schema(folder: Path, text: str) -> Schema:
    """Write a Schema."""
    folder.mkdir()
    (folder / "schema.pbtxt").write_text(text)
    return Schema(uri=str(folder))
