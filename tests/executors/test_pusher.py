"""Pusher publishes whole versions or none, and only what is blessed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlpipe.artifacts import FileSummary, InfraBlessing, Model, ModelBlessing, PushedModel
from airflow_provider_mlpipe.barriers import VARIABLE
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.pusher import executor
from airflow_provider_mlpipe.components.pusher.operator import PusherOperator
from airflow_provider_mlpipe.components.pusher.serving_folder import Push, ServingFolder
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError, TransientError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.storage.digests import tree_digest


@pytest.fixture
def model(tmp_path: Path) -> Model:
    saved_model = tmp_path / "model" / "Format-Serving"
    (saved_model / "variables").mkdir(parents=True)
    (saved_model / "saved_model.pb").write_bytes(b"graph")
    (saved_model / "variables" / "variables.index").write_bytes(b"weights" * 1000)
    (tmp_path / "model" / "fn_args.json").write_text("{}")
    return Model(uri=str(tmp_path / "model"), id=7, digest=tree_digest(tmp_path / "model"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "penguins"


def blessing(blessed: int, model: Model | None = None, digest: str = "e" * 64) -> ModelBlessing:
    digest = str(model.digest) if model else digest
    properties = {"blessed": blessed, "reason": "below the bound", "model_digest": digest}
    return ModelBlessing(uri="/blessing", properties=properties)


def push(
    model: Model,
    base: Path,
    tmp_path: Path,
    *,
    given: ModelBlessing | None = None,
    infra: InfraBlessing | None = None,
    execution_id: int = 1,
) -> Produced:
    out = tmp_path / f"pushed-{time.monotonic_ns()}"
    out.mkdir()
    produced = executor.run(
        model=model,
        model_blessing=given,
        infra_blessing=infra,
        push_destination={"filesystem": {"base_directory": str(base)}},
        pushed_model=PushedModel(uri=str(out)),
        context=ExecutorContext(component_id="pusher", execution_id=execution_id, tmp_dir=str(tmp_path)),
    )["pushed_model"]
    PushedModel(uri=str(out), properties=produced.properties)  # the declared types hold
    assert json.loads((out / "push.json").read_text()) == produced.properties
    return produced


def test_a_blessed_model_becomes_the_highest_version(model: Model, base: Path, tmp_path: Path) -> None:
    before = int(time.time())
    produced = push(model, base, tmp_path, given=blessing(1, model))
    version = Path(produced.properties["destination"])
    assert version.parent == base
    assert int(version.name) >= before
    assert produced.properties["pushed"] == 1
    assert produced.properties["version"] == version.name
    assert produced.properties["model_digest"] == model.digest
    assert produced.properties["reason"] == "model_blessing positive"
    assert tree_digest(version) == tree_digest(Path(model.uri, "Format-Serving"))
    assert produced.custom_properties["content_digest"] == tree_digest(version)


@pytest.mark.parametrize(
    ("given", "infra", "reason"),
    [
        (blessing(0), None, "model_blessing is negative: below the bound"),
        (
            None,
            InfraBlessing(uri="/i", properties={"blessed": 0, "reason": "does not load"}),
            "infra_blessing is negative: does not load",
        ),
        (ModelBlessing(uri="/b"), None, "model_blessing is negative: it gives no reason"),
        (
            blessing(1),
            None,
            "model_blessing belongs to another model (digest eeeeeeeeeeee, not {model})",
        ),
    ],
)
def test_a_refused_model_is_not_pushed(
    given: ModelBlessing, infra: InfraBlessing | None, reason: str, model: Model, base: Path, tmp_path: Path
) -> None:
    produced = push(model, base, tmp_path, given=given, infra=infra)
    reason = reason.format(model=str(model.digest)[:12])
    assert produced.properties == {"pushed": 0, "reason": reason, "model_digest": model.digest}
    assert not base.exists()


@pytest.mark.parametrize("file", ["Format-Serving/saved_model.pb", "fn_args.json"])
def test_a_model_that_was_replaced_after_it_was_judged_is_not_pushed(
    file: str, model: Model, base: Path, tmp_path: Path
) -> None:
    path = Path(model.uri, file)
    path.write_bytes(path.read_bytes()[::-1])  # of equal size
    with pytest.raises(InvalidInputError, match=r"have changed since they were published, so it is not pushed"):
        push(model, base, tmp_path, given=blessing(1, model))
    assert ServingFolder(base).versions() == []
    assert not list(base.glob(".mlpipe.tmp-*"))


def test_a_digest_of_a_models_own_is_no_digest_of_its_files(model: Model, base: Path, tmp_path: Path) -> None:
    files = FileSummary(count=3, bytes=7007, digest=str(model.digest))
    own = replace(model, digest="what the executor says", files=files)
    assert push(own, base, tmp_path, given=blessing(1, own)).properties["pushed"] == 1
    with pytest.raises(InvalidInputError, match="so it is not pushed"):
        push(replace(own, files=replace(files, digest="e" * 64)), base, tmp_path, given=blessing(1, own))


@pytest.mark.parametrize("target", ["/etc/hostname", "/etc", "fn_args.json", "gone"])
def test_a_link_in_a_model_is_refused(target: str, model: Model, base: Path, tmp_path: Path) -> None:
    """It was followed, so that a file of the machine that runs Pusher came to be served."""
    link = Path(model.uri, "Format-Serving", "variables", "link")
    link.symlink_to(target)
    with pytest.raises(InvalidInputError, match=f"{link} is a link to {target}, and only files and folders are pushed"):
        push(model, base, tmp_path)
    assert ServingFolder(base).versions() == []
    assert not list(base.glob(".mlpipe.tmp-*"))


def test_a_pipe_in_a_model_is_refused(model: Model, base: Path, tmp_path: Path) -> None:
    os.mkfifo(Path(model.uri, "Format-Serving", "pipe"))
    with pytest.raises((InvalidInputError, TransientError), match="pipe"):
        push(model, base, tmp_path)
    assert ServingFolder(base).versions() == []


def test_no_blessing_pushes_with_a_warning(
    model: Model, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        produced = push(model, base, tmp_path)
    assert produced.properties["pushed"] == 1
    assert "without any blessing" in caplog.text


def test_versions_rise_even_within_a_second_and_above_a_future_one(model: Model, base: Path, tmp_path: Path) -> None:
    (base / "99999999999").mkdir(parents=True)
    versions = [int(push(model, base, tmp_path).properties["version"]) for _ in range(3)]
    assert versions == [100000000000, 100000000001, 100000000002]


def test_racing_pushers_get_a_version_each(model: Model, base: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        produced = list(pool.map(lambda _: push(model, base, tmp_path), range(16)))
    versions = {int(one.properties["version"]) for one in produced}
    assert len(versions) == 16
    assert ServingFolder(base).versions() == sorted(versions)
    assert {tree_digest(base / str(version)) for version in versions} == {
        tree_digest(Path(model.uri, "Format-Serving"))
    }


_PUSH = """
import sys
from pathlib import Path
from airflow_provider_mlpipe.components.pusher.serving_folder import Push, ServingFolder
ServingFolder(Path(sys.argv[2])).publish(Path(sys.argv[1]), Push(store=None, execution_id=1), check=lambda _: None)
"""


@contextlib.contextmanager
def held_at(barrier: str, saved_model: Path, base: Path, barriers: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Push in another process, and hold it where it comes to `barrier` until the block has ended."""
    barriers.mkdir()
    (barriers / f"{barrier}.hold").touch()
    command = [sys.executable, "-c", _PUSH, str(saved_model), str(base)]
    environment = os.environ | {VARIABLE: str(barriers)}
    with (barriers / "log").open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as pusher:
        try:
            deadline = time.monotonic() + 60
            while not (barriers / f"{barrier}@{pusher.pid}").exists():
                assert pusher.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield pusher
            (barriers / f"{barrier}.hold").unlink()
            pusher.wait(60)
        finally:
            pusher.kill()


