"""PusherOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, InfraBlessing, Model, ModelBlessing, PushedModel
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.pusher.serving_folder import ServingFolder
from airflow_provider_mlpipe.components.spec import Config, Input, OptionalInput
from airflow_provider_mlpipe.digests import tree_digest
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.proto.configs import config_dict
from airflow_provider_mlpipe.proto.mlpipe_pb2 import PushDestination


class PusherOperator(ComponentOperator):
    """Copies `model` into a serving folder when every blessing that is given is positive.

    `push_destination` is a PushDestination or a dict: `{"filesystem": {"base_directory": "/srv/models/penguins"}}`.
    A model that is not blessed is no error: `pushed_model` then has `pushed=0` and the reason.

    Raises PipelineError when `push_destination` does not fit, names no file system, or asks for versioning PATH.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"pushed_model": PushedModel}

    def __init__(
        self,
        *,
        model: Input[Model],
        push_destination: Config[PushDestination | Mapping[str, Any]],
        model_blessing: OptionalInput[ModelBlessing] = None,
        infra_blessing: OptionalInput[InfraBlessing] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.model_blessing = model_blessing
        self.infra_blessing = infra_blessing
        self.push_destination = _checked(config_dict(PushDestination, push_destination, parameter="push_destination"))

    def cached_outputs_problem(self, outputs: Mapping[str, Sequence[Artifact]]) -> str | None:
        """Say why an earlier push cannot stand for this one; None when it still is what the destination serves."""
        return next(filter(None, map(_push_problem, outputs["pushed_model"])), None)


def _checked(destination: dict[str, Any] | None) -> dict[str, Any]:
    filesystem = (destination or {}).get("filesystem") or {}
    if not filesystem.get("base_directory"):
        raise PipelineError("push_destination needs filesystem.base_directory, the folder that the server watches")
    if filesystem.get("versioning") in ("PATH", PushDestination.Filesystem.PATH):
        raise PipelineError("push_destination.filesystem.versioning: PATH cannot be published atomically; use AUTO")
    return {"filesystem": filesystem}


def _push_problem(pushed_model: Artifact) -> str | None:
    if not pushed_model.properties.get("pushed"):
        return None
    destination = Path(pushed_model.properties["destination"])
    if not destination.is_dir():
        return f"the pushed model is gone from {destination}"
    if not ServingFolder(destination.parent).is_current(destination.name):
        return f"another version than {destination.name} is served from {destination.parent} by now"
    if tree_digest(destination) != pushed_model.custom_properties.get("content_digest"):
        return f"the pushed model at {destination} has been changed"
    return None
