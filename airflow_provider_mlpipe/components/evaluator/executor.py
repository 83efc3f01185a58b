"""Evaluator's executor: computes metrics, checks them against thresholds, and writes the verdict in words.

A kernel adds up the sums that TFMA's metrics are derived from, and TFMA derives, validates and writes the metrics. If
the kernel does not cover the config (`plan.py`) or the data, TFMA's own pipeline does everything.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.records import keras3  # noqa: F401  (before tensorflow)
from airflow_provider_mlpipe.storage.layout import folder_of, serving_model

# isort: split
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig, ModelSpec, SlicingSpec
from tensorflow_model_analysis.utils import has_change_threshold, update_eval_config_with_defaults
from tfx_bsl.public.tfxio import TFExampleRecord

from airflow_provider_mlpipe.artifacts import Examples, Model, ModelBlessing, ModelEvaluation, Schema
from airflow_provider_mlpipe.components.evaluator.features import check_features
from airflow_provider_mlpipe.components.evaluator.kernel import EvaluationKernel, Task
from airflow_provider_mlpipe.components.evaluator.measures import Explained, NotCovered
from airflow_provider_mlpipe.components.evaluator.plan import why_not
from airflow_provider_mlpipe.components.evaluator.results import write_results
from airflow_provider_mlpipe.components.evaluator.summary import Slice, slices
from airflow_provider_mlpipe.components.evaluator.user_module import UserModule
from airflow_provider_mlpipe.components.evaluator.verdict import Verdict
from airflow_provider_mlpipe.exceptions import InvalidInputError, UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.execution.user_errors import cause
from airflow_provider_mlpipe.records.beam import pipeline
from airflow_provider_mlpipe.records.engine import Chunk, Source, fork_aside, map_chunks, names_runner, run_kernels
from airflow_provider_mlpipe.records.inputs import check_not_empty, read_schema
from airflow_provider_mlpipe.records.pieces import Piece, counts_by_split, pieces_of
from airflow_provider_mlpipe.records.saved_model import check_serving_model
from airflow_provider_mlpipe.records.tfrecord import read_records

log = logging.getLogger(__name__)

_BATCH = 1000
_OUTPUT_WEIGHTS = ("output_weights", "outputWeights")


def run(
    *,
    examples: Sequence[Examples],
    model: Model,
    baseline_model: Model | None,
    schema: Schema | None,
    eval_config: Mapping[str, Any],
    example_splits: Sequence[str],
    rubber_stamp: bool,
    module_file: str | None,
    evaluation: ModelEvaluation,
    blessing: ModelBlessing,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Evaluate, and always give a verdict with its reason.

    `evaluation` gets TFMA's result files and `summary.json`; `blessing` gets an empty file BLESSED or NOT_BLESSED.
    Raises InvalidInputError for an invalid eval_config, a feature that the schema lacks, or an unknown split, and
    UserCodeError for errors of the module's functions.
    """
    module = UserModule.load(module_file)
    given = _parse(eval_config)
    pieces = pieces_of(examples, example_splits, parameter="example_splits")
    known_schema = read_schema(schema) if schema else None
    if known_schema:
        named = json_format.MessageToDict(given, preserving_proto_field_name=True)
        check_features(named, {feature.name for feature in known_schema.feature})
    first = baseline_model is None and has_change_threshold(given)
    config = _complete(given, has_baseline=baseline_model is not None)
    _check_models(config, model, baseline_model)
    models = [
        _shared_model(
            spec, baseline_model if spec.is_baseline else model, config, module, rubber_stamp=rubber_stamp or first
        )
        for spec in config.model_specs
    ]
    task = Task(
        config=config.SerializeToString(deterministic=True),
        models=tuple((model.model_name, model.model_path) for model in models),
        schema=known_schema.SerializeToString(deterministic=True) if known_schema else None,
    )
    counts = {piece: _count(piece) for piece in pieces}
    by_split = counts_by_split(counts)
    check_not_empty(examples[0], by_split)
    if reason := module.named or _evaluate(task, models, counts, str(folder_of(evaluation)), context):
        log.info("TFMA's own pipeline evaluates, which is slower: %s", reason)
        files = [path for piece in pieces for path in piece.files]
        if task.schema:
            _check_rows(pieces, task.schema, context)
        with _explained(reason, module, context):
            _evaluate_by_tfma(files, known_schema, models, config, module, str(folder_of(evaluation)), context)

    result = tfma.load_validation_result(str(folder_of(evaluation)))
    slicing_specs = config.slicing_specs or [SlicingSpec()]
    verdict = Verdict.of(result, slicing_specs, skipped_change_thresholds=first)
    log.info("%s: %s", "Blessed" if verdict.blessed else "Not blessed", verdict.reason)
    _write_summary(evaluation, verdict, config, by_split)
    return {"blessing": _bless(blessing, verdict, model)}


