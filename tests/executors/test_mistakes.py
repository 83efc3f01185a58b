"""Mistakes of a new user that show when a task runs, and exactly what `airflow mlpipe runs` then says of it.

tests/unit/pipeline/test_mistakes.py has those that show when the DAG file is parsed.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.sdk.exceptions import AirflowFailException
from little_airflow import LittleAirflow

from airflow_provider_mlpipe import (
    CsvExampleGenOperator,
    EvaluatorOperator,
    ExampleValidatorOperator,
    ImporterOperator,
    ImportSchemaGenOperator,
    PusherOperator,
    SchemaGenOperator,
    StatisticsGenOperator,
    TrainerOperator,
    TransformOperator,
    create_dag,
)
from airflow_provider_mlpipe.execution import warm
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.settings import airflow_home

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

ROWS = "".join(f"{number / 8},{number if number % 9 else 'NA'},w{number % 3},{number % 2}\n" for number in range(48))
MODEL = """\
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tfx_bsl.public.tfxio import TensorFlowDatasetOptions


class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, examples):
        return tf.sigmoid(tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"])


def rows(fn_args, label="label"):
    schema = text_format.Parse(Path(fn_args.schema_path).read_text(), Schema())
    options = TensorFlowDatasetOptions(batch_size=8, label_key=label, num_epochs=1)
    return fn_args.data_accessor.tf_dataset_factory(fn_args.train_files, options, schema)


def run_fn(fn_args):
"""
TRAINS = (
    "    model = Model()\n    tf.saved_model.save(model, fn_args.serving_model_dir, {'serving_default': model.serve})\n"
)
RUN_FN_LINE = len(MODEL.splitlines()) + 1
"""The first line of what a mistake puts into run_fn."""
SCHEMA_LINE = next(n for n, line in enumerate(MODEL.splitlines(), 1) if "schema_path" in line)
DENSE = """\
    import keras
    model = keras.Sequential([keras.Input([{inputs}]), keras.layers.Dense(1)])
    model.compile("adam", "mse")
"""

PREPROCESSING = "import tensorflow as tf\nimport tensorflow_transform as tft\n\ndef preprocessing_fn(inputs):\n"
REQUIRED = 'feature { name: "age" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }\n'
JUDGED = {
    "model_specs": [{"label_key": "label"}],
    "metrics_specs": [{"metrics": [{"class_name": "ExampleCount"}, {"class_name": "BinaryAccuracy"}]}],
}


@dataclass
class Pipeline:
    """Components without a mistake, for one that has it; `at` is a path in the folder of the mistake's files."""

    good: Path
    folder: Path

    def __post_init__(self) -> None:
        self.examples = CsvExampleGenOperator(input_base=str(self.good / "data")).outputs["examples"]
        self.statistics = StatisticsGenOperator(examples=self.examples).outputs["statistics"]
        self.schema = SchemaGenOperator(statistics=self.statistics).outputs["schema"]

    def at(self, name: str) -> str:
        return str(self.folder / name)

    def model(self) -> Channel[Any]:
        module = str(self.good / "model.py")
        return TrainerOperator(examples=self.examples, schema=self.schema, module_file=module).outputs["model"]

    def imported(self, artifact_type: str = "Model") -> Channel[Any]:
        return ImporterOperator(source_uri=self.at("imported"), artifact_type=artifact_type).outputs["result"]

    def of_one_split(self) -> Channel[Any]:
        """The examples of the mistake's own data, all of them in the split `train`."""
        config = {"split_config": {"splits": [{"name": "train", "hash_buckets": 1}]}}
        return CsvExampleGenOperator(input_base=self.at("data"), output_config=config).outputs["examples"]

    def evaluator(self, **given: Any) -> NodeOperator:
        defaults = {"examples": self.examples, "schema": self.schema, "eval_config": JUDGED}
        return EvaluatorOperator(**{**defaults, **({} if "model" in given else {"model": self.model()}), **given})

    def pusher(self, base_directory: str, model: Channel[Any] | None = None) -> NodeOperator:
        destination = {"filesystem": {"base_directory": base_directory}}
        return PusherOperator(model=model or self.model(), push_destination=destination)


@dataclass(frozen=True)
class Mistake:
    """A component with a mistake, the files that it has to do with, and the error.

    In its text ~ is the folder of these files, and … stands for what differs between versions of a library. Airflow
    retries only what another try might not meet.
    """

    component: Callable[[Pipeline], NodeOperator]
    says: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    is_retried: bool = False


def reading(says: str, files: Mapping[str, str | bytes], **given: Any) -> Mistake:
    """One of the CSV files."""
    component = lambda p: CsvExampleGenOperator(input_base=p.at("data"), **given)  # noqa: E731
    return Mistake(component, says, {f"data/{name}": content for name, content in files.items()})


def importing_schema(says: str, text: str | bytes) -> Mistake:
    return Mistake(lambda p: ImportSchemaGenOperator(schema_file=p.at("schema.pbtxt")), says, {"schema.pbtxt": text})


def with_a_schema_of_ones_own(p: Pipeline) -> NodeOperator:
    (p.folder / "schema.pbtxt").write_text(REQUIRED)
    schema = ImportSchemaGenOperator(schema_file=p.at("schema.pbtxt")).outputs["schema"]
    (p.folder / "pre.py").write_text(PREPROCESSING + "    return inputs")
    return TransformOperator(examples=p.of_one_split(), schema=schema, module_file=p.at("pre.py"))


def transforming(says: str, code: str) -> Mistake:
    return Mistake(
        lambda p: TransformOperator(examples=p.examples, schema=p.schema, module_file=p.at("pre.py")),
        says,
        {"pre.py": code},
    )


def training(says: str, code: str, *, is_retried: bool = False, **given: Any) -> Mistake:
    return Mistake(
        lambda p: TrainerOperator(
            **{"examples": p.examples, "schema": p.schema, "module_file": p.at("model.py"), **given}
        ),
        says,
        {"model.py": code},
        is_retried,
    )


def evaluating(says: str, **config: Any) -> Mistake:
    return Mistake(lambda p: p.evaluator(eval_config={**JUDGED, **config}), says)


MISTAKES = {
    "no folder": Mistake(
        lambda p: CsvExampleGenOperator(input_base=p.at("data")),
        "InvalidInputError: input_base '~/data' is missing; give a folder",
    ),
    "a file in place of a folder": Mistake(
        lambda p: CsvExampleGenOperator(input_base=p.at("rows.csv")),
        "InvalidInputError: input_base '~/rows.csv' is a file; give a folder",
        {"rows.csv": "x\n1\n"},
    ),
    "a pattern that matches nothing": reading(
        "InvalidInputError: no file matches 'train*.csv' in input_base '~/data', which contains: Train.csv, more/; "
        "correct input_base, or the pattern in input_config ('**/*' looks into subfolders)",
        {"Train.csv": "a\n1\n", "more/train.csv": "a\n1\n"},
        input_config={"splits": [{"name": "train", "pattern": "train*.csv"}]},
    ),
    "a template of nothing": Mistake(
        lambda p: CsvExampleGenOperator(input_base="{{ params.folder }}"),
        "InvalidInputError: CsvExampleGen: the template in input_base cannot be rendered: 'dict object' has no "
        "attribute 'folder'; correct it",
    ),
    "an empty file": reading(
        "InvalidInputError: ~/data/rows.csv is empty; its first line must name the columns", {"rows.csv": ""}
    ),
    "headers and no row": reading(
        "InvalidInputError: ~/data/0.csv, ~/data/1.csv: no row follows the header; check what wrote them",
        {"0.csv": "a,b\n", "1.csv": "a,b\n"},
    ),
    "a row with a comma too many": reading(
        "InvalidInputError: ~/data/rows.csv: line 3: the row has 3 cells, the header has 2; correct it, or quote cells "
        "that hold a comma",
        {"rows.csv": "a,b\n1,2\n1,2,3\n"},
    ),
    "a quote that is never closed": reading(
        "InvalidInputError: ~/data/rows.csv: line 3: a quote that opens in this row is never closed; close it, or "
        "double quotes within a cell",
        {"rows.csv": 'a,b\n1,2\n1,"2\n3,4\n'},
    ),
    "not UTF-8": reading(
        "InvalidInputError: ~/data/rows.csv: line 3: a cell is not valid UTF-8; give CsvExampleGen its "
        'encoding, such as encoding="cp1252"',
        {"rows.csv": "a,b\n1,2\n1,käse\n".encode("latin-1")},
    ),
    "a gzip": reading(
        "InvalidInputError: ~/data/rows.csv holds gzip, not text in UTF-8; let its name end in .gz, or "
        "decompress it (gunzip)",
        {"rows.csv": gzip.compress(b"a,b\n1,2\n")},
    ),
    "half a gzip": reading(
        "InvalidInputError: ~/data/rows.csv.gz: gzip is cut off or corrupt, somewhere after 0 bytes of text ("
        "Compressed file ended before the end-of-stream marker was reached); create the file again from its source",
        {"rows.csv.gz": gzip.compress(b"a,b\n1,2\n")[:-1]},
    ),
    "semicolons between the cells": reading(
        "InvalidInputError: ~/data/rows.csv: line 2: the row has 2 cells, the header has 1; does a semicolon separate "
        "the cells? Then give CsvExampleGen delimiter=';'",
        {"rows.csv": "a;b\n1,5;2\n"},
    ),
    "another encoding": reading(
        "InvalidInputError: ~/data/rows.csv: line 2, near byte 7: the text is not valid ascii (ordinal not in "
        "range(128)); give the encoding that it has",
        {"rows.csv": "a,b\n1,ä\n"},
        encoding="ascii",
    ),
    "an Excel workbook": reading(
        "InvalidInputError: ~/data/rows.csv holds a zip archive or an Excel workbook (.xlsx), not text in UTF-8; unzip "
        "it, or export it as CSV in UTF-8",
        {"rows.csv": b"PK\x03\x04\x14\0"},
    ),
    "a column named twice": reading(
        "InvalidInputError: ~/data/rows.csv: line 1 names the column 'a' twice; rename one",
        {"rows.csv": "a,b,a\n1,2,3\n"},
    ),
    "another file beside the data": reading(
        "InvalidInputError: ~/data/rows.csv has a different header than ~/data/README.txt: column 1 is 'a', not 'As of "
        "May'; all files of a split need the same columns in the same order; leave other files out with a pattern in "
        "input_config",
        {"README.txt": "As of May\n", "rows.csv": "a,b\n1,2\n"},
    ),
    "a column to split by that is not there": reading(
        "InvalidInputError: partition_feature_name 'user' is not a column; the columns are a, b",
        {"rows.csv": "a,b\n1,2\n"},
        output_config={
            "split_config": {
                "partition_feature_name": "user",
                "splits": [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}],
            }
        },
    ),
    "a split that is not there": Mistake(
        lambda p: StatisticsGenOperator(examples=p.examples, exclude_splits=["test"]),
        "InvalidInputError: exclude_splits names the split 'test', which Examples ROOT/CsvExampleGen/examples/N does "
        "not have; it has: train, eval",
    ),
    "a misspelled runner": Mistake(
        lambda p: StatisticsGenOperator(examples=p.examples, beam_pipeline_args=["--runner=DirectRuner"]),
        "InvalidInputError: beam_pipeline_args: the runner 'DirectRuner' cannot be used: Unexpected pipeline runner: "
        "DirectRuner. Valid values are …",
    ),
    "a misspelled option": Mistake(
        lambda p: StatisticsGenOperator(examples=p.examples, stats_options={"num_top_value": 3}),
        "InvalidInputError: stats_options has no 'num_top_value'; did you mean num_top_values?",
    ),
    "a weight that is not there": Mistake(
        lambda p: StatisticsGenOperator(examples=p.examples, stats_options={"weight_feature": "wt"}),
        'InvalidInputError: stats_options: weight_feature: Weight column "wt" not present in the input record batch; '
        "name a feature that has exactly one number in every example, and list it in feature_allowlist if that is set",
    ),
    "an environment that is not there": Mistake(
        lambda p: ExampleValidatorOperator(statistics=p.statistics, schema=p.schema, environment="SERVING"),
        "InvalidInputError: environment 'SERVING' is not a default_environment of the schema; it has: none",
    ),
    "no schema file": Mistake(
        lambda p: ImportSchemaGenOperator(schema_file=p.at("schema.pbtxt")),
        "InvalidInputError: schema_file: ~/schema.pbtxt does not exist; give a path that the Airflow worker sees",
    ),
    "a misspelled field of a schema": importing_schema(
        "InvalidInputError: schema_file ~/schema.pbtxt, line 3, column 3: Message type "
        '"tensorflow.metadata.v0.Feature" has no field named "typ"; it must hold a tensorflow.metadata.v0.Schema in '
        "text format",
        'feature {\n  name: "x"\n  typ: INT\n}\n',
    ),
    "a binary schema": importing_schema(
        "InvalidInputError: schema_file ~/schema.pbtxt is not text in UTF-8; it must hold a "
        "tensorflow.metadata.v0.Schema in text format, as text_format.MessageToString writes it",
        b"\n\x05\n\x01x\x10\x02\xff",
    ),
    "a schema without features": importing_schema(
        "InvalidInputError: schema_file ~/schema.pbtxt declares no feature; declare the columns, as SchemaGen does",
        "# nothing yet\n",
    ),
    "a row without a required value": Mistake(
        with_a_schema_of_ones_own,
        "InvalidInputError: ROOT/CsvExampleGen/examples/N/Arrow-train/data-00000-of-00001.arrow, row 2 of the "
        "split 'train': feature 'age' has no values, but the schema says 1 for every row. Correct the data. If rows "
        "may differ, remove the feature's shape from the schema, and it becomes a sparse tensor",
        {"data/rows.csv": "age,word\n1,a\n,b\n"},
    ),
    "text where the schema has a number": Mistake(
        with_a_schema_of_ones_own,
        "InvalidInputError: ROOT/CsvExampleGen/examples/N/Arrow-train/data-00000-of-00001.arrow: feature 'age' "
        "is BYTES, but in the schema it is INT; correct the schema, or the data",
        {"data/rows.csv": "age,word\n1,a\nNA,b\n"},
    ),
    "no module file": Mistake(
        lambda p: TransformOperator(examples=p.examples, schema=p.schema, module_file=p.at("pre.py")),
        "UserCodeError: module_file='~/pre.py' does not exist; give its full path, e.g. str(Path(__file__).parent / "
        "...)",
    ),
    "a module without the function": transforming(
        "UserCodeError: ~/pre.py has no function preprocessing_fn(); it defines: preprocess. Add `def "
        "preprocessing_fn(...)` there.",
        "def preprocess(inputs):\n    return inputs\n",
    ),
    "not Python": transforming(
        "UserCodeError: ~/pre.py, line 1: not valid Python: expected ':' (pre.py, line 1)",
        "def preprocessing_fn(inputs)\n    return inputs\n",
    ),
    "an import of what is not installed": transforming(
        "UserCodeError: module file ~/pre.py cannot be imported: ModuleNotFoundError: No module named 'sklearnn' "
        "(~/pre.py, line 1); correct the name, or install it where the Airflow worker runs",
        "import sklearnn\n",
    ),
    "a name without its import": transforming(
        "UserCodeError: module file ~/pre.py cannot be imported: NameError: name 'np' is not defined (~/pre.py, line "
        "2)",
        "# constants\nLIMITS = np.zeros(3)\n",
    ),
    "an unknown feature": transforming(
        "UserCodeError: preprocessing_fn raised KeyError at ~/pre.py, line 5: 'agee'; the features are age (BYTES), "
        "label (INT), word (BYTES), x (FLOAT)",
        PREPROCESSING + "    return {'age': inputs['agee']}\n",
    ),
    "a cast of text": transforming(
        "UserCodeError: preprocessing_fn fails on the data at ~/pre.py, line 5: Cast string to float is not supported "
        "(in the split 'train'). Cast is computed from 'age' (BYTES). Correct the function, or the data",
        PREPROCESSING + "    return {'age': tft.scale_to_0_1(tf.cast(inputs['age'], tf.float32))}\n",
    ),
    "a number and a text": transforming(
        "UserCodeError: preprocessing_fn raised TypeError at ~/pre.py, line 5: Input 'y' of 'AddV2' Op has type string "
        "that does not match type float32 of argument 'x'; the features are age (BYTES), label (INT), word (BYTES), x "
        "(FLOAT)",
        PREPROCESSING + "    return {'x': inputs['x'] + inputs['word']}\n",
    ),
    "no result": transforming(
        "UserCodeError: preprocessing_fn at ~/pre.py, line 4 returned None; it must return a dict of at least one "
        "tensor",
        PREPROCESSING + "    outputs = {'x': inputs['x']}\n",
    ),
    "fewer rows than there are": transforming(
        "UserCodeError: preprocessing_fn at ~/pre.py, line 4 returned 27 rows for 'x', but got 32; the first dimension "
        "of every output must be the batch: a value for each row",
        PREPROCESSING + "    return {'x': tf.boolean_mask(inputs['x'], inputs['x'] > 1)}\n",
    ),
    "a run_fn that takes nothing": training(
        "UserCodeError: ~/model.py, line 1: run_fn() is called with one argument: too many positional arguments. Write "
        "`def run_fn(fn_args)`",
        "def run_fn():\n    pass\n",
    ),
    "a run_fn that saves nothing": training(
        "UserCodeError: run_fn of ~/model.py returned, but saved no SavedModel to fn_args.serving_model_dir "
        "(ROOT/Trainer/model/N/Format-Serving); end it with `model.export(fn_args.serving_model_dir)` or "
        "`tf.saved_model.save(model, fn_args.serving_model_dir, signatures=...)`",
        "def run_fn(fn_args):\n    pass\n",
    ),
    "a misspelled attribute of fn_args": training(
        "UserCodeError: run_fn raised AttributeError at ~/model.py, line 2: 'FnArgs' object has no attribute "
        "'train_file'; did you mean train_files?",
        "def run_fn(fn_args):\n    print(fn_args.train_file)\n",
    ),
    "an input that Trainer was not given": training(
        f"UserCodeError: run_fn raised TypeError at ~/model.py, line {SCHEMA_LINE}: …NoneType…; "
        "fn_args.schema_path is None, since Trainer was not given its input schema",
        MODEL + "    rows(fn_args)\n",
        schema=None,
    ),
    "an unknown label in run_fn": training(
        "InvalidInputError: label_key: the schema has no feature 'labels'; its features: age, label, word, x",
        MODEL + "    rows(fn_args, 'labels')\n",
    ),
    "an unknown feature in run_fn": training(
        f"UserCodeError: run_fn raised KeyError at ~/model.py, line {RUN_FN_LINE}: 'X'; the features are x (FLOAT), "
        "age (BYTES), label (INT), word (BYTES)",
        MODEL + "    rows(fn_args).map(lambda row, label: (row['X'], label))\n",
    ),
    "text for a layer of numbers": training(
        f"UserCodeError: run_fn raised UnimplementedError at ~/model.py, line {RUN_FN_LINE + 3}: Cast string to float "
        "is not supported; the features are age (BYTES), label (INT), word (BYTES), x (FLOAT)",
        MODEL + DENSE.format(inputs=1) + "    model.fit(rows(fn_args).map(lambda row, label: (row['word'], label)))\n",
    ),
    "another shape than the layer's": training(
        f"UserCodeError: run_fn raised ValueError at ~/model.py, line {RUN_FN_LINE + 3}: Input 0 … is "
        "incompatible with the layer: expected axis -1 of input shape to have value 2, but received input with shape "
        "(None, 1); the features are age (BYTES), label (INT), word (BYTES), x (FLOAT)",
        MODEL + DENSE.format(inputs=2) + "    model.fit(rows(fn_args).map(lambda row, label: (row['x'], label)))\n",
    ),
    "a server that does not answer": training(
        f"ExecutorFailedError: ConnectionError: refused (~/model.py, line {RUN_FN_LINE})",
        MODEL + "    raise ConnectionError('refused')\n",
        is_retried=True,
    ),
    "more memory than there is": training(
        "ExecutorDiedError: the executor of Trainer ended without a result, killed by SIGKILL (perhaps out of memory: "
        "give the machine more memory, or the component less data at a time)",
        "def run_fn(fn_args):\n    import os\n    os.kill(os.getpid(), 9)\n",
        is_retried=True,
    ),
    "a split to train on that is not there": training(
        "InvalidInputError: train_args.splits: Examples ROOT/CsvExampleGen/examples/N has no split 'training'; known "
        "splits: train, eval",
        MODEL + TRAINS,
        train_args={"splits": ["training"]},
    ),
    "an unknown label to judge by": evaluating(
        "InvalidInputError: eval_config.model_specs[0].label_key: the schema has no feature 'labels'; it has label, "
        "age, word, x. For a feature that the model makes, name its signature in "
        "model_specs.preprocessing_function_names",
        model_specs=[{"label_key": "labels"}],
    ),
    "a slice by an unknown feature": evaluating(
        "InvalidInputError: eval_config.slicing_specs[1].feature_values: the schema has no feature 'island'; it has "
        "label, age, word, x. For a feature that the model makes, name its signature in "
        "model_specs.preprocessing_function_names",
        slicing_specs=[{}, {"feature_values": {"island": "Biscoe"}}],
    ),
    "no label to judge by": evaluating(
        "InvalidInputError: eval_config: a metric needs labels, but none is given: name the feature that has them in "
        "model_specs.label_key",
        model_specs=[{}],
    ),
    "text to judge by": evaluating(
        "InvalidInputError: eval_config: the labels in 'word' (model_specs.label_key) are text. Save the model with a "
        "signature that returns them as numbers, and name it in model_specs.preprocessing_function_names",
        model_specs=[{"label_key": "word"}],
    ),
    "a signature that the model lacks": evaluating(
        "InvalidInputError: eval_config: the model ROOT/Trainer/model/N/Format-Serving has no signature 'serve'; it "
        "has serving_default",
        model_specs=[{"label_key": "label", "signature_name": "serve"}],
    ),
    "a misspelled argument of a metric": evaluating(
        "InvalidInputError: eval_config metric AUC: … got an unexpected keyword argument 'num_threshold'…",
        metrics_specs=[{"metrics": [{"class_name": "AUC", "config": '{"num_threshold": 3}'}]}],
    ),
    "a split to judge by that is not there": Mistake(
        lambda p: p.evaluator(example_splits=["test"]),
        "InvalidInputError: example_splits: Examples ROOT/CsvExampleGen/examples/N has no split 'test'; known splits: "
        "train, eval",
    ),
    "a model elsewhere than where it belongs": Mistake(
        lambda p: p.evaluator(model=p.imported()),
        "InvalidInputError: Model ~/imported has no SavedModel in Format-Serving/; there is one in ~/imported/model, "
        "from where it can be copied. Trainer's run_fn saves it to fn_args.serving_model_dir itself, not to a folder "
        "below; a model for Importer has it in Format-Serving/",
        {"imported/model/saved_model.pb": ""},
    ),
    "nothing to import": Mistake(
        lambda p: p.imported().producer,
        "InvalidInputError: source_uri: ~/imported does not exist; give a path that the Airflow worker sees",
    ),
    "a file to import": Mistake(
        lambda p: p.imported().producer,
        "InvalidInputError: Importer.source_uri: ~/imported is a file, but Model is a folder: put the file into a "
        "folder of its own, and give that",
        {"imported": "a model"},
    ),
    "a push of what is no model": Mistake(
        lambda p: p.pusher("/serving", p.imported()),
        "InvalidInputError: ~/imported/Format-Serving has no saved_model.pb: this model cannot be served, and is not "
        "pushed; save it there",
        {"imported/saved_model.pb": ""},
    ),
    "a push to a relative path": Mistake(
        lambda p: p.pusher("serving"),
        "InvalidInputError: push_destination.filesystem.base_directory: 'serving' must be an absolute path of a local "
        "or mounted file system",
    ),
    "a push to a file": Mistake(
        lambda p: p.pusher(p.at("serving")),
        "InvalidInputError: cannot push to ~/serving: [Errno 17] File exists: '~/serving'. Set "
        "push_destination.filesystem.base_directory to a folder that this user can write to",
        {"serving": ""},
    ),
    "a folder for results that cannot be made": Mistake(
        lambda p: CsvExampleGenOperator(input_base=p.at("data"), pipeline_root="/proc/mlpipe"),
        "InvalidInputError: pipeline_root /proc/mlpipe cannot be written: [Errno 2] No such file or directory: "
        "'/proc/mlpipe'. Let the Airflow worker's user write there, or give another pipeline_root",
        {"data/rows.csv": "a\n1\n"},
    ),
}