def killed_at(barrier: str, saved_model: Path, base: Path, barriers: Path) -> None:
    with held_at(barrier, saved_model, base, barriers) as pusher:
        pusher.kill()


def test_a_push_that_stalled_is_not_made_after_a_newer_one(model: Model, base: Path, tmp_path: Path) -> None:
    """Its lock is lost, as on a network file system, or it has not even come to the lock."""
    with held_at("pusher.before_rename", Path(model.uri, "Format-Serving"), base, tmp_path / "barriers"):
        (base / ".mlpipe-push.lock").unlink()
        newer = push(model, base, tmp_path, execution_id=2)
    log = (tmp_path / "barriers" / "log").read_text()
    assert "OvertakenError: the newer execution 2 has pushed" in log
    waited = push(model, base, tmp_path, execution_id=1)
    assert waited.properties["pushed"] == 0
    assert f"the newer execution 2 has pushed to {base} already" in waited.properties["reason"]
    assert waited.custom_properties == {"overtaken": True}
    assert ServingFolder(base).versions() == [int(newer.properties["version"])]
    assert not list(base.glob(".mlpipe.tmp-*"))
    assert push(model, base, tmp_path, execution_id=3).properties["pushed"] == 1


def test_pushes_of_two_stores_have_no_order(model: Model, base: Path, tmp_path: Path) -> None:
    saved_model = Path(model.uri, "Format-Serving")
    for store, execution_id in (("a", 7), ("b", 3), ("a", 5)):  # what "a" pushed is not the last any more
        ServingFolder(base).publish(saved_model, Push(store=store, execution_id=execution_id), check=lambda _: None)
    assert len(ServingFolder(base).versions()) == 3


