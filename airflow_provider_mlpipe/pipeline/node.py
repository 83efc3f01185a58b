"""The base operator of all nodes of a pipeline: what its task does.

If the run's plan recorded a result for the node, the task uses it. Otherwise it resolves the inputs and does the node's
work. Then it checks the gate. A PermanentError fails the task without a retry.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import TriggerRule
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout
from jinja2 import TemplateError
from typing_extensions import Self

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching import fingerprint
from airflow_provider_mlpipe.caching.driver import CachePolicy, ComponentRun, Decision, Resolution
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError, PermanentError
from airflow_provider_mlpipe.execution import publisher
from airflow_provider_mlpipe.execution.dag_runs import clear_number, current_run, identify_run, map_index, task_states
from airflow_provider_mlpipe.forms import from_dict, to_dict
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore, PlannedTask
from airflow_provider_mlpipe.nested import KeyPath
from airflow_provider_mlpipe.pipeline import masking, news, parts
from airflow_provider_mlpipe.pipeline.task_errors import as_airflow_errors
from airflow_provider_mlpipe.pipeline.wiring import WiredOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from jinja2 import Environment

Published = Mapping[str, Sequence[Artifact]]
_WITHOUT_OUTPUTS = {"skipped", "failed", "upstream_failed", "removed"}


class NodeOperator(WiredOperator):
    """A task that reads and writes artifacts."""

    SEARCHES_STORE: ClassVar[bool] = False
    """Whether it looks for artifacts in the store, where those that were published before it in its run are, too."""

    planned_by: str | None = None
    """The id of the task that plans its runs, if there is one."""

    runs_after_hits = False
    """Whether it has the trigger rule of `create_dag`, by which it also runs after components that were skipped."""

    @property
    def trigger_rule(self) -> TriggerRule:
        """As given; but below a setup task "all_success", as Airflow wants it, in place of `create_dag`'s rule."""
        is_below_setup = self.runs_after_hits and any(task.is_setup for task in self.upstream_list)
        return TriggerRule.ALL_SUCCESS if is_below_setup else self._trigger_rule

    @trigger_rule.setter
    def trigger_rule(self, given: TriggerRule) -> None:
        self._trigger_rule = given

    @property
    def searches_store(self) -> bool:
        """Whether what it gets depends on what the nodes above it publish in its run."""
        return self.SEARCHES_STORE or bool(self.previous_inputs)

    @functools.cached_property
    def store(self) -> MetadataStore:
        """The metadata store of this operator's connection."""
        return MlpipeHook(self.metadata_conn_id or MlpipeHook.default_conn_name).store

    def published_outputs(self, context: Context, key: str) -> list[Artifact]:
        """The artifacts that this operator's newest complete or cached execution in this run published under `key`.

        After a clear, the earlier outputs of a task that is now skipped, failed or removed don't count.
        """
        states = task_states(context, self.task_id)
        if states == {-1: "skipped"}:
            return self._planned_outputs(context).get(key, [])
        counting = [index for index, state in states.items() if state not in _WITHOUT_OUTPUTS]
        run = identify_run(context, self.store)
        return self.store.run_outputs(run, component_id=self.task_id, key=key, map_indexes=counting)

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """As in Airflow; but a value of a wrong type is not retried."""
        with as_airflow_errors(), self._recording_failures(context):
            super().render_template_fields(context, jinja_env)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Environment, seen_oids: set[int]
    ) -> None:
        """As in Airflow, field by field; Jinja's error does not name the field."""
        for name in template_fields:
            try:
                super()._do_render_template_fields(parent, [name], context, jinja_env, seen_oids)
            except TemplateError as error:
                raise InvalidInputError(
                    f"{self.task_id}: the template in {name} cannot be rendered: {str(error).rstrip('.')}; correct it"
                ) from error

    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the node; returns the published artifacts as plain dicts, by output key."""
        with as_airflow_errors():
            identify_run(context, self.store)
            with self._recording_failures(context):
                self.convert_rendered()
                self._skip_with_what_is_above(context)
                if self.outlets:
                    news.remember_first_try(context)
                planned = self._planned(context)
                published = self.run_node(self.component_run(context)) if planned is None else self._outputs(planned)
            self._check_gate(context, published)
            if self.outlets and not self._is_news(context, published, planned):
                self.outlets = []  # Airflow sends an event for each that is here when the task succeeds
        return {key: [to_dict(artifact) for artifact in artifacts] for key, artifacts in published.items()}

    def decide(self, store: MetadataStore, run: ComponentRun) -> Decision | Resolution:
        """What this node would do for a part; it does not do it."""
        raise NotImplementedError

    def run_node(self, run: ComponentRun) -> Published:
        """Does the node's work and publishes it."""
        raise NotImplementedError

    def check_gate(self, outputs: Published) -> None:
        """Raises a PermanentError when the published or reused outputs must stop the run; by default it does not."""

    def is_worth_an_event(self, outputs: Published) -> bool:
        """Whether consumers of this task's outlets are to know of these new outputs; by default, of all."""
        return True

    def foreseen_outputs(self) -> Mapping[str, Path]:
        """By output, the file or folder with what it will hold, where that is known before it runs; by default, none.

        For a copy of this node with rendered templates.
        """
        return {}

    def check_foreseen(self, inputs: Mapping[str, Path]) -> None:
        """Raises a PermanentError for what does not fit these `inputs`, which are known although others are not yet.

        A plan calls it, for a copy of this node with rendered templates. By default nothing is checked.
        """

    def remember(self) -> None:
        """Stores what it has found out about data outside the store, so that later runs need not; by default, nothing.

        A plan calls it after it is recorded, for a copy of this node with rendered templates.
        """

    def component_run(self, context: Context) -> ComponentRun:
        """This try, with its inputs and parameters resolved; raises AirflowSkipException when an input is absent."""
        ti = context["ti"]
        parameters = self._parameters()
        return ComponentRun(
            spec=self.SPEC,
            dag_run=current_run(context),
            component_id=self.task_id,
            map_index=map_index(context),
            try_number=ti.try_number,
            triggered_by=_triggered_by(context["dag_run"]),
            inputs={name: self._input_artifacts(name) for name in self.SPEC.inputs},
            parameters=parameters,
            shown=masking.hidden(parameters, self._named_secrets(), lambda: self.store.secret),
            resolved=parameters,
            external={},
            cache=CachePolicy(mode=False),
        )

    def parts_of(self, run: ComponentRun) -> list[ComponentRun]:
        """The parts of this try, each with its external inputs; a node without an executor has one.

        Raises InvalidInputError for several artifacts of an input that takes one.
        """
        for name, found in run.inputs.items():
            if len(found) > 1 and not self.SPEC.inputs[name].several:
                raise InvalidInputError(f"{self.task_id}.{name} takes one artifact, but its channel has {len(found)}")
        return [replace(run, external=self.external_inputs(run.resolved))]

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The digests of what this node reads outside the store, by name; by default, of its Content parameters."""
        return fingerprint.content_digests(self.SPEC, parameters)

    def rendered(self, context: Context, given: Mapping[str, Sequence[Artifact]]) -> Self:
        """A copy with rendered templates, as Airflow would execute it; its inputs are taken from `given`, by name.

        Raises InvalidInputError for a rendered value that does not fit its parameter.
        """
        copy = self.prepare_for_execution()
        for name in self.SPEC.inputs:
            setattr(copy, name, [to_dict(artifact) for artifact in given[name]] if name in given else None)
        others = [name for name in self.template_fields if name not in self.SPEC.inputs]
        copy._do_render_template_fields(copy, others, context, copy.get_template_env(), set())
        copy.convert_rendered()
        return copy

    def masked(self, text: str) -> str:
        """The text without the secrets that this node's parameters have, and those that Airflow's masker knows."""
        return masking.masked(text, masking.secret_texts(self._parameters(), self._named_secrets()))

    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.SPEC.parameters}

    def _named_secrets(self) -> frozenset[KeyPath]:
        """What the DAG file's templates take from connections and Variables; Airflow renders a copy of its task."""
        dag = self.get_dag()
        if dag is None:
            return frozenset()
        task = dag.get_task(self.task_id)
        if isinstance(task, MappedOperator):
            given = {**task.partial_kwargs, **_expanded(task.expand_input.value)}
        else:
            given = {name: getattr(task, name, None) for name in self.SPEC.parameters}
        templates = {name: given.get(name) for name in self.SPEC.parameters}
        return masking.named_in_templates(templates, self.get_template_env)

    @contextlib.contextmanager
    def _recording_failures(self, context: Context) -> Iterator[None]:
        """Leaves a FAILED execution of this try if it fails before it has one, so that people find out why."""
        try:
            yield
        except AirflowSkipException:
            raise
        except (Exception, AirflowTaskTimeout) as error:
            self._record_early_failure(context, error)
            raise

    def _record_early_failure(self, context: Context, failure: BaseException) -> None:
        ti, executor = context["ti"], self.SPEC.executor
        try:
            start = ExecutionStart(
                component_type=self.SPEC.component_type,
                run=identify_run(context, self.store),
                component_id=self.task_id,
                map_index=map_index(context),
                try_number=ti.try_number,
                triggered_by=_triggered_by(context["dag_run"]),
                fingerprint_parts={"executor": executor} if executor else {},
            )
            self.store.fail_before_start(start, self.masked(f"{type(failure).__name__}: {failure}"))
        except Exception as error:  # noqa: BLE001 - the failure itself is what people must see
            self.log.warning("the failure could not be recorded: %s: %s", type(error).__name__, error)

    def _check_gate(self, context: Context, published: Published) -> None:
        """Leaves a failing gate's error with the execution, which stays COMPLETE or CACHED: people can look at it.

        It looks at each part, so that the error is with the part that failed, and raises the error of the first.
        """
        failures: list[PermanentError] = []
        for number, outputs in enumerate(parts.outputs_of(published)):
            try:
                self.check_gate(outputs)
            except PermanentError as failure:
                self._record_gate(context, number, failure)
                failures.append(failure)
        if failures:
            raise type(failures[0])("\n".join(map(str, failures)))

    def _record_gate(self, context: Context, part: int, failure: PermanentError) -> None:
        try:
            self.store.record_gate(
                current_run(context),
                component_id=self.task_id,
                map_index=map_index(context),
                part=part,
                error=self.masked(f"{type(failure).__name__}: {failure}"),
            )
        except MlpipeError as error:  # the failure itself is what people must see
            self.log.warning("the failing gate could not be recorded: %s", error)

    def _skip_with_what_is_above(self, context: Context) -> None:
        """Skips this task when an upstream task that is not a component was skipped.

        In a planned DAG a skipped component may be a hit, so it does not skip this task.
        """
        if self.runs_after_hits and (skipped := self._skipped_others(context)):
            reason = f"{self.task_id} is skipped, since {', '.join(sorted(skipped))} was skipped"
            self.log.info("%s", reason)
            raise AirflowSkipException(reason)

    def _skipped_others(self, context: Context) -> list[str]:
        """The direct upstream tasks that are not components and were skipped."""
        others = [task.task_id for task in self.upstream_list if not isinstance(task, NodeOperator)]
        return [task_id for task_id in others if "skipped" in task_states(context, task_id).values()]

    def _is_news(self, context: Context, outputs: Published, planned: PlannedTask | None) -> bool:
        artifacts = [artifact for of_key in outputs.values() for artifact in of_key]
        return self.is_worth_an_event(outputs) and news.is_news(context, self.store, artifacts, planned)

    def _planned(self, context: Context) -> PlannedTask | None:
        """What the run's plan recorded for this task; None without a result.

        A plan holds until tasks of the run are cleared. Then the task decides for itself, unless there is a new plan.
        """
        if self.planned_by is None:
            return None
        plan = self.store.plan(current_run(context), clear=clear_number(context))
        planned = self._part_of(plan)
        if planned is None or planned.is_skipped or planned.part_set is None:
            return None
        self.log.info("%s: as planned, %s", self.task_id, planned.reason)
        return planned

    def _outputs(self, planned: PlannedTask) -> Mapping[str, list[Artifact]]:
        return self.store.set_outputs(planned.part_set) if planned.part_set else {}

    def _planned_outputs(self, context: Context) -> Mapping[str, list[Artifact]]:
        """The outputs of this skipped task if the run's plan skipped it; none if it was skipped for another reason."""
        if self.planned_by is None or self._skipped_others(context):
            return {}
        if task_states(context, self.planned_by) != {-1: "success"}:
            return {}
        planned = self._part_of(self.store.plan(identify_run(context, self.store)))
        return self._outputs(planned) if planned is not None and planned.is_skipped else {}

    def _part_of(self, plan: Sequence[PlannedTask] | None) -> PlannedTask | None:
        return next((task for task in plan or () if task.component_id == self.task_id), None)

    def _input_artifacts(self, name: str) -> list[Artifact]:
        """The artifacts of an input in order; its template field holds the plain dicts that its channel resolved to."""
        given: Sequence[Mapping[str, Any]] | None = getattr(self, name)
        declared = self.SPEC.inputs[name]
        if given:
            return parts.in_order([from_dict(plain) for plain in given])
        if declared.optional and not (declared.required_when_wired and given is not None):
            return []
        raise AirflowSkipException(f"{self.task_id}.{name}: its producer published nothing in this run")


class ResolvingOperator(NodeOperator):
    """A node without an executor: it finds artifacts that exist already, and looks for them in every run."""

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """The artifacts that it finds, and the execution to record."""
        raise NotImplementedError

    def run_node(self, run: ComponentRun) -> Published:
        """Finds the artifacts and records them."""
        (part,) = self.parts_of(run)
        _, published = publisher.publish_resolution(self.store, self.decide(self.store, part))
        named = [f"{artifact.TYPE_NAME} {artifact.id}" for artifacts in published.values() for artifact in artifacts]
        self.log.info("%s: %s", self.task_id, ", ".join(named) or "nothing found")
        return published


def _expanded(value: Any) -> Mapping[str, Any]:
    """The arguments of `expand`; those of `expand_kwargs` are a list, of which each counts for all."""
    if isinstance(value, Mapping):
        return value
    given = [each for each in value if isinstance(each, Mapping)] if isinstance(value, (list, tuple)) else []
    return {name: [each.get(name) for each in given] for each in given for name in each}


def _triggered_by(dag_run: Any) -> str:
    return getattr(dag_run, "triggering_user_name", None) or str(dag_run.run_type)