@pytest.fixture(scope="module")
def airflow(postgres_server: EmbeddedPostgres, _migrated: str) -> Iterator[LittleAirflow]:
    dsn = postgres_server.create_database("mistakes", template=_migrated)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_MLPIPE_DEFAULT", dsn.replace("postgresql://", "mlpipe://", 1))
        store = MetadataStore(dsn)
        yield LittleAirflow(store)
        store.close()
    warm.stop(airflow_home())
    postgres_server.drop_database("mistakes")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pipeline without a mistake; its components are hits from the second mistake on."""
    folder = tmp_path_factory.mktemp("good")
    write(folder, {"data/rows.csv": f"x,age,word,label\n{ROWS}", "model.py": MODEL + TRAINS})
    return folder


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def with_what_it_reads(component: NodeOperator) -> list[NodeOperator]:
    found = [component]
    for one in found:
        found += [channel.producer for channel in one.input_channels().values() if channel.producer not in found]
    return found


@pytest.mark.parametrize("name", MISTAKES)
def test_the_error_is_one_line_that_names_place_and_remedy(
    name: str, good: Path, airflow: LittleAirflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake, root = MISTAKES[name], good / "root"
    write(tmp_path, mistake.files)
    wrong = mistake.component(Pipeline(good, tmp_path))
    dag = create_dag("mistakes", with_what_it_reads(wrong), pipeline_root=str(root))
    airflow.trigger(dag, name)

    capsys.readouterr()
    args = get_parser().parse_args(["mlpipe", "runs", "--run-id", name, "--limit", "1", "--output", "json"])
    args.func(args)
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["component"], row["state"]) == (wrong.task_id, "FAILED")
    said = shortened(row["error"], root, tmp_path)
    assert re.fullmatch(re.escape(mistake.says).replace("…", ".*"), said), said
    is_retried = not isinstance(airflow.runs[name].errors[wrong.task_id], AirflowFailException)
    assert is_retried == mistake.is_retried


def shortened(error: str, root: Path, folder: Path) -> str:
    """The error with short names of the folders; an artifact's number is N."""
    numbered = re.sub(rf"(?<={re.escape(str(root))})((?:/\w+){{2}})/\d+", r"\1/N", error)
    return numbered.replace(str(root), "ROOT").replace(str(folder), "~")
