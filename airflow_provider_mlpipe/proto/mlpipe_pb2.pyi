from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("null_value", "bool_value", "int_value", "double_value", "string_value", "list_value", "map_value")
    NULL_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    LIST_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAP_VALUE_FIELD_NUMBER: _ClassVar[int]
    null_value: _struct_pb2.NullValue
    bool_value: bool
    int_value: int
    double_value: float
    string_value: str
    list_value: ListValue
    map_value: MapValue
    def __init__(self, null_value: _Optional[_Union[_struct_pb2.NullValue, str]] = ..., bool_value: bool = ..., int_value: _Optional[int] = ..., double_value: _Optional[float] = ..., string_value: _Optional[str] = ..., list_value: _Optional[_Union[ListValue, _Mapping]] = ..., map_value: _Optional[_Union[MapValue, _Mapping]] = ...) -> None: ...

class ListValue(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class MapValue(_message.Message):
    __slots__ = ("fields",)
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.MessageMap[str, Value]
    def __init__(self, fields: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class ComponentSpec(_message.Message):
    __slots__ = ("component_type", "executor", "inputs", "parameters", "outputs")
    class ParameterKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PARAMETER_KIND_UNSPECIFIED: _ClassVar[ComponentSpec.ParameterKind]
        VALUE: _ClassVar[ComponentSpec.ParameterKind]
        CONTENT: _ClassVar[ComponentSpec.ParameterKind]
        IGNORED: _ClassVar[ComponentSpec.ParameterKind]
        FUNCTION: _ClassVar[ComponentSpec.ParameterKind]
    PARAMETER_KIND_UNSPECIFIED: ComponentSpec.ParameterKind
    VALUE: ComponentSpec.ParameterKind
    CONTENT: ComponentSpec.ParameterKind
    IGNORED: ComponentSpec.ParameterKind
    FUNCTION: ComponentSpec.ParameterKind
    class Input(_message.Message):
        __slots__ = ("artifact_type", "optional", "required_when_wired", "ignored", "several")
        ARTIFACT_TYPE_FIELD_NUMBER: _ClassVar[int]
        OPTIONAL_FIELD_NUMBER: _ClassVar[int]
        REQUIRED_WHEN_WIRED_FIELD_NUMBER: _ClassVar[int]
        IGNORED_FIELD_NUMBER: _ClassVar[int]
        SEVERAL_FIELD_NUMBER: _ClassVar[int]
        artifact_type: str
        optional: bool
        required_when_wired: bool
        ignored: bool
        several: bool
        def __init__(self, artifact_type: _Optional[str] = ..., optional: bool = ..., required_when_wired: bool = ..., ignored: bool = ..., several: bool = ...) -> None: ...
    class Parameter(_message.Message):
        __slots__ = ("kind", "required")
        KIND_FIELD_NUMBER: _ClassVar[int]
        REQUIRED_FIELD_NUMBER: _ClassVar[int]
        kind: ComponentSpec.ParameterKind
        required: bool
        def __init__(self, kind: _Optional[_Union[ComponentSpec.ParameterKind, str]] = ..., required: bool = ...) -> None: ...
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ComponentSpec.Input
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ComponentSpec.Input, _Mapping]] = ...) -> None: ...
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ComponentSpec.Parameter
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ComponentSpec.Parameter, _Mapping]] = ...) -> None: ...
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMPONENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    component_type: str
    executor: str
    inputs: _containers.MessageMap[str, ComponentSpec.Input]
    parameters: _containers.MessageMap[str, ComponentSpec.Parameter]
    outputs: _containers.ScalarMap[str, str]
    def __init__(self, component_type: _Optional[str] = ..., executor: _Optional[str] = ..., inputs: _Optional[_Mapping[str, ComponentSpec.Input]] = ..., parameters: _Optional[_Mapping[str, ComponentSpec.Parameter]] = ..., outputs: _Optional[_Mapping[str, str]] = ...) -> None: ...

