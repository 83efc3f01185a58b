from __future__ import annotations

import inspect
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, BaseOperator, Param, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Model, Schema
from airflow_provider_mlpipe.components.pusher.operator import PusherOperator
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.channels import Channel
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.dag_factory import create_dag
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.pipeline.spec import Content, Function, Ignored, Input, OptionalInput, Value
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec


class SourceOperator(ComponentOperator):
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples, "schema": Schema}

    def __init__(
        self,
        *,
        path: Content[str] = "/data",
        name: Value[str] = "x",
        fn: Function[str | None] = None,
        quiet: Ignored[bool] = False,
        again: OptionalInput[Model] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.name = name
        self.fn = fn
        self.quiet = quiet
        self.again = again


class ReaderOperator(ComponentOperator):
    EXECUTOR = "somewhere.else:work"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model}

    def __init__(
        self,
        *,
        examples: Input[Examples],
        schema: OptionalInput[Schema] = None,
        settings: Value[dict[str, Any] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.examples = examples
        self.schema = schema
        self.settings = settings


class GateOperator(ReaderOperator):
    def __init__(self, *, examples: Input[Examples], **kwargs: Any) -> None:
        super().__init__(examples=examples, **kwargs)

    def gated_channels(self) -> list[Channel[Any]]:
        return [self.examples]


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, downstream) for task in dag.tasks for downstream in task.downstream_task_ids}


def test_the_spec_is_read_off_the_signature() -> None:
    kinds = {name: parameter.kind for name, parameter in SourceOperator.SPEC.parameters.items()}
    assert kinds == {
        "path": ComponentSpec.CONTENT,
        "name": ComponentSpec.VALUE,
        "fn": ComponentSpec.FUNCTION,
        "quiet": ComponentSpec.IGNORED,
    }
    assert ReaderOperator.SPEC.component_type == "Reader"
    assert ReaderOperator.SPEC.executor == "somewhere.else:work"
    assert SourceOperator.SPEC.executor.endswith(".executor:run")
    assert ReaderOperator.SPEC.inputs["examples"] == ComponentSpec.Input(artifact_type="Examples")
    assert ReaderOperator.SPEC.inputs["schema"] == ComponentSpec.Input(artifact_type="Schema", optional=True)
    assert dict(ReaderOperator.SPEC.outputs) == {"model": "Model"}
    assert set(ReaderOperator.template_fields) == {"examples", "schema", "settings", "pipeline_root"}


def test_components_are_wired_by_artifact_in_any_order() -> None:
    source = SourceOperator()
    reader = ReaderOperator(examples=source.outputs["examples"], schema=source.outputs["schema"])
    last = ReaderOperator(task_id="last", examples=source.outputs["examples"])
    dag = create_dag("d", [last, reader, source], pipeline_root="/root", cache="refresh", tags=["x"])
    assert edges(dag) == {("plan", "Source"), ("Source", "Reader"), ("Source", "last")}
    assert [task.task_id for task in dag.tasks] == ["Source", "last", "Reader", "plan"]
    assert source.pipeline_root == "/root"
    assert source.cache == "refresh"
    assert dag.tags == {"x"}
    assert "| Reader | ReaderOperator | examples ← Source.examples, schema ← Source.schema | model (Model) |" in str(
        dag.doc_md
    )


def test_what_a_component_sets_itself_wins() -> None:
    source = SourceOperator(pipeline_root="/own", cache=False, beam_pipeline_args=["--a"])
    create_dag("d", [source], pipeline_root="/root", beam_pipeline_args=["--b"], metadata_conn_id="dag")
    assert (source.pipeline_root, source.cache, source.metadata_conn_id) == ("/own", False, "dag")
    assert source.beam_pipeline_args == ["--a"]


def test_plain_dag_code_wires_itself_and_takes_default_args() -> None:
    with DAG("d", schedule=None, default_args={"pipeline_root": "/root"}) as dag:
        source = SourceOperator(name=RuntimeParameter("name", str, "n"))
        reader = ReaderOperator(examples=source.outputs["examples"])

        @task
        def report(models: Any) -> None: ...

        report(reader.outputs["model"])
        source.outputs["schema"] >> ReaderOperator(task_id="later", examples=source.outputs["examples"])
    assert edges(dag) == {("Source", "Reader"), ("Reader", "report"), ("Source", "later")}
    assert source.pipeline_root == "/root"
    assert dag.params["name"] == "n"


