"""The base operator of all nodes of a pipeline: what its task does.

If the run's plan recorded a result for the node, the task uses it. Otherwise it resolves the inputs and does the node's
work. Then it checks the gate. A PermanentError fails the task without a retry.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from typing_extensions import Self

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.caching import fingerprint
from airflow_provider_mlpipe.caching.driver import CachePolicy, ComponentRun, Decision, Resolution
from airflow_provider_mlpipe.exceptions import InvalidInputError, PermanentError
from airflow_provider_mlpipe.execution import publisher
from airflow_provider_mlpipe.forms import from_dict, to_dict
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.parameters import plain_value
from airflow_provider_mlpipe.pipeline.wiring import WiredOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

Published = Mapping[str, Sequence[Artifact]]


class NodeOperator(WiredOperator):
    """A task that reads and writes artifacts.

    :param kwargs: everything that WiredOperator and BaseOperator take
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_planned = False
        self.is_skipped_with_others = False

    @functools.cached_property
    def store(self) -> MetadataStore:
        """The metadata store of this operator's connection."""
        return MlpipeHook(self.metadata_conn_id or MlpipeHook.default_conn_name).store

    def published_outputs(self, context: Context, key: str) -> list[Artifact]:
        """The artifacts that this operator's newest complete or cached execution in this run published under `key`."""
        ti = context["ti"]
        return self.store.run_outputs(pipeline=ti.dag_id, run_id=ti.run_id, component_id=self.task_id, key=key)

    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the node; returns the published artifacts as plain dicts, by output key."""
        with _airflow_errors():
            self._skip_with_what_is_above(context)
            published = self._planned(context)
            if published is None:
                published = self.run_node(self.component_run(context))
            self.check_gate(published)
        return {key: [to_dict(artifact) for artifact in artifacts] for key, artifacts in published.items()}

    def decide(self, store: MetadataStore, run: ComponentRun) -> Decision | Resolution:
        """What this node would do; it does not do it."""
        raise NotImplementedError

    def run_node(self, run: ComponentRun) -> Published:
        """Does the node's work and publishes it."""
        raise NotImplementedError

    def check_gate(self, outputs: Published) -> None:
        """Raises a PermanentError when the published or reused outputs must stop the run; by default it does not."""

    def component_run(self, context: Context) -> ComponentRun:
        """This try, with its inputs and parameters resolved; raises AirflowSkipException when an input is absent."""
        ti, dag_run = context["ti"], context["dag_run"]
        parameters = {name: plain_value(getattr(self, name)) for name in self.SPEC.parameters}
        return ComponentRun(
            spec=self.SPEC,
            pipeline=ti.dag_id,
            run_id=ti.run_id,
            component_id=self.task_id,
            map_index=ti.map_index if ti.map_index is not None else -1,
            try_number=ti.try_number,
            triggered_by=getattr(dag_run, "triggering_user_name", None) or str(dag_run.run_type),
            inputs={name: self._input_artifact(name) for name in self.SPEC.inputs},
            parameters=parameters,
            external=self.external_inputs(parameters),
            cache=CachePolicy(mode=False),
        )

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The digests of what this node reads outside the store, by name; by default, of its Content parameters."""
        return fingerprint.content_digests(self.SPEC, parameters)

    def rendered(self, context: Context, given: Mapping[str, Sequence[Artifact]]) -> Self:
        """A copy with rendered templates, as Airflow would execute it; its inputs are taken from `given`, by name."""
        copy = self.prepare_for_execution()
        for name in self.SPEC.inputs:
            setattr(copy, name, [to_dict(artifact) for artifact in given[name]] if name in given else None)
        others = [name for name in self.template_fields if name not in self.SPEC.inputs]
        copy._do_render_template_fields(copy, others, context, copy.get_template_env(), set())
        return copy

    def _skip_with_what_is_above(self, context: Context) -> None:
        """Skips this task when an upstream task that is not a component was skipped.

        In a planned DAG a skipped component may be a hit, so it does not skip this task.
        """
        others = [task.task_id for task in self.upstream_list if not isinstance(task, NodeOperator)]
        if self.is_skipped_with_others and others:
            ti = context["ti"]
            states = ti.get_task_states(dag_id=ti.dag_id, task_ids=others, run_ids=[ti.run_id]).get(ti.run_id, {})
            if skipped := [task_id for task_id, state in states.items() if state == "skipped"]:
                reason = f"{self.task_id} is skipped, since {', '.join(sorted(skipped))} was skipped"
                self.log.info("%s", reason)
                raise AirflowSkipException(reason)

    def _planned(self, context: Context) -> Published | None:
        """The outputs that the run's plan recorded for this task; None without any, or if it was cleared since then."""
        ti = context["ti"]
        if not self.is_planned:
            return None
        planned = self.store.take_up_plan(
            pipeline=ti.dag_id, run_id=ti.run_id, component_id=self.task_id, clear=ti.max_tries
        )
        if planned is None or planned.execution_id is None:
            return None
        self.log.info("%s: as planned, %s", self.task_id, planned.reason)
        return self.store.execution_artifacts(planned.execution_id, "OUTPUT")

    def _input_artifact(self, name: str) -> Artifact | None:
        """The artifact of an input; its template field holds the plain dicts that its channel resolved to."""
        given: Sequence[Mapping[str, Any]] | None = getattr(self, name)
        found, declared = given or (), self.SPEC.inputs[name]
        if len(found) > 1:
            raise InvalidInputError(f"{self.task_id}.{name} takes one artifact, but its channel has {len(found)}")
        if found:
            return from_dict(found[0])
        if declared.optional and not (declared.required_when_wired and given is not None):
            return None
        raise AirflowSkipException(f"{self.task_id}.{name}: its producer published nothing in this run")


class ResolvingOperator(NodeOperator):
    """A node without an executor: it finds artifacts that exist already, and looks for them in every run."""

    def decide(self, store: MetadataStore, run: ComponentRun) -> Resolution:
        """The artifacts that it finds, and the execution to record."""
        raise NotImplementedError

    def run_node(self, run: ComponentRun) -> Published:
        """Finds the artifacts and records them."""
        _, published = publisher.publish_resolution(self.store, self.decide(self.store, run))
        named = [f"{artifact.TYPE_NAME} {artifact.id}" for artifacts in published.values() for artifact in artifacts]
        self.log.info("%s: %s", self.task_id, ", ".join(named) or "nothing found")
        return published


@contextlib.contextmanager
def _airflow_errors() -> Iterator[None]:
    """The type of an error decides whether Airflow retries: a permanent one fails the task at once."""
    try:
        yield
    except PermanentError as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