class FileSummary(_message.Message):
    __slots__ = ("count", "bytes", "digest", "stamp")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    count: int
    bytes: int
    digest: str
    stamp: str
    def __init__(self, count: _Optional[int] = ..., bytes: _Optional[int] = ..., digest: _Optional[str] = ..., stamp: _Optional[str] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("type", "uri", "id", "digest", "properties", "custom_properties", "declared", "files")
    class DeclaredEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    DECLARED_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    type: str
    uri: str
    id: int
    digest: str
    properties: MapValue
    custom_properties: MapValue
    declared: _containers.ScalarMap[str, str]
    files: FileSummary
    def __init__(self, type: _Optional[str] = ..., uri: _Optional[str] = ..., id: _Optional[int] = ..., digest: _Optional[str] = ..., properties: _Optional[_Union[MapValue, _Mapping]] = ..., custom_properties: _Optional[_Union[MapValue, _Mapping]] = ..., declared: _Optional[_Mapping[str, str]] = ..., files: _Optional[_Union[FileSummary, _Mapping]] = ...) -> None: ...

class ExecutorInvocation(_message.Message):
    __slots__ = ("executor", "component_id", "execution_id", "inputs", "parameters", "outputs", "tmp_dir", "checkpoint_dir", "beam_pipeline_args", "max_memory_mb", "covered")
    class Artifacts(_message.Message):
        __slots__ = ("artifacts", "several")
        ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
        SEVERAL_FIELD_NUMBER: _ClassVar[int]
        artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
        several: bool
        def __init__(self, artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., several: bool = ...) -> None: ...
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ExecutorInvocation.Artifacts
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ExecutorInvocation.Artifacts, _Mapping]] = ...) -> None: ...
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ExecutorInvocation.Artifacts
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ExecutorInvocation.Artifacts, _Mapping]] = ...) -> None: ...
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TMP_DIR_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_DIR_FIELD_NUMBER: _ClassVar[int]
    BEAM_PIPELINE_ARGS_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    COVERED_FIELD_NUMBER: _ClassVar[int]
    executor: str
    component_id: str
    execution_id: int
    inputs: _containers.MessageMap[str, ExecutorInvocation.Artifacts]
    parameters: MapValue
    outputs: _containers.MessageMap[str, ExecutorInvocation.Artifacts]
    tmp_dir: str
    checkpoint_dir: str
    beam_pipeline_args: _containers.RepeatedScalarFieldContainer[str]
    max_memory_mb: int
    covered: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, executor: _Optional[str] = ..., component_id: _Optional[str] = ..., execution_id: _Optional[int] = ..., inputs: _Optional[_Mapping[str, ExecutorInvocation.Artifacts]] = ..., parameters: _Optional[_Union[MapValue, _Mapping]] = ..., outputs: _Optional[_Mapping[str, ExecutorInvocation.Artifacts]] = ..., tmp_dir: _Optional[str] = ..., checkpoint_dir: _Optional[str] = ..., beam_pipeline_args: _Optional[_Iterable[str]] = ..., max_memory_mb: _Optional[int] = ..., covered: _Optional[_Iterable[str]] = ...) -> None: ...