def _parse(eval_config: Mapping[str, Any]) -> EvalConfig:
    try:
        config = json_format.ParseDict(_plain_numbers(eval_config), EvalConfig())
    except json_format.ParseError as error:
        raise InvalidInputError(f"eval_config does not fit tfma.EvalConfig: {error}") from error
    if not config.metrics_specs:
        log.warning(
            "eval_config lists no metrics_specs, and a SavedModel has no metrics that TFMA can read: only examples are "
            "counted; name metrics there"
        )
        config.metrics_specs.add().metrics.add(class_name="ExampleCount")
    return config


def _plain_numbers(value: Any) -> Any:
    """Replace `{"value": 0.5}` by 0.5: TFX's users write wrapper messages, but their JSON form is the bare number.

    A map of output weights stays as it is: there, `value` is the name of an output.
    """
    if isinstance(value, Mapping):
        if value.keys() == {"value"} and isinstance(value["value"], (bool, int, float)):
            return value["value"]
        return {key: item if key in _OUTPUT_WEIGHTS else _plain_numbers(item) for key, item in value.items()}
    return [_plain_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value


def _complete(given: EvalConfig, *, has_baseline: bool) -> EvalConfig:
    """Fill in what the user may leave out, and add or drop the baseline with its change thresholds."""
    config = EvalConfig()
    config.CopyFrom(given)
    if not config.model_specs:
        config.model_specs.add()
    for spec in config.model_specs:
        # Otherwise TFMA first tries to load the model with Keras, and Keras 3 cannot read a SavedModel.
        spec.model_type = spec.model_type or tfma.TF_GENERIC
        spec.signature_name = spec.signature_name or "serving_default"
    config = update_eval_config_with_defaults(config, has_baseline=has_baseline, rubber_stamp=True)
    roles = [spec.is_baseline for spec in config.model_specs]
    if roles.count(False) != 1 or roles.count(True) != has_baseline:
        raise InvalidInputError(
            "eval_config.model_specs: give one spec without a name, or one for the model and one with is_baseline"
        )
    return config


def _check_models(config: EvalConfig, model: Model, baseline_model: Model | None) -> None:
    """Raise InvalidInputError, with what to do, for a model without a SavedModel where TFMA loads it."""
    for spec in config.model_specs:
        judged = baseline_model if spec.is_baseline else model
        if judged is not None and spec.model_type not in (tfma.TF_LITE, tfma.TF_JS):
            check_serving_model(judged)


def _shared_model(
    spec: ModelSpec, model: Model | None, config: EvalConfig, module: UserModule, *, rubber_stamp: bool
) -> tfma.EvalSharedModel:
    assert model is not None  # _complete keeps the baseline's spec only when there is a baseline
    shared = module.eval_shared_model(str(serving_model(model)), spec.name, config)
    return shared._replace(rubber_stamp=rubber_stamp and not spec.is_baseline)


def _evaluate(
    task: Task,
    models: list[tfma.EvalSharedModel],
    counts: Mapping[Piece, int],
    output: str,
    context: ExecutorContext,
) -> NotCovered | None:
    """Evaluate with the kernel, and return None; or return the reason why TFMA's pipeline has to do it."""
    if reason := _reason_against(task, context):
        return reason
    schema = task.read_schema()
    sources = [
        source for piece in counts for source in piece.sources(schema=schema, record_column=tfma.ARROW_INPUT_COLUMN)
    ]
    try:
        sums = run_kernels({"": EvaluationKernel(task)}, {"": sources}, context)[""]
    except NotCovered as data:
        return data
    if sums.rows != sum(counts.values()):
        raise InvalidInputError(
            f"{', '.join(dict.fromkeys(piece.examples.uri for piece in counts))}: {sums.rows} examples were evaluated, "
            f"but there are {counts_by_split(counts)}; create the examples again"
        )
    if sums.improbable:
        log.warning(
            "%s predictions are outside 0 to 1, but metrics such as AUC take them as probabilities: let the model's "
            "signature apply a sigmoid or softmax to its logits",
            f"{sums.improbable:,}",
        )
    write_results(task, sums, models, output, context)
    return None


def _reason_against(task: Task, context: ExecutorContext) -> NotCovered | None:
    """Ask `why_not` in a fork: it runs TensorFlow, after which a process must not fork."""
    with fork_aside(context) as call:
        reason: NotCovered | None = call(why_not, task)
        return reason


@contextlib.contextmanager
def _explained(reason: NotCovered | str, module: UserModule, context: ExecutorContext) -> Iterator[None]:
    """Put before an error of TFMA's pipeline why that pipeline runs: the error itself names no key of the config.

    Errors on a named runner stay as they are, because they may have other reasons.
    """
    try:
        yield
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if names_runner(context.beam_pipeline_args):
            raise
        said = str(error)
        if module.named:
            raise UserCodeError(f"TFMA's pipeline fails with {reason}: {cause(said)}\n{said}") from error
        more = "" if isinstance(reason, Explained) else f"; TFMA's own pipeline fails, too: {cause(said)}"
        raise InvalidInputError(f"eval_config: {reason}{more}\nTFMA's own pipeline says: {said}") from error


def _check_rows(pieces: Sequence[Piece], schema: bytes, context: ExecutorContext) -> None:
    """Raise InvalidInputError for the first row that does not fit the schema: TFMA might shift the rows after it."""
    sources: list[Source[Chunk]] = [source for piece in pieces for source in piece.sources(schema=schema)]
    for _ in map_chunks(_read, sources, context):
        pass


def _read(chunk: Chunk) -> int:
    return sum(batch.num_rows for batch in chunk.batches())


def _evaluate_by_tfma(
    files: list[Path],
    schema: schema_pb2.Schema | None,
    models: list[tfma.EvalSharedModel],
    config: EvalConfig,
    module: UserModule,
    output: str,
    context: ExecutorContext,
) -> None:
    reader = TFExampleRecord(
        file_pattern=[str(path) for path in files],
        schema=schema,
        raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        telemetry_descriptors=["mlpipe", "Evaluator"],
    )
    adapter_config = reader.TensorAdapterConfig() if schema else None
    extractors = module.make_extractors(models, config, adapter_config)
    with pipeline(context.beam_pipeline_args) as run:
        _ = (
            run
            | "Read" >> reader.BeamSource(batch_size=_BATCH)
            | "Evaluate"
            >> tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=models,
                eval_config=config,
                extractors=extractors,
                output_path=output,
                schema=schema,
                tensor_adapter_config=adapter_config,
            )
        )