def test_a_record_that_cannot_be_read_is_named(model: Model, base: Path, tmp_path: Path) -> None:
    base.mkdir(parents=True)
    (base / ".mlpipe-push.json").write_text("{}")
    with pytest.raises(InvalidInputError, match=r"\.mlpipe-push\.json, the record of the last push.*; remove it"):
        push(model, base, tmp_path)


def test_a_pusher_killed_before_the_rename_leaves_no_version(model: Model, base: Path, tmp_path: Path) -> None:
    killed_at("pusher.before_rename", Path(model.uri, "Format-Serving"), base, tmp_path / "barriers")
    assert ServingFolder(base).versions() == []
    assert len(list(base.glob(".mlpipe.tmp-*"))) == 1
    produced = push(model, base, tmp_path)  # the lock went with the killed
    assert ServingFolder(base).versions() == [int(produced.properties["version"])]
    assert not list(base.glob(".mlpipe.tmp-*"))


def test_a_pusher_killed_after_the_rename_leaves_a_whole_version(model: Model, base: Path, tmp_path: Path) -> None:
    saved_model = Path(model.uri, "Format-Serving")
    killed_at("pusher.after_rename", saved_model, base, tmp_path / "barriers")
    (version,) = ServingFolder(base).versions()
    assert tree_digest(base / str(version)) == tree_digest(saved_model)
    assert int(push(model, base, tmp_path).properties["version"]) > version


def test_only_the_highest_version_is_current(tmp_path: Path) -> None:
    folder = ServingFolder(tmp_path)
    assert not folder.is_current("3")
    for name in ("3", "20", "notes", "١٢"):
        (tmp_path / name).mkdir()
    assert folder.versions() == [3, 20]
    assert folder.is_current("20")
    assert not folder.is_current("3")


def test_a_model_without_saved_model_is_an_error(base: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match=r"Format-Serving has no saved_model\.pb"):
        push(Model(uri=str(tmp_path / "empty")), base, tmp_path)


@pytest.mark.parametrize("base_directory", ["s3://bucket/models", "models", ""])
def test_a_destination_that_is_no_absolute_path_is_an_error(base_directory: str) -> None:
    with pytest.raises(InvalidInputError, match="must be an absolute path"):
        ServingFolder.of(base_directory)


def test_a_destination_that_cannot_be_written_is_an_error(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInputError, match=r"cannot push to .*file/models"):
        push(model, tmp_path / "file" / "models", tmp_path)


def test_a_folder_in_the_place_of_the_lock_is_an_error(model: Model, base: Path, tmp_path: Path) -> None:
    (base / ".mlpipe-push.lock").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match=r"cannot push to .*: \[Errno 21\] .*Remove /.*\.mlpipe-push\.lock$"):
        push(model, base, tmp_path)


