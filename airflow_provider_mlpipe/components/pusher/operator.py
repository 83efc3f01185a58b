"""PusherOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, InfraBlessing, Model, ModelBlessing, PushedModel
from airflow_provider_mlpipe.components.pusher.serving_folder import OLDER_THAN_IN, ServingFolder
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Config, GateInput, Input
from airflow_provider_mlpipe.proto.mlpipe_pb2 import PushDestination
from airflow_provider_mlpipe.storage.digests import tree_digest


class PusherOperator(ComponentOperator):
    """Copies a model into a serving folder if every given blessing is positive.

    Reads `model`, and the given blessings. The folder has TensorFlow Serving's layout: `Format-Serving/` of the model
    appears in it atomically, as the highest version. Publishes `pushed_model` (PushedModel): `push.json`, which repeats
    the properties `pushed`, `destination`, `version`, `reason` and `model_digest`. A model that is not blessed is not
    an error: `pushed` is then 0, and `reason` says why. The same holds when a newer execution has pushed to the folder
    while this one waited or stalled, and while the model of a newer span is served.

    An earlier push is a cache hit only while its version is in the folder, unchanged, and the highest; or while the
    model of a newer span is served.

    :param model: a channel of the Model to push
    :param push_destination: a `PushDestination` or its dict, such as
        `{"filesystem": {"base_directory": "/srv/models/penguins"}}`: an absolute path, created if it is missing. The
        version is the Unix time in seconds, or the highest version in the folder plus one if that is greater
    :param model_blessing: a channel of a ModelBlessing, an Evaluator's `blessing`. The model is not pushed if the
        blessing belongs to another model (default None: no blessing is required)
    :param infra_blessing: a channel of an InfraBlessing (default None: no blessing is required)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when `push_destination` does not match its message type, names no folder, or
    sets versioning PATH, or an input is not a channel of its type. The task raises InvalidInputError when the model has
    no SavedModel in `Format-Serving/`, or the folder is not an absolute path or cannot be written.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"pushed_model": PushedModel}

    def __init__(
        self,
        *,
        model: Input[Model],
        push_destination: Config[PushDestination | Mapping[str, Any]],
        model_blessing: GateInput[ModelBlessing] = None,
        infra_blessing: GateInput[InfraBlessing] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.model_blessing = model_blessing
        self.infra_blessing = infra_blessing
        self.push_destination = push_destination
        self._check_destination()

    def _check_destination(self) -> None:
        destination: Any = self.push_destination
        filesystem = destination.get("filesystem", {})
        if not filesystem.get("base_directory"):
            raise PipelineError(
                f"{self.task_id}: push_destination needs filesystem.base_directory, the folder that the server watches"
            )
        if filesystem.get("versioning") == "PATH":
            raise PipelineError(
                f"{self.task_id}: push_destination.filesystem.versioning: PATH cannot be published atomically; use AUTO"
            )

    def is_worth_an_event(self, outputs: Mapping[str, Sequence[Artifact]]) -> bool:
        """Return whether the model was pushed."""
        return any(artifact.properties["pushed"] for artifact in outputs["pushed_model"])

    def cached_outputs_problem(self, outputs: Mapping[str, Sequence[Artifact]]) -> str | None:
        """Return why an earlier push cannot be reused; None while the destination still serves it."""
        return next(filter(None, map(_push_problem, outputs["pushed_model"])), None)


def _push_problem(pushed_model: Artifact) -> str | None:
    span = pushed_model.properties.get("span")
    if not pushed_model.properties.get("pushed"):
        return _refusal_problem(pushed_model.custom_properties, span)
    destination = Path(pushed_model.properties["destination"])
    if ServingFolder(destination.parent).serves_newer_than(span):
        return None  # a backfill does not bring an old model back
    if not destination.is_dir():
        return f"the pushed model is gone from {destination}"
    if not ServingFolder(destination.parent).is_current(destination.name):
        return f"{destination.parent} now serves another version than {destination.name}"
    if tree_digest(destination) != pushed_model.custom_properties.get("content_digest"):
        return f"the pushed model at {destination} has been changed"
    return None


def _refusal_problem(why: Mapping[str, Any], span: int | None) -> str | None:
    """Return why the model may be pushed now although it was not; None while it may not."""
    if why.get("overtaken"):
        return "a newer execution had pushed before it"
    folder = why.get(OLDER_THAN_IN)
    if folder is not None and not ServingFolder(Path(folder)).serves_newer_than(span):
        return f"{folder} serves no model of a newer span any more"
    return None