class ExecutorResult(_message.Message):
    __slots__ = ("success", "error", "user_files", "reads", "reads_problem")
    class Output(_message.Message):
        __slots__ = ("properties", "custom_properties", "digest", "files")
        PROPERTIES_FIELD_NUMBER: _ClassVar[int]
        CUSTOM_PROPERTIES_FIELD_NUMBER: _ClassVar[int]
        DIGEST_FIELD_NUMBER: _ClassVar[int]
        FILES_FIELD_NUMBER: _ClassVar[int]
        properties: MapValue
        custom_properties: MapValue
        digest: str
        files: FileSummary
        def __init__(self, properties: _Optional[_Union[MapValue, _Mapping]] = ..., custom_properties: _Optional[_Union[MapValue, _Mapping]] = ..., digest: _Optional[str] = ..., files: _Optional[_Union[FileSummary, _Mapping]] = ...) -> None: ...
    class Error(_message.Message):
        __slots__ = ("type", "message")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        type: str
        message: str
        def __init__(self, type: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    class OfKey(_message.Message):
        __slots__ = ("artifacts",)
        ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
        artifacts: _containers.RepeatedCompositeFieldContainer[ExecutorResult.Output]
        def __init__(self, artifacts: _Optional[_Iterable[_Union[ExecutorResult.Output, _Mapping]]] = ...) -> None: ...
    class Outputs(_message.Message):
        __slots__ = ("outputs",)
        class OutputsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: ExecutorResult.OfKey
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ExecutorResult.OfKey, _Mapping]] = ...) -> None: ...
        OUTPUTS_FIELD_NUMBER: _ClassVar[int]
        outputs: _containers.MessageMap[str, ExecutorResult.OfKey]
        def __init__(self, outputs: _Optional[_Mapping[str, ExecutorResult.OfKey]] = ...) -> None: ...
    class Read(_message.Message):
        __slots__ = ("path", "content", "stamp")
        PATH_FIELD_NUMBER: _ClassVar[int]
        CONTENT_FIELD_NUMBER: _ClassVar[int]
        STAMP_FIELD_NUMBER: _ClassVar[int]
        path: str
        content: str
        stamp: str
        def __init__(self, path: _Optional[str] = ..., content: _Optional[str] = ..., stamp: _Optional[str] = ...) -> None: ...
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    USER_FILES_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    READS_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    success: ExecutorResult.Outputs
    error: ExecutorResult.Error
    user_files: _containers.RepeatedScalarFieldContainer[str]
    reads: _containers.RepeatedCompositeFieldContainer[ExecutorResult.Read]
    reads_problem: str
    def __init__(self, success: _Optional[_Union[ExecutorResult.Outputs, _Mapping]] = ..., error: _Optional[_Union[ExecutorResult.Error, _Mapping]] = ..., user_files: _Optional[_Iterable[str]] = ..., reads: _Optional[_Iterable[_Union[ExecutorResult.Read, _Mapping]]] = ..., reads_problem: _Optional[str] = ...) -> None: ...

