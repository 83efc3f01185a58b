"""Pusher's executor: checks the blessings, then pushes the model. It needs no TensorFlow: a SavedModel is a folder."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_mlpipe.artifacts import InfraBlessing, Model, ModelBlessing, PushedModel
from airflow_provider_mlpipe.components.pusher.serving_folder import (
    OLDER_THAN_IN,
    OlderSpanError,
    OvertakenError,
    Push,
    ServingFolder,
)
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import PushDestination
from airflow_provider_mlpipe.storage.digests import file_digest, file_digests, files_digest
from airflow_provider_mlpipe.storage.layout import folder_of, root_of, serving_model
from airflow_provider_mlpipe.storage.marker import read

log = logging.getLogger(__name__)


def run(
    *,
    model: Model,
    model_blessing: ModelBlessing | None,
    infra_blessing: InfraBlessing | None,
    push_destination: Mapping[str, Any],
    pushed_model: PushedModel,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Push the model, or record why it is not pushed. `push.json` in the output repeats the properties.

    Raises InvalidInputError when the model has no `Format-Serving`, when its files are not those that were published
    (and judged), or the destination cannot be written.
    """
    saved_model = serving_model(model)
    if not (saved_model / "saved_model.pb").is_file():
        raise InvalidInputError(
            f"{saved_model} has no saved_model.pb: this model cannot be served, and is not pushed; save it there"
        )
    folder = _serving_folder(push_destination)
    refusal = _refusal(model, model_blessing, infra_blessing)
    if refusal:
        log.warning("Not pushed: %s", refusal)
        return _record(pushed_model, {"pushed": 0, "reason": refusal} | _digest_of(model), {})
    span = model.properties.get("span")
    push = Push(store=_store_of(pushed_model), execution_id=context.execution_id, span=span)
    try:
        version, content = folder.publish(saved_model, push, check=functools.partial(_refuse_if_changed, model))
    except OvertakenError as error:
        log.warning("Not pushed: %s", error)
        return _record(pushed_model, {"pushed": 0, "reason": str(error)} | _digest_of(model), {"overtaken": True})
    except OlderSpanError as error:
        log.warning("Not pushed: %s", error)
        return _record(
            pushed_model, {"pushed": 0, "reason": str(error)} | _digest_of(model), {OLDER_THAN_IN: str(folder.base)}
        )
    log.info("Pushed as %s", version)
    properties = {
        "pushed": 1,
        "destination": str(version),
        "version": version.name,
        "reason": _grounds(model_blessing, infra_blessing),
    }
    return _record(pushed_model, properties | _digest_of(model), {"content_digest": content})


def _refuse_if_changed(model: Model, copied: Mapping[str, str]) -> None:
    """Compares what was copied (digests by path), and the model's other files, with the digest of its publication."""
    digests: dict[str, str] = {}
    for child in folder_of(model).iterdir():
        found = (
            copied
            if child == serving_model(model)
            else file_digests(child)
            if child.is_dir()
            else {"": file_digest(child)}
        )
        digests |= {f"{child.name}/{name}".rstrip("/"): digest for name, digest in found.items()}
    if files_digest(digests.items()) != model.files_digest:
        raise InvalidInputError(
            f"the files of the model in {model.uri} have changed since they were published, so it is not pushed: train "
            "it again, and find out who can write there"
        )


def _store_of(pushed_model: PushedModel) -> str | None:
    marker = read(root_of(pushed_model))
    return marker.store if marker else None


def _serving_folder(push_destination: Mapping[str, Any]) -> ServingFolder:
    destination = parse_config(PushDestination, push_destination, parameter="push_destination")
    return ServingFolder.of(destination.filesystem.base_directory)


def _refusal(model: Model, model_blessing: ModelBlessing | None, infra_blessing: InfraBlessing | None) -> str | None:
    """Return why the model must not be pushed, or None."""
    for name, blessing in (("model_blessing", model_blessing), ("infra_blessing", infra_blessing)):
        if blessing is not None and blessing.properties.get("blessed") != 1:
            return f"{name} is negative: {blessing.properties.get('reason') or 'it gives no reason'}"
    blessed_digest = model_blessing.properties.get("model_digest") if model_blessing else None
    if blessed_digest and model.digest and blessed_digest != model.digest:
        return f"model_blessing belongs to another model (digest {blessed_digest[:12]}, not {model.digest[:12]})"
    return None


def _grounds(model_blessing: ModelBlessing | None, infra_blessing: InfraBlessing | None) -> str:
    given = [name for name, it in (("model_blessing", model_blessing), ("infra_blessing", infra_blessing)) if it]
    if not given:
        log.warning("Pushing without any blessing: connect an Evaluator's `blessing` to guard this push")
        return "no blessing was required"
    return f"{' and '.join(given)} positive"


def _digest_of(model: Model) -> dict[str, str]:
    return {"model_digest": model.digest} if model.digest else {}


def _record(pushed_model: PushedModel, properties: dict[str, Any], custom: dict[str, Any]) -> dict[str, Produced]:
    (folder_of(pushed_model) / "push.json").write_text(json.dumps(properties, indent=2, sort_keys=True) + "\n")
    return {"pushed_model": Produced(properties=properties, custom_properties=custom)}
