"""Parameters get their declared types: when the DAG is parsed, or when their templates are rendered."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
import pytest
from airflow.sdk import DAG, Param, task
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.caching import fingerprint
from airflow_provider_mlpipe.components.csv_example_gen.operator import CsvExampleGenOperator
from airflow_provider_mlpipe.components.evaluator.operator import EvaluatorOperator
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.trainer.operator import TrainerOperator
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.dag_factory import create_dag
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.pipeline.spec import Config, Ignored, Value
from airflow_provider_mlpipe.planning.preview import preview_context
from airflow_provider_mlpipe.proto.mlpipe_pb2 import TrainArgs


class TypedOperator(ComponentOperator):
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}

    def __init__(
        self,
        *,
        flag: Value[bool] = False,
        count: Value[int] = 1,
        rate: Value[float | None] = 0.5,
        name: Value[str] = "x",
        level: Ignored[Literal["LOW", "HIGH"] | None] = None,
        names: Value[Sequence[str]] = (),
        weights: Value[Mapping[str, float] | None] = None,
        train: Config[TrainArgs | Mapping[str, Any] | None] = None,
        settings: Config[Mapping[str, Any] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.in_init = (flag, count, rate)
        self.flag = flag
        self.count = count
        self.rate = rate
        self.name = name
        self.level = level
        self.names = names
        self.weights = weights
        self.train = train
        self.settings = settings


class Number(enum.IntEnum):
    ONE = 1


def typed(**parameters: Any) -> TypedOperator:
    return TypedOperator(task_id="t", **parameters)


def rendered(component: TypedOperator, native: bool = False, **params: Any) -> TypedOperator:
    dag = create_dag("d", [component], params=params, render_template_as_native_obj=native)
    return component.rendered(preview_context(dag, {}), {})


def test_given_values_have_their_types_in_the_operators_own_init() -> None:
    assert typed(flag="False", count=np.int64(3), rate="2").in_init == (False, 3, 2.0)


@pytest.mark.parametrize(
    ("name", "template", "param", "value"),
    [
        ("flag", "{{ params.p }}", False, False),
        ("flag", "{% if params.p %}true{% else %}false{% endif %}", False, False),
        ("count", "{{ params.p }}", 7, 7),
        ("rate", "{{ params.p }}", 1, 1.0),
        ("rate", "{{ params.p }}", None, None),
        ("level", "{{ params.p }}", "LOW", "LOW"),
        ("names", ["{{ params.p }}"], "eval", ["eval"]),
        ("weights", {"a": "{{ params.p }}"}, 1, {"a": 1.0}),
        ("train", {"numSteps": "{{ params.p }}"}, 300, {"num_steps": 300}),
        ("settings", {0: "{{ params.p }}"}, 300, {"0": "300"}),
    ],
)
def test_a_rendered_value_has_the_declared_type(name: str, template: Any, param: Any, value: Any) -> None:
    found = getattr(rendered(typed(**{name: template}), p=param), name)
    assert (type(found), found) == (type(value), value)


def test_a_rendered_list_or_dict_stays_one_where_templates_are_native() -> None:
    component = typed(names="{{ params.names }}", settings="{{ params.settings }}")
    copy = rendered(component, native=True, names=["a", "b"], settings={"a": [1]})
    assert (copy.names, copy.settings) == (["a", "b"], {"a": [1]})


@pytest.mark.parametrize(
    ("name", "template", "says"),
    [
        ("flag", "{{ params.p }}", "t: flag takes True or False, but got 'maybe'"),
        ("count", "{{ params.p }}", "t: count takes an int, but got 'maybe'"),
        ("level", "{{ params.p }}", "t: level takes 'LOW', 'HIGH' or None, but got 'maybe'"),
        ("train", {"num_steps": "{{ params.p }}"}, "t: train.num_steps takes an int, but got 'maybe'"),
        (
            "names",
            "{{ params.p }}",
            "t: names takes a list of str, but got 'maybe'; a template renders text, unless the DAG has "
            "render_template_as_native_obj=True",
        ),
    ],
)
def test_a_rendered_value_that_does_not_fit_is_named(name: str, template: Any, says: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        rendered(typed(**{name: template}), p="maybe")
    assert str(refused.value) == says


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"flag": True}, {"flag": "{{ params.p }}"}),
        ({"rate": 1}, {"rate": 1.0}),
        ({"names": ("a",)}, {"names": ["a"]}),
        ({"train": TrainArgs(num_steps=3)}, {"train": {"numSteps": 3, "splits": []}}),
        ({"settings": {"a": {1: 0.5}}}, {"settings": {"a": {"1": np.float64(0.5)}}}),
    ],
)
def test_equal_settings_have_equal_fingerprints(one: Any, other: Any) -> None:
    def digest(parameters: Any) -> str:
        copy = rendered(typed(**parameters), p=True)
        values = {name: getattr(copy, name) for name in copy.SPEC.parameters}
        return fingerprint.canonical_json(values)

    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: typed(settings={"i": math.inf}), "t: settings.i is inf, but must be finite; leave it out, or"),
        (lambda: typed(settings={"a": [2**70]}), "t: settings.a[0] is 1180591620717411303424, which needs more than"),
        (lambda: typed(names="eval"), "t: names takes a list of str, but got 'eval'; write ['eval']"),
        (lambda: typed(cache_files="/a"), "t: cache_files takes a list of str, but got '/a'; write ['/a']"),
        (lambda: typed(cache=1), "t: cache takes True, False, 'refresh' or None, but got 1"),
        (lambda: typed(cache_ttl=3600), "t: cache_ttl takes a timedelta or None, but got 3600"),
        (
            lambda: create_dag("d", [typed()], beam_pipeline_args="--runner=DirectRunner"),
            "d: beam_pipeline_args takes a list of str, but got '--runner=DirectRunner'; write ['--runner=",
        ),
        (lambda: typed(count=typed().outputs["examples"]), "t: count takes an int, but got t.outputs['examples']"),
        (
            lambda: typed(train="{{ params.train }}"),
            "t: train takes a TrainArgs, its dict or None; a template or RuntimeParameter may stand inside it, not in",
        ),
        (
            lambda: typed(settings=RuntimeParameter("settings")),
            "t: settings takes a dict or None; a RuntimeParameter may stand inside it, not in its place",
        ),
        (
            lambda: typed(count=RuntimeParameter("n", str, "many")),
            "t: count, the default of RuntimeParameter('n', str, default='many'), takes an int, but got 'many'",
        ),
        (lambda: RuntimeParameter("n", int, 1.5), "RuntimeParameter 'n': default takes an int or None, but got 1.5"),
        (lambda: RuntimeParameter("n", float, math.nan), "RuntimeParameter 'n': default is nan, but must be finite"),
        (lambda: RuntimeParameter("n", int, 1, maximum=2**70), "RuntimeParameter 'n': maximum is 118059162071741"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_an_error_when_the_dag_is_parsed(make: Any, says: str) -> None:
    with pytest.raises(PipelineError) as refused:
        make()
    assert str(refused.value).partition(": ")[2].startswith(says)  # after the line in this file


def test_a_default_and_what_is_set_later_are_checked_with_the_dag() -> None:
    component = typed()
    component.settings = {"a": math.nan}
    with pytest.raises(PipelineError, match=r"t: settings\.a is nan"):
        create_dag("d", [component])

    class WrongOperator(TypedOperator):
        def __init__(self, *, limit: Value[float] = math.inf, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.limit = limit

    with pytest.raises(PipelineError, match="Wrong: limit is inf"):
        create_dag("d", [WrongOperator()])


@pytest.mark.parametrize("param", [math.nan, {"a": [math.inf]}, Param([math.inf]), Param(2**70)])
def test_a_param_that_airflow_cannot_store_is_refused(param: Any) -> None:
    with pytest.raises(PipelineError, match=r"line \d+: d: params\.p.* is (nan|inf|1180591620717411303424)"):
        create_dag("d", [typed()], params={"p": param})


def test_a_param_may_be_a_scalar_of_numpy_or_without_a_value() -> None:
    dag = create_dag("d", [typed()], params={"p": np.float64(0.5), "q": Param(type="string")})
    assert type(dag.params["p"]) is float


def test_a_mapped_task_is_checked_when_it_is_made_from_its_map() -> None:
    with DAG("d", schedule=None):
        mapped = TypedOperator.partial(task_id="t", name="x").expand(count=["1", "many"])
    assert mapped.unmap({"count": "1"}).count == 1
    with pytest.raises(InvalidInputError) as refused:
        mapped.unmap({"count": "many"})
    assert str(refused.value) == "t: count takes an int, but got 'many'"


def test_what_a_mapped_task_takes_in_every_map_is_checked_when_the_dag_is_parsed() -> None:
    with pytest.raises(PipelineError, match=r"line \d+: t: settings\.i is inf"):
        TypedOperator.partial(task_id="t", settings={"i": math.inf})
    with DAG("d", schedule=None) as dag:
        TypedOperator.partial(task_id="t", rate=np.float64(0.5)).expand(count=[1])
    msgspec.msgpack.encode(DagSerialization.to_dict(dag))


def test_a_tasks_result_is_checked_when_it_is_known() -> None:
    @task
    def count() -> int:
        return 3

    with DAG("d", schedule=None) as dag:
        component = typed(count=count(), names=[count()])
    assert dag.get_task("count").downstream_task_ids == {"t"}
    assert component.count.operator.task_id == "count"


ACCEPTED: dict[str, Any] = {
    "flag": [True, "True", "{{ params.x }}", np.bool_(True), RuntimeParameter("x", bool, True)],
    "count": [2**63 - 1, np.int64(3), Number.ONE, RuntimeParameter("x", int, np.int64(2))],
    "rate": [0.1, np.float32(0.1), 3, None, RuntimeParameter("x", float, np.float64(2), maximum=np.float64(3))],
    "names": [("a",), [np.str_("a")], ["{{ params.x }}"]],
    "train": [TrainArgs(num_steps=3), {"num_steps": RuntimeParameter("x", int, 3)}],
    "settings": [
        {0: 1.0, "a": [np.int8(1), (Number.ONE, {"b": RuntimeParameter("x", float)})]},
        {"{{": "{{ params.x }}"},
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ACCEPTED.items() for value in values])
def test_airflow_can_store_a_dag_with_whatever_is_accepted(name: str, value: Any) -> None:
    stored = DagSerialization.to_dict(create_dag("d", [typed(**{name: value})]))
    json.dumps(stored, allow_nan=False)
    msgspec.msgpack.encode(stored)  # this is how the parser's process sends it
    DagSerialization.from_dict(stored)


def test_the_evaluators_stamp_is_a_bool() -> None:
    importer = ImporterOperator(source_uri="/model", artifact_type="Model")
    examples = CsvExampleGenOperator(input_base="/data")
    evaluator = EvaluatorOperator(
        examples=examples.outputs["examples"],
        model=importer.outputs["result"],
        eval_config={},
        rubber_stamp="{{ params.stamp }}",
    )
    dag = create_dag("d", [importer, examples, evaluator], params={"stamp": False})
    assert evaluator.rendered(preview_context(dag, {}), {}).rubber_stamp is False


def test_a_dicts_keys_are_text_as_the_executor_gets_them() -> None:
    example_gen = CsvExampleGenOperator(input_base="/data")
    trainer = TrainerOperator(
        examples=example_gen.outputs["examples"],
        run_fn="model.run_fn",
        custom_config={"class_weight": {0: 1.0, 1: 2.0}},
    )
    assert trainer.custom_config == {"class_weight": {"0": 1.0, "1": 2.0}}