class FinishedWork(_message.Message):
    __slots__ = ("result", "changed")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    result: ExecutorResult
    changed: str
    def __init__(self, result: _Optional[_Union[ExecutorResult, _Mapping]] = ..., changed: _Optional[str] = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ("splits",)
    class Split(_message.Message):
        __slots__ = ("name", "pattern")
        NAME_FIELD_NUMBER: _ClassVar[int]
        PATTERN_FIELD_NUMBER: _ClassVar[int]
        name: str
        pattern: str
        def __init__(self, name: _Optional[str] = ..., pattern: _Optional[str] = ...) -> None: ...
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    splits: _containers.RepeatedCompositeFieldContainer[Input.Split]
    def __init__(self, splits: _Optional[_Iterable[_Union[Input.Split, _Mapping]]] = ...) -> None: ...

class SplitConfig(_message.Message):
    __slots__ = ("splits", "partition_feature_name")
    class Split(_message.Message):
        __slots__ = ("name", "hash_buckets", "values", "before")
        NAME_FIELD_NUMBER: _ClassVar[int]
        HASH_BUCKETS_FIELD_NUMBER: _ClassVar[int]
        VALUES_FIELD_NUMBER: _ClassVar[int]
        BEFORE_FIELD_NUMBER: _ClassVar[int]
        name: str
        hash_buckets: int
        values: _containers.RepeatedScalarFieldContainer[str]
        before: str
        def __init__(self, name: _Optional[str] = ..., hash_buckets: _Optional[int] = ..., values: _Optional[_Iterable[str]] = ..., before: _Optional[str] = ...) -> None: ...
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FEATURE_NAME_FIELD_NUMBER: _ClassVar[int]
    splits: _containers.RepeatedCompositeFieldContainer[SplitConfig.Split]
    partition_feature_name: str
    def __init__(self, splits: _Optional[_Iterable[_Union[SplitConfig.Split, _Mapping]]] = ..., partition_feature_name: _Optional[str] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("split_config",)
    SPLIT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    split_config: SplitConfig
    def __init__(self, split_config: _Optional[_Union[SplitConfig, _Mapping]] = ...) -> None: ...

class RangeConfig(_message.Message):
    __slots__ = ("static_range", "rolling_range")
    STATIC_RANGE_FIELD_NUMBER: _ClassVar[int]
    ROLLING_RANGE_FIELD_NUMBER: _ClassVar[int]
    static_range: StaticRange
    rolling_range: RollingRange
    def __init__(self, static_range: _Optional[_Union[StaticRange, _Mapping]] = ..., rolling_range: _Optional[_Union[RollingRange, _Mapping]] = ...) -> None: ...

class StaticRange(_message.Message):
    __slots__ = ("start_span_number", "end_span_number")
    START_SPAN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    END_SPAN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    start_span_number: int
    end_span_number: int
    def __init__(self, start_span_number: _Optional[int] = ..., end_span_number: _Optional[int] = ...) -> None: ...

class RollingRange(_message.Message):
    __slots__ = ("start_span_number", "num_spans", "skip_num_recent_spans")
    START_SPAN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    NUM_SPANS_FIELD_NUMBER: _ClassVar[int]
    SKIP_NUM_RECENT_SPANS_FIELD_NUMBER: _ClassVar[int]
    start_span_number: int
    num_spans: int
    skip_num_recent_spans: int
    def __init__(self, start_span_number: _Optional[int] = ..., num_spans: _Optional[int] = ..., skip_num_recent_spans: _Optional[int] = ...) -> None: ...

class FeatureNames(_message.Message):
    __slots__ = ("feature",)
    class Feature(_message.Message):
        __slots__ = ("name",)
        NAME_FIELD_NUMBER: _ClassVar[int]
        name: str
        def __init__(self, name: _Optional[str] = ...) -> None: ...
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    feature: _containers.RepeatedCompositeFieldContainer[FeatureNames.Feature]
    def __init__(self, feature: _Optional[_Iterable[_Union[FeatureNames.Feature, _Mapping]]] = ...) -> None: ...

class SqlCheck(_message.Message):
    __slots__ = ("name", "sql", "severity", "environment")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ERROR: _ClassVar[SqlCheck.Severity]
        WARNING: _ClassVar[SqlCheck.Severity]
    ERROR: SqlCheck.Severity
    WARNING: SqlCheck.Severity
    NAME_FIELD_NUMBER: _ClassVar[int]
    SQL_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    sql: str
    severity: SqlCheck.Severity
    environment: str
    def __init__(self, name: _Optional[str] = ..., sql: _Optional[str] = ..., severity: _Optional[_Union[SqlCheck.Severity, str]] = ..., environment: _Optional[str] = ...) -> None: ...

class SplitsConfig(_message.Message):
    __slots__ = ("analyze", "transform")
    ANALYZE_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_FIELD_NUMBER: _ClassVar[int]
    analyze: _containers.RepeatedScalarFieldContainer[str]
    transform: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, analyze: _Optional[_Iterable[str]] = ..., transform: _Optional[_Iterable[str]] = ...) -> None: ...

class TrainArgs(_message.Message):
    __slots__ = ("splits", "num_steps")
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
    splits: _containers.RepeatedScalarFieldContainer[str]
    num_steps: int
    def __init__(self, splits: _Optional[_Iterable[str]] = ..., num_steps: _Optional[int] = ...) -> None: ...

class EvalArgs(_message.Message):
    __slots__ = ("splits", "num_steps")
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
    splits: _containers.RepeatedScalarFieldContainer[str]
    num_steps: int
    def __init__(self, splits: _Optional[_Iterable[str]] = ..., num_steps: _Optional[int] = ...) -> None: ...

class PushDestination(_message.Message):
    __slots__ = ("filesystem",)
    class Filesystem(_message.Message):
        __slots__ = ("base_directory", "versioning")
        class Versioning(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            AUTO: _ClassVar[PushDestination.Filesystem.Versioning]
            UNIX_TIMESTAMP: _ClassVar[PushDestination.Filesystem.Versioning]
            PATH: _ClassVar[PushDestination.Filesystem.Versioning]
        AUTO: PushDestination.Filesystem.Versioning
        UNIX_TIMESTAMP: PushDestination.Filesystem.Versioning
        PATH: PushDestination.Filesystem.Versioning
        BASE_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
        VERSIONING_FIELD_NUMBER: _ClassVar[int]
        base_directory: str
        versioning: PushDestination.Filesystem.Versioning
        def __init__(self, base_directory: _Optional[str] = ..., versioning: _Optional[_Union[PushDestination.Filesystem.Versioning, str]] = ...) -> None: ...
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    filesystem: PushDestination.Filesystem
    def __init__(self, filesystem: _Optional[_Union[PushDestination.Filesystem, _Mapping]] = ...) -> None: ...

class FeaturePath(_message.Message):
    __slots__ = ("step",)
    STEP_FIELD_NUMBER: _ClassVar[int]
    step: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, step: _Optional[_Iterable[str]] = ...) -> None: ...

class InfinityNorm(_message.Message):
    __slots__ = ("threshold",)
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    def __init__(self, threshold: _Optional[float] = ...) -> None: ...

class JensenShannonDivergence(_message.Message):
    __slots__ = ("threshold", "source")
    class HistogramSelection(_message.Message):
        __slots__ = ("type",)
        class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            DEFAULT: _ClassVar[JensenShannonDivergence.HistogramSelection.Type]
            QUANTILES: _ClassVar[JensenShannonDivergence.HistogramSelection.Type]
            STANDARD: _ClassVar[JensenShannonDivergence.HistogramSelection.Type]
        DEFAULT: JensenShannonDivergence.HistogramSelection.Type
        QUANTILES: JensenShannonDivergence.HistogramSelection.Type
        STANDARD: JensenShannonDivergence.HistogramSelection.Type
        TYPE_FIELD_NUMBER: _ClassVar[int]
        type: JensenShannonDivergence.HistogramSelection.Type
        def __init__(self, type: _Optional[_Union[JensenShannonDivergence.HistogramSelection.Type, str]] = ...) -> None: ...
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    source: JensenShannonDivergence.HistogramSelection
    def __init__(self, threshold: _Optional[float] = ..., source: _Optional[_Union[JensenShannonDivergence.HistogramSelection, _Mapping]] = ...) -> None: ...

class NormalizedAbsoluteDifference(_message.Message):
    __slots__ = ("threshold",)
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    def __init__(self, threshold: _Optional[float] = ...) -> None: ...

class DistributionComparator(_message.Message):
    __slots__ = ("infinity_norm", "jensen_shannon_divergence", "normalized_abs_difference")
    INFINITY_NORM_FIELD_NUMBER: _ClassVar[int]
    JENSEN_SHANNON_DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_ABS_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    infinity_norm: InfinityNorm
    jensen_shannon_divergence: JensenShannonDivergence
    normalized_abs_difference: NormalizedAbsoluteDifference
    def __init__(self, infinity_norm: _Optional[_Union[InfinityNorm, _Mapping]] = ..., jensen_shannon_divergence: _Optional[_Union[JensenShannonDivergence, _Mapping]] = ..., normalized_abs_difference: _Optional[_Union[NormalizedAbsoluteDifference, _Mapping]] = ...) -> None: ...

class FeatureComparator(_message.Message):
    __slots__ = ("path", "distribution_comparator")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_COMPARATOR_FIELD_NUMBER: _ClassVar[int]
    path: FeaturePath
    distribution_comparator: DistributionComparator
    def __init__(self, path: _Optional[_Union[FeaturePath, _Mapping]] = ..., distribution_comparator: _Optional[_Union[DistributionComparator, _Mapping]] = ...) -> None: ...

class NumericValueComparator(_message.Message):
    __slots__ = ("min_fraction_threshold", "max_fraction_threshold")
    MIN_FRACTION_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_FRACTION_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    min_fraction_threshold: float
    max_fraction_threshold: float
    def __init__(self, min_fraction_threshold: _Optional[float] = ..., max_fraction_threshold: _Optional[float] = ...) -> None: ...

class DistributionValidatorConfig(_message.Message):
    __slots__ = ("default_slice_config",)
    class DatasetConfig(_message.Message):
        __slots__ = ("feature", "num_examples_comparator")
        FEATURE_FIELD_NUMBER: _ClassVar[int]
        NUM_EXAMPLES_COMPARATOR_FIELD_NUMBER: _ClassVar[int]
        feature: _containers.RepeatedCompositeFieldContainer[FeatureComparator]
        num_examples_comparator: NumericValueComparator
        def __init__(self, feature: _Optional[_Iterable[_Union[FeatureComparator, _Mapping]]] = ..., num_examples_comparator: _Optional[_Union[NumericValueComparator, _Mapping]] = ...) -> None: ...
    DEFAULT_SLICE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    default_slice_config: DistributionValidatorConfig.DatasetConfig
    def __init__(self, default_slice_config: _Optional[_Union[DistributionValidatorConfig.DatasetConfig, _Mapping]] = ...) -> None: ...

class PairedExampleSkew(_message.Message):
    __slots__ = ("identifier_features", "skew_sample_size", "ignore_features", "float_round_ndigits", "allow_duplicate_identifiers", "confusion_config")
    class ConfusionConfig(_message.Message):
        __slots__ = ("feature_name",)
        FEATURE_NAME_FIELD_NUMBER: _ClassVar[int]
        feature_name: str
        def __init__(self, feature_name: _Optional[str] = ...) -> None: ...
    IDENTIFIER_FEATURES_FIELD_NUMBER: _ClassVar[int]
    SKEW_SAMPLE_SIZE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_FEATURES_FIELD_NUMBER: _ClassVar[int]
    FLOAT_ROUND_NDIGITS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_DUPLICATE_IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    CONFUSION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    identifier_features: _containers.RepeatedScalarFieldContainer[str]
    skew_sample_size: int
    ignore_features: _containers.RepeatedScalarFieldContainer[str]
    float_round_ndigits: int
    allow_duplicate_identifiers: bool
    confusion_config: _containers.RepeatedCompositeFieldContainer[PairedExampleSkew.ConfusionConfig]
    def __init__(self, identifier_features: _Optional[_Iterable[str]] = ..., skew_sample_size: _Optional[int] = ..., ignore_features: _Optional[_Iterable[str]] = ..., float_round_ndigits: _Optional[int] = ..., allow_duplicate_identifiers: bool = ..., confusion_config: _Optional[_Iterable[_Union[PairedExampleSkew.ConfusionConfig, _Mapping]]] = ...) -> None: ...

class ExampleDiffConfig(_message.Message):
    __slots__ = ("paired_example_skew",)
    PAIRED_EXAMPLE_SKEW_FIELD_NUMBER: _ClassVar[int]
    paired_example_skew: PairedExampleSkew
    def __init__(self, paired_example_skew: _Optional[_Union[PairedExampleSkew, _Mapping]] = ...) -> None: ...
