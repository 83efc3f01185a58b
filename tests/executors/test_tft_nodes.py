"""What `tft_nodes` uses of TFT's private API is as it was: a version that changes any of it fails here, by name.

Both supported versions, 1.16 and 1.21, have what is written here.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

# The fields of every kind of node that a graph may have.
NODES = {
    "CreateTensorBinding": {"tensor_name", "dtype_enum", "is_asset_filepath", "label"},
    "CreateSavedModel": {"table_initializers", "output_signature", "label"},
    "ExtractInputForSavedModel": {"dataset_key", "label"},
    "ApplySavedModel": {"phase", "label"},
    "ExtractFromDict": {"keys", "label"},
    "Flatten": {"label"},
    "PackedCombineAccumulate": {"combiners", "label"},
    "PackedCombineMerge": {"combiners", "label"},
    "CacheableCombineAccumulate": {"combiner", "label"},
    "CacheableCombineMerge": {"combiner", "label"},
    "CacheableCombinePerKeyAccumulate": {"combiner", "label"},
    "CacheableCombinePerKeyMerge": {"combiner", "label"},
    "CacheableCombinePerKeyFormatKeys": {"combiner", "label"},
    "CacheableCombinePerKeyFormatLarge": {"label"},
    "ScaleAndFlattenPerKeyBucketBouandaries": {"output_tensor_dtype", "label"},
    "VocabularyAccumulate": {"vocab_ordering_type", "input_dtype", "label"},
    "VocabularyCount": {"label"},
    "VocabularyMerge": {"vocab_ordering_type", "use_adjusted_mutual_info", "min_diff_from_avg", "label"},
    "VocabularyPrune": {
        "top_k",
        "frequency_threshold",
        "informativeness_threshold",
        "coverage_top_k",
        "coverage_frequency_threshold",
        "coverage_informativeness_threshold",
        "key_fn",
        "input_dtype",
        "label",
    },
    "VocabularyOrderAndWrite": {
        "vocab_filename",
        "store_frequency",
        "input_dtype",
        "label",
        "fingerprint_shuffle",
        "file_format",
        "input_is_sorted",
    },
    "ExtractVocabularyReservedTokens": {"name", "label"},
    "AddKey": {"key", "label"},
    "ExtractCombineMergeOutputs": {"output_tensor_info_list", "label"},
    "ExtractPackedCombineMergeOutputs": {"output_tensor_info_list", "label"},
}
# Those that TFT's own code computes, or that only Beam and its cache have.
NOT_WALKED = {
    "AnalyzerDef",
    "DecodeCache",
    "EncodeCache",
    "FlattenLists",
    "InstrumentDatasetCache",
    "OperationDef",
    "PTransform",
    "TensorSource",
}

FUNCTIONS = {
    "impl_helper.trace_preprocessing_function": "preprocessing_fn input_specs use_tf_compat_v1 base_temp_dir",
    "impl_helper.trace_and_write_v2_saved_model": "saved_model_dir preprocessing_fn input_signature base_temp_dir "
    "baseline_analyzers_fingerprint tensor_replacement_map output_keys_to_name_map save_options",
    "impl_helper.make_tensor_to_arrow_converter": "schema",
    "annotators.get_asset_annotations": "graph",
    "annotators.clear_asset_annotations": "graph",
    "graph_tools.get_analyzers_fingerprint": "graph structured_inputs",
    "graph_tools.get_func_graph_for_name": "graph func_name",
    "analysis_graph_builder.build": "graph input_signature output_signature dataset_keys cache_dict",
    "tf_utils.fetch_vocabulary_reserved_tokens": "graph name",
    "metadata_io.read_metadata": "path",
    "metadata_io.write_metadata": "metadata path",
    "analyzer_impls._merge_outputs_by_key": "keys_and_outputs outputs_dtype",
    "analyzer_impls._join_boundary_rows": "boundary_matrix",
    "analyzer_impls.maybe_add_empty_vocabulary_dummy": "counts dtype",
    "nodes.Traverser.visit_value_node": "self value_node",
    "nodes.Visitor.visit": "self operation_def input_values",
    "nodes.Visitor.validate_value": "self value",
}
COMBINER = ["create_accumulator", "add_input", "merge_accumulators", "extract_output", "output_tensor_infos"]


@pytest.fixture(scope="module")
def node_kinds() -> dict[str, Any]:
    from tensorflow_transform import analyzer_nodes, nodes
    from tensorflow_transform.beam import beam_nodes

    found = {**vars(analyzer_nodes), **vars(beam_nodes), **vars(nodes)}
    return {
        name: kind for name, kind in found.items() if inspect.isclass(kind) and issubclass(kind, nodes.OperationDef)
    }


def test_the_kinds_of_nodes_are_known(node_kinds: dict[str, Any]) -> None:
    assert node_kinds.keys() == NODES.keys() | NOT_WALKED


@pytest.mark.parametrize("name", sorted(NODES))
def test_a_node_has_its_fields_and_is_walked(name: str, node_kinds: dict[str, Any]) -> None:
    from airflow_provider_mlpipe.components.transform import tft_nodes

    assert set(node_kinds[name]._fields) == NODES[name]
    assert hasattr(tft_nodes._Walk, name)


def test_other_nodes_are_not_walked() -> None:
    from airflow_provider_mlpipe.components.transform import tft_nodes

    assert not [name for name in NOT_WALKED if hasattr(tft_nodes._Walk, name)]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_takes_its_arguments(name: str) -> None:
    from airflow_provider_mlpipe.components.transform import tft_nodes

    module, *path = name.split(".")
    function = getattr(tft_nodes, module)
    for part in path:
        function = getattr(function, part)
    assert list(inspect.signature(function).parameters) == FUNCTIONS[name].split()


def test_the_other_names_are_there() -> None:
    import tensorflow_transform as tft
    from tensorflow_transform import analyzer_nodes
    from tensorflow_transform.beam import analyzer_impls, combiner_packing_util

    from airflow_provider_mlpipe.components.transform import tft_nodes

    orderings = analyzer_impls._VocabOrderingType
    assert (orderings.FREQUENCY, orderings.WEIGHTED_FREQUENCY) == (1, 2)
    assert tft_nodes.analyzer_nodes.TensorSink._fields == ("tensor", "future", "is_asset_filepath")
    assert tft_nodes.analyzer_nodes.ALL_REPLACEMENTS
    assert tft_nodes.analyzer_nodes.TENSOR_REPLACEMENTS
    assert set(combiner_packing_util._CombinerOpWrapper.__dataclass_fields__) == {"combiner", "keys", "label"}
    assert all(callable(getattr(analyzer_nodes.Combiner, name)) for name in COMBINER)
    assert {name: kind._fields for name, kind in tft_nodes.NAMED_STATES.items()} == {
        "mean and variance": ("count", "mean", "variance", "weight"),
        "L-moments": ("count_l1", "count_l2", "count_l3", "count_l4", "l1", "l2", "l3", "l4"),
    }
    assert tft_nodes.impl_helper.METADATA_DIR_NAME == ".tft_metadata"
    output = tft.TFTransformOutput
    assert (output.TRANSFORM_FN_DIR, output.TRANSFORMED_METADATA_DIR) == ("transform_fn", "transformed_metadata")
    assert output.ASSET_MAP == "asset_map"