def test_default_args_hold_for_components_that_were_made_before_their_dag() -> None:
    def tell(context: Any) -> None: ...

    source, own = SourceOperator(), SourceOperator(task_id="own", retries=7)
    default_args = {"retries": 3, "owner": "me", "retry_delay": 5, "on_failure_callback": tell}
    create_dag("d", [source, own], default_args=default_args)
    assert (source.retries, source.owner, source.retry_delay.total_seconds()) == (3, "me", 5)
    assert list(source.on_failure_callback) == [tell]
    assert (own.retries, own.owner) == (7, "me")


def test_a_subclass_keeps_what_it_inherits() -> None:
    class QuietReaderOperator(ReaderOperator):
        def __init__(self, *, quiet: Value[bool] = True, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.quiet = quiet

    class SameOperator(SourceOperator):
        pass

    assert set(QuietReaderOperator.SPEC.inputs) == {"examples", "schema"}
    assert set(QuietReaderOperator.SPEC.parameters) == {"settings", "quiet"}
    assert QuietReaderOperator.EXECUTOR == ReaderOperator.EXECUTOR
    assert SameOperator.SPEC.parameters == SourceOperator.SPEC.parameters
    source = SameOperator()
    create_dag("d", [source, QuietReaderOperator(examples=source.outputs["examples"])])
    assert source.downstream_task_ids == {"QuietReader"}


def test_a_gate_that_is_wired_must_bring_its_verdict() -> None:
    pusher = PusherOperator(
        model=ReaderOperator(examples=SourceOperator().outputs["examples"]).outputs["model"],
        push_destination={"filesystem": {"base_directory": "/serving"}},
    )
    assert pusher._input_artifacts("model_blessing") == []
    pusher.model_blessing = []  # what a channel of a skipped Evaluator resolves to
    with pytest.raises(AirflowSkipException, match="published nothing"):
        pusher._input_artifacts("model_blessing")


@pytest.mark.parametrize(
    ("ptype", "given", "value"), [(bool, "False", False), (bool, True, True), (int, "7", 7), (float, 1, 1.0)]
)
def test_a_runtime_parameter_has_its_type(ptype: type, given: Any, value: Any) -> None:
    resolved = RuntimeParameter("p", ptype).resolve({"params": {"p": given}})  # type: ignore[typeddict-item]
    assert resolved == value
    assert type(resolved) is ptype


def test_a_value_of_another_type_is_named() -> None:
    with pytest.raises(InvalidInputError, match="parameter 'p' takes True, False or None, but got 'maybe'"):
        RuntimeParameter("p", bool).resolve({"params": {"p": "maybe"}})  # type: ignore[typeddict-item]


def test_foreign_tasks_are_added_afterwards() -> None:
    dag = create_dag("d", [SourceOperator()])
    with dag:

        @task
        def prepare() -> None: ...

        prepare() >> dag.get_task("plan")
    assert edges(dag) == {("prepare", "plan"), ("plan", "Source")}


def test_runtime_parameters_become_params_of_the_trigger_form() -> None:
    source = SourceOperator()
    steps = RuntimeParameter("steps", int, 200, "How many.", minimum=1)
    settings = {"a": [steps], "b": RuntimeParameter("rate", float)}
    reader = ReaderOperator(examples=source.outputs["examples"], settings=settings)
    dag = create_dag("d", [source, reader], params={"other": Param(1)})
    param = dag.params.get_param("steps")
    assert (param.value, param.description, param.schema) == (200, "How many.", {"type": "integer", "minimum": 1})
    assert dag.params.get_param("rate").schema == {"type": ["number", "null"]}
    assert {"other", "steps", "rate"} <= set(dag.params)
    assert steps.resolve({"params": {"steps": "7"}}) == 7  # type: ignore[typeddict-item]


def test_the_authors_own_param_is_kept() -> None:
    source = SourceOperator(name=RuntimeParameter("name", str, "n"))
    dag = create_dag("d", [source], params={"name": Param("mine", enum=["mine", "yours"])})
    assert dag.params["name"] == "mine"


def test_one_name_with_two_meanings_is_refused() -> None:
    source = SourceOperator(name=RuntimeParameter("name", str, "a"), path=RuntimeParameter("name", str, "b"))
    with pytest.raises(PipelineError, match="have the same name, but differ"):
        create_dag("d", [source])


def test_a_gate_holds_back_the_other_readers() -> None:
    source = SourceOperator()
    gate = GateOperator(examples=source.outputs["examples"])
    readers = [ReaderOperator(task_id=name, examples=source.outputs["examples"]) for name in "ab"]
    dag = create_dag("d", [source, *readers, gate])
    below_source = {("Source", "Gate"), ("Source", "a"), ("Source", "b"), ("Gate", "a"), ("Gate", "b")}
    assert edges(dag) == {("plan", "Source"), *below_source}


def test_a_gate_holds_back_the_other_readers_in_plain_dag_code_too() -> None:
    with DAG("d", schedule=None) as dag:
        source = SourceOperator()
        ReaderOperator(task_id="before", examples=source.outputs["examples"])
        GateOperator(examples=source.outputs["examples"])
        ReaderOperator(task_id="after", examples=source.outputs["examples"])
    assert {("Gate", "before"), ("Gate", "after")} <= edges(dag)


def made_in_a_dag() -> list[ComponentOperator]:
    with DAG("other", schedule=None):
        return [SourceOperator()]


def cycle() -> list[ComponentOperator]:
    source = SourceOperator()
    reader = ReaderOperator(examples=source.outputs["examples"])
    source.again = reader.outputs["model"]
    return [source, reader]


def foreign() -> list[ComponentOperator]:
    return [ReaderOperator(examples=SourceOperator().outputs["examples"])]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: [SourceOperator(), SourceOperator()], "two components have the id 'Source'"),
        (cycle, "cycle: Source → Reader → Source"),
        (foreign, r"Reader\.examples reads Source\.outputs\['examples'\].*not among the components"),
        (
            lambda: [ReaderOperator(examples=SourceOperator().outputs["schema"])],
            r"Reader\.examples \(Examples\) cannot take Source\.outputs\['schema'\] \(Schema\); pass a",
        ),
        (lambda: [ReaderOperator(examples=None)], r"Reader\.examples \(Examples\) needs a channel, but got None"),
        (lambda: [ReaderOperator(examples="/data")], r"Reader\.examples \(Examples\) needs a channel, but got '/data'"),
        (
            lambda: SourceOperator(),
            "components must be a list of operators, but got <Task\\(SourceOperator\\): Source>",
        ),
        (lambda: [EmptyOperator(task_id="foreign")], "not a component; add other tasks to the DAG afterwards"),
        (made_in_a_dag, "Source is already in the DAG 'other'; create components outside"),
        (
            lambda: [SourceOperator(fn=len)],
            "Source: fn takes a str or None, but got .*; give its dotted name, 'module.function'",
        ),
        (lambda: [SourceOperator(cache="always")], "cache takes True, False, 'refresh' or None, but got 'always'"),
        (lambda: [SourceOperator().outputs["model"]], "Source has no output 'model'; it has: examples, schema"),
    ],
)
def test_wrong_wiring_is_an_error_at_parse_time_that_names_both_ends(make: Any, words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        create_dag("d", make())


def test_an_operator_of_ones_own_that_raises_keeps_its_traceback() -> None:
    class PickyOperator(SourceOperator):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            raise ValueError("not today")

    with pytest.raises(ValueError, match="not today") as raised:
        PickyOperator()
    assert raised.traceback[-1].frame.code.name == "__init__"


def test_what_airflow_serializes_is_deterministic() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    def serialized() -> Any:
        source = SourceOperator(name=RuntimeParameter("name", str, "n"))
        return DagSerialization.to_dict(create_dag("d", [source, ReaderOperator(examples=source.outputs["examples"])]))

    assert serialized() == serialized()
    assert "Source.examples" in str(serialized())


DEFAULT_ARGS = {
    "allow_nested_operators": False,
    "depends_on_past": True,
    "do_xcom_push": False,
    "doc": "words",
    "doc_json": "{}",
    "doc_md": "words",
    "doc_rst": "words",
    "doc_yaml": "a: 1",
    "email": ["a@b.c"],
    "email_on_failure": False,
    "email_on_retry": False,
    "end_date": datetime(2030, 1, 1, tzinfo=timezone.utc),
    "execution_timeout": timedelta(minutes=1),
    "executor": None,
    "executor_config": {"a": 1},
    "ignore_first_depends_on_past": False,
    "inlets": Asset("in"),
    "map_index_template": "{{ x }}",
    "max_active_tis_per_dag": 3,
    "max_active_tis_per_dagrun": 2,
    "max_retry_delay": 60.0,
    "multiple_outputs": False,
    "on_execute_callback": None,
    "on_failure_callback": print,
    "on_retry_callback": [print],
    "on_skipped_callback": None,
    "on_success_callback": print,
    "outlets": Asset("out"),
    "owner": "me",
    "params": {"p": 1},
    "pool": "a_pool",
    "pool_slots": 2,
    "priority_weight": 4,
    "post_execute": print,
    "pre_execute": print,
    "queue": "a_queue",
    "render_template_as_native_obj": True,
    "resources": {"cpus": 2},
    "retries": 3,
    "retry_policy": None,
    "retry_delay": 5,
    "retry_exponential_backoff": 2.0,
    "run_as_user": "somebody",
    "start_date": datetime(2020, 1, 1, tzinfo=timezone.utc),
    "task_display_name": "A name",
    "trigger_rule": "all_done",
    "wait_for_downstream": False,
    "wait_for_past_depends_before_skipping": True,
    "weight_rule": "upstream",
}


def serialized(dag: DAG, task_id: str) -> dict[str, Any]:
    found = {each["__var"]["task_id"]: each["__var"] for each in DagSerialization.to_dict(dag)["dag"]["tasks"]}
    return found[task_id] | {"params": dict(dag.get_task(task_id).params)}


@pytest.mark.filterwarnings("ignore:Setting email.* on a task")
@pytest.mark.parametrize(
    "default_args",
    [
        DEFAULT_ARGS,
        {
            "wait_for_downstream": True,
            "on_success_callback": None,
            "outlets": [Asset("a")],
            "retry_delay": timedelta(1),
        },
        {},
    ],
)
def test_default_args_do_what_they_do_in_plain_dag_code(default_args: dict[str, Any]) -> None:
    rule = {} if "trigger_rule" in default_args else {"trigger_rule": "none_failed"}
    with DAG("d", schedule=None, default_args=default_args) as plain:
        SourceOperator(cache=True, verify="exists", cache_scope="store", **rule)
    made = create_dag("d", [SourceOperator()], default_args=default_args)
    made.task_dict.pop("plan")
    made.get_task("Source").upstream_task_ids.clear()
    assert serialized(made, "Source") == serialized(plain, "Source")


def test_all_of_airflows_arguments_of_operators_are_tried() -> None:
    ours = {"self", "task_id", "task_group", "dag", "default_args", "kwargs", "sla", "logger_name"}
    assert inspect.signature(BaseOperator.__init__).parameters.keys() - ours == DEFAULT_ARGS.keys()


def test_what_is_set_on_a_component_before_its_dag_stays() -> None:
    source = SourceOperator(name="given")
    source.name, source.retries = "set", 4
    create_dag("d", [source], default_args={"retries": 1})
    assert (source.name, source.retries) == ("set", 4)


def test_a_setup_task_and_fail_fast_go_together_with_components() -> None:
    source = SourceOperator()
    dag = create_dag("d", [source, ReaderOperator(examples=source.outputs["examples"])])
    with dag:

        @task
        def prepare() -> None: ...

        prepare().as_setup() >> dag.get_task("Reader")
    dag.validate_setup_teardown()
    assert [dag.get_task(name).trigger_rule for name in ("Source", "Reader")] == ["none_failed", "all_success"]
    fast = create_dag("d", [SourceOperator()], fail_fast=True)
    assert fast.get_task("Source").trigger_rule == "all_success"


def test_what_is_connected_shares_a_store() -> None:
    with pytest.raises(PipelineError, match="Source: metadata_conn_id is 'other', but that of the DAG is None"):
        create_dag("d", [SourceOperator(metadata_conn_id="other")])
    create_dag("d", [SourceOperator(metadata_conn_id="other")], metadata_conn_id="other")
    with DAG("d", schedule=None):
        source = SourceOperator(metadata_conn_id="other")
        with pytest.raises(
            PipelineError, match=r"Reader.examples reads .* has metadata_conn_id 'other', but Reader has"
        ):
            ReaderOperator(examples=source.outputs["examples"])
