"""Transform on the flights, analyzing `train`: against TFT on Beam, and on three and ten times the rows.

Vocabularies, schema and transformed values are held equal, floats to 1e-5.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_example_gen import BUCKETS, examples
from clock import Clock
from measured import HEAD, compare, report
from tables import table

FLIGHTS = Path(__file__).parents[1] / "dags" / "flights"


def figures() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        inputs, without = examples(root)
        names = "TFT on Beam, in memory", "this package, from the sidecar"
        yield from compare(__file__, names, inputs, root, assert_equal, without_sidecar=without)
        (root / "profile").mkdir()
        subprocess.run([sys.executable, __file__, "profile", inputs[1], root / "profile"], check=True)


def assert_equal(stock: Path, ours: Path) -> None:
    import transforms

    for split in BUCKETS:
        one, other = (
            transforms.Transformed(folder / "graph", transforms.read_rows(folder / f"Split-{split}"), [])
            for folder in (ours, stock)
        )
        transforms.assert_equal(one, other, transforms.FLIGHT_TOLERANCES)


def run_once(what: str, examples: str, out: str) -> None:
    """What the fresh process does."""
    graph, cache, tmp = (Path(out, name) for name in ("graph", "cache", "tmp"))
    if what == "stock":
        import stock
        from flights import data
        from google.protobuf import text_format
        from tensorflow_metadata.proto.v0.schema_pb2 import Schema as SchemaProto

        from airflow_provider_mlpipe.execution.user_code import load_function

        function = load_function(str(FLIGHTS / "model.py"), None, "preprocessing_fn")
        schema = text_format.Parse((FLIGHTS / "schema.pbtxt").read_text(), SchemaProto())
        files = {split: f"{examples}/Split-{split}/*" for split in BUCKETS}

        def work() -> int:
            stock.write_transformed(function, schema, files, "train", Path(out))
            return data.FLIGHTS

    else:
        from transforms import DEFAULTS

        from airflow_provider_mlpipe.artifacts import Examples, Schema, TransformCache, TransformGraph
        from airflow_provider_mlpipe.components.transform.executor import run
        from airflow_provider_mlpipe.execution.contract import ExecutorContext

        for folder in (graph, cache, tmp):
            folder.mkdir(parents=True)

        def work() -> int:
            produced = run(
                examples=[Examples(uri=examples, properties={"splits": list(BUCKETS)})],
                schema=Schema(uri=str(FLIGHTS)),
                module_file=str(FLIGHTS / "model.py"),
                **DEFAULTS,
                transform_graph=TransformGraph(uri=str(graph)),
                transformed_examples=[Examples(uri=out)],
                updated_analyzer_cache=TransformCache(uri=str(cache)),
                context=ExecutorContext(component_id="Transform", execution_id=1, tmp_dir=str(tmp)),
            )
            return sum(produced["transformed_examples"][0].properties["record_counts"].values())

    report(work)


# ---- where the time goes


def profile(examples: str, out: str) -> None:
    """CPU seconds of each step, all of them one after the other in this process."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from airflow_provider_mlpipe.artifacts import Examples, Schema
    from airflow_provider_mlpipe.components.transform import kernel, materialize, saved_graph, tft_nodes
    from airflow_provider_mlpipe.execution.contract import ExecutorContext
    from airflow_provider_mlpipe.records.chunks import SidecarChunk, example_sources
    from airflow_provider_mlpipe.records.inputs import read_schema
    from airflow_provider_mlpipe.records.pieces import Piece
    from airflow_provider_mlpipe.records.sidecar import SidecarWriter

    clock = Clock()
    module = saved_graph.UserModule(str(FLIGHTS / "model.py"), None)
    schema, raw = read_schema(Schema(uri=str(FLIGHTS))), Examples(uri=examples)
    serialized = schema.SerializeToString()
    sources = {split: example_sources(raw, split, schema=serialized) for split in BUCKETS}
    function = module.load()
    tf.constant(0) + 1  # what TensorFlow does once
    clock.time(saved_graph, "_loaded", "load the graph, in each process")
    clock.time(saved_graph.SavedGraph, "apply", "make tensors of rows, and apply the graph")
    clock.time(materialize, "encode_examples", "encode tf.Examples")
    clock.time(materialize, "frame", "checksums of records")
    clock.time(SidecarWriter, "write", "write the sidecar")
    clock.time(SidecarWriter, "close", "write the sidecar")

    def over(graph: object, analyzers: object) -> object:
        with clock("accumulate what analyzers keep"):
            one = kernel.AnalyzersKernel(saved_graph.SavedGraph(graph, serialized, module), analyzers)
            states = one.create()
            for source in sources["train"]:
                for batch in clock.each("read the sidecar", source.batches()):
                    states = one.add(states, batch)
            return states

    with clock("trace the function"):
        analysis = tft_nodes.Analysis(function, saved_graph.adapter_config(schema), Path(out, "tmp"))
    with clock("write the last SavedModel, which TFT traces twice more"):
        analysis.run(over, Path(out))
    output = tft.TFTransformOutput(out)
    graph = saved_graph.SavedGraph(output.transform_savedmodel_dir, serialized, module)
    transformation = materialize.Transformation(graph, output.transformed_metadata.schema.SerializeToString())
    context = ExecutorContext(component_id="Transform", execution_id=1, tmp_dir=out)
    batches = SidecarChunk.batches
    SidecarChunk.batches = lambda chunk: clock.each("read the sidecar", batches(chunk))
    with clock("the rest: to Arrow, compress and hash"):
        outputs = {split: Piece(Examples(uri=out), split, split) for split in sources}
        materialize.write_pieces(transformation, sources, outputs, context, in_this_process=True)
    print(clock.table())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        what, *rest = sys.argv[1:]
        profile(*rest) if what == "profile" else run_once(what, *rest)
    else:
        print(table(["Transform", *HEAD, "times faster (in CPU)"], list(figures())))