def test_a_file_that_cannot_be_read_now_is_pushed_later(model: Model, base: Path, tmp_path: Path) -> None:
    few_files = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))\n"
    first, _, last = _PUSH.strip().rpartition("\n")
    command = [sys.executable, "-c", f"{first}\n{few_files}{last}", f"{model.uri}/Format-Serving", str(base)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "TransientError: cannot push to" in failed.stderr
    assert ServingFolder(base).versions() == []
    push(model, base, tmp_path)


def test_no_version_is_above_the_highest(model: Model, base: Path, tmp_path: Path) -> None:
    (base / str(2**63 - 2)).mkdir(parents=True)
    assert push(model, base, tmp_path).properties["version"] == str(2**63 - 1)
    with pytest.raises(InvalidInputError, match="no version can be higher: rename or remove it"):
        push(model, base, tmp_path)
    assert ServingFolder(base).versions() == [2**63 - 2, 2**63 - 1]
    assert not list(base.glob(".mlpipe.tmp-*"))


def test_a_cached_push_counts_only_while_it_is_served(model: Model, base: Path, tmp_path: Path) -> None:
    def problem(produced: Produced) -> str | None:
        earlier = PushedModel(uri="/p", properties=produced.properties, custom_properties=produced.custom_properties)
        return operator.cached_outputs_problem({"pushed_model": [earlier]})

    producer = ImporterOperator(task_id="model", source_uri="/model", artifact_type=Model)
    operator = PusherOperator(
        model=producer.outputs["result"], push_destination={"filesystem": {"base_directory": str(base)}}
    )
    first = push(model, base, tmp_path)
    assert problem(first) is None
    assert problem(push(model, tmp_path / "other", tmp_path, given=blessing(0, model))) is None
    assert problem(push(model, base, tmp_path, execution_id=0)) == "a newer execution had pushed before it"
    second = push(model, base, tmp_path)
    assert "another version than" in str(problem(first))
    assert problem(second) is None
    (Path(second.properties["destination"]) / "variables" / "variables.index").unlink()
    assert "has been changed" in str(problem(second))
    shutil.rmtree(base)
    assert "is gone from" in str(problem(second))


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ({"filesystem": {}}, "needs filesystem.base_directory"),
        ({"filesystem": {"base_directory": "/m", "versioning": "PATH"}}, "PATH cannot be published atomically"),
        ({"filesytem": {"base_directory": "/m"}}, "push_destination has no 'filesytem'; it has filesystem"),
    ],
)
def test_a_wrong_destination_is_an_error_when_the_dag_is_parsed(destination: dict[str, Any], message: str) -> None:
    producer = ImporterOperator(task_id="model", source_uri="/model", artifact_type=Model)
    with pytest.raises(PipelineError, match=message):
        PusherOperator(model=producer.outputs["result"], push_destination=destination)


def of_span(model: Model, span: int) -> Model:
    return replace(model, properties={"span": span})


def pushed(produced: Produced, span: int) -> PushedModel:
    """What the store has of a push."""
    return PushedModel(
        uri="/p",
        properties={**produced.properties, "span": span},
        custom_properties=dict(produced.custom_properties),
    )


def test_an_old_spans_model_does_not_replace_a_newer_ones(model: Model, base: Path, tmp_path: Path) -> None:
    first = push(of_span(model, 5), base, tmp_path, execution_id=1)
    newer = push(of_span(model, 7), base, tmp_path, execution_id=2)
    old = push(of_span(model, 6), base, tmp_path, execution_id=3)
    assert (first.properties["pushed"], newer.properties["pushed"], old.properties["pushed"]) == (1, 1, 0)
    assert "the model of span 7 is served" in old.properties["reason"]
    assert ServingFolder(base).is_current(newer.properties["version"])
    producer = ImporterOperator(task_id="model", source_uri="/model", artifact_type=Model)
    operator = PusherOperator(
        model=producer.outputs["result"], push_destination={"filesystem": {"base_directory": str(base)}}
    )
    hit = operator.cached_outputs_problem
    assert hit({"pushed_model": [pushed(first, 5)]}) is None  # it stays a hit: nothing brings it back
    assert hit({"pushed_model": [pushed(old, 6)]}) is None
    assert hit({"pushed_model": [pushed(newer, 7)]}) is None
    shutil.rmtree(newer.properties["destination"])
    shutil.rmtree(first.properties["destination"])
    assert "serves no model of a newer span" in str(hit({"pushed_model": [pushed(old, 6)]}))
    assert "is gone from" in str(hit({"pushed_model": [pushed(first, 5)]}))
    assert push(of_span(model, 6), base, tmp_path, execution_id=4).properties["pushed"] == 1
    assert push(of_span(model, 6), base, tmp_path, execution_id=5).properties["pushed"] == 1  # trained again
    assert push(model, base, tmp_path, execution_id=6).properties["pushed"] == 1  # of data without spans