def _count(piece: Piece) -> int:
    counts: Mapping[str, int] = piece.examples.properties.get("record_counts", {})
    return counts[piece.split] if piece.split in counts else sum(1 for path in piece.files for _ in read_records(path))


def _write_summary(evaluation: ModelEvaluation, verdict: Verdict, config: EvalConfig, records: dict[str, int]) -> None:
    metrics = list(tfma.load_metrics(str(folder_of(evaluation))))
    by_role: dict[bool, list[Slice]] = {
        spec.is_baseline: slices(metrics, model_name=spec.name) for spec in config.model_specs
    }
    candidate = by_role[False]
    summary = {
        **verdict.to_dict(),
        "slices": candidate,
        "baseline": by_role.get(True),
        "counts": {"records": records, "slices": len(candidate), "failures": len(verdict.failures)},
    }
    text = json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False)
    (folder_of(evaluation) / "summary.json").write_text(text + "\n", encoding="utf-8")


def _bless(blessing: ModelBlessing, verdict: Verdict, model: Model) -> Produced:
    (folder_of(blessing) / ("BLESSED" if verdict.blessed else "NOT_BLESSED")).touch()
    properties: dict[str, Any] = {"blessed": int(verdict.blessed), "reason": verdict.reason}
    if model.digest is not None:
        properties["model_digest"] = model.digest
    if model.id is not None:
        properties["model_id"] = model.id
    return Produced(properties=properties)
