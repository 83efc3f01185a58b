"""A folder in TensorFlow Serving's layout, `<base>/<version>/saved_model.pb`, and how a version is added to it.

The server polls the folder and loads every subfolder with a numeric name, so a version must appear complete: it is
written under a name that the server ignores, and then renamed. A lock file lets one push run at a time. The kernel
releases the lock when its process dies, so any temporary folder that the next holder finds is left from a killed push.

A push may stall while it waits or copies, and newer ones may be made meanwhile: a network file system gives the lock of
a stalled holder to others. So each push leaves a record of itself, and looks for the record of a newer one.
Layout: https://www.tensorflow.org/tfx/serving/serving_basic
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage import locks
from airflow_provider_mlpipe.storage.digests import file_digests, files_digest
from airflow_provider_mlpipe.storage.disk_errors import translated

OLDER_THAN_IN = "older_than_what_is_in"
"""The custom property of a model that was not pushed: the folder that serves the model of a newer span."""

_LOCK = ".mlpipe-push.lock"
_LAST = ".mlpipe-push.json"
_TEMPORARY = ".mlpipe.tmp-"
_HIGHEST = 2**63 - 1  # a version is an int64


class OvertakenError(Exception):
    """A newer execution has pushed already, so this one must not; the message says which."""


class OlderSpanError(Exception):
    """The model of a newer span is served, so an older one must not replace it; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """Which execution pushes, and the id of its metadata store, if known; executions of one store are in order.

    `span` is the newest span that the model was trained on, if it has one.
    """

    store: str | None
    execution_id: int
    span: int | None = None

    def is_before(self, other: Push) -> bool:
        """Whether the other push is a newer one of the same store."""
        return self.store == other.store and self.execution_id < other.execution_id


@dataclass(frozen=True)
class ServingFolder:
    """The folder `base`, which TensorFlow Serving takes as a model's `base_path`."""

    base: Path

    @classmethod
    def of(cls, base_directory: str) -> ServingFolder:
        """Create it from a config's `base_directory`; raises InvalidInputError unless that is an absolute path."""
        if "://" in base_directory or not os.path.isabs(base_directory):
            raise InvalidInputError(
                f"push_destination.filesystem.base_directory: {base_directory!r} must be an absolute path "
                f"of a local or mounted file system"
            )
        return cls(Path(base_directory))

    def versions(self) -> list[int]:
        """List the versions that a server sees, in ascending order."""
        if not self.base.is_dir():
            return []
        numbers = [int(name) for name in os.listdir(self.base) if name.isascii() and name.isdigit()]
        return sorted(number for number in numbers if number <= _HIGHEST)

    def is_current(self, version: str) -> bool:
        """Tell whether a server serves `version`: it is in the folder, and it is the highest."""
        versions = self.versions()
        return bool(versions) and str(versions[-1]) == version

    def publish(self, saved_model: Path, push: Push, *, check: Callable[[Mapping[str, str]], None]) -> tuple[Path, str]:
        """Copy a SavedModel into the folder as the highest version; return the version's folder and its content digest.

        Before the version appears, `check` gets the digests of the copied files, by path, and may raise an error. The
        version is the Unix time in seconds, or the highest version plus one if that is greater. Raises
        OvertakenError when a newer execution has pushed already, OlderSpanError when the model of a newer span is
        served, InvalidInputError when the folder cannot be written or has the highest version already, and
        TransientError when a retry may succeed.
        """
        try:
            self.base.mkdir(parents=True, exist_ok=True)
            with locks.exclusively(self.base / _LOCK):
                return self._publish(saved_model, push, check)
        except OSError as error:
            is_in_the_way = isinstance(error, IsADirectoryError)
            folder = "push_destination.filesystem.base_directory to a folder that this user can write to"
            remedy = f"Remove {error.filename}" if is_in_the_way else f"Set {folder}"
            raise translated(error, f"cannot push to {self.base}", remedy) from error

    def _publish(self, saved_model: Path, push: Push, check: Callable[[Mapping[str, str]], None]) -> tuple[Path, str]:
        self._refuse_if_overtaken(push)
        self._remove_leftovers()
        temporary = self.base / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            shutil.copytree(saved_model, temporary, symlinks=True)
            _refuse_links(temporary, saved_model)
            copied = file_digests(temporary)
            check(copied)
            _sync_tree(temporary)
            version = self.base / str(self._next_version())
            barrier("pusher.before_rename")
            self._refuse_if_overtaken(push)
            self._leave_record(push)
            os.rename(temporary, version)
            barrier("pusher.after_rename")
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(self.base)
        return version, files_digest(copied.items())

    def serves_newer_than(self, span: int | None) -> bool:
        """Tell whether the model of a newer span is served."""
        return self._newer_span(span) is not None

    def _newer_span(self, span: int | None) -> int | None:
        """The span of the model that is served, if it is newer."""
        last = self._last() if self.versions() else None
        if span is None or last is None or last.span is None or last.span <= span:
            return None
        return last.span

    def _last(self) -> Push | None:
        """The record of the last push; raises InvalidInputError if it cannot be read."""
        path = self.base / _LAST
        try:
            return Push(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"{path}, the record of the last push, cannot be read: {error}; remove it"
            ) from error

    def _refuse_if_overtaken(self, push: Push) -> None:
        last = self._last()
        if last is None:
            return
        if push.is_before(last):
            raise OvertakenError(
                f"the newer execution {last.execution_id} has pushed to {self.base} already. If the metadata store was "
                f"restored from a backup, remove {self.base / _LAST}"
            )
        if (newer := self._newer_span(push.span)) is not None:
            raise OlderSpanError(
                f"the model of span {newer} is served from {self.base}, and this one is of span "
                f"{push.span}. To push it all the same, remove {self.base / _LAST}"
            )

    def _leave_record(self, push: Push) -> None:
        """Before the version appears, so that no version is without its record."""
        temporary = self.base / f"{_TEMPORARY}{uuid.uuid4().hex}"
        temporary.write_text(json.dumps(asdict(push)), encoding="utf-8")
        _sync(temporary)
        os.replace(temporary, self.base / _LAST)

    def _next_version(self) -> int:
        highest = max(self.versions(), default=0)
        if highest == _HIGHEST:
            raise InvalidInputError(
                f"{self.base} has the version {_HIGHEST}, and no version can be higher: rename or remove it, or set "
                "push_destination.filesystem.base_directory to another folder"
            )
        return max(int(time.time()), highest + 1)

    def _remove_leftovers(self) -> None:
        for leftover in self.base.glob(f"{_TEMPORARY}*"):
            leftover.unlink() if not leftover.is_dir() else shutil.rmtree(leftover)


def _refuse_links(copy: Path, saved_model: Path) -> None:
    """A link may lead out of the model, to any file of this machine."""
    for folder, subfolders, files in os.walk(copy):
        for path in (Path(folder, name) for name in (*subfolders, *files)):
            if path.is_symlink():
                raise InvalidInputError(
                    f"{saved_model / path.relative_to(copy)} is a link to {os.readlink(path)}, and only files and "
                    "folders are pushed: save the model with a copy of it"
                )


def _sync_tree(root: Path) -> None:
    """Flush a folder to disk, so that a power failure leaves no incomplete version."""
    for folder, _, files in os.walk(root):
        for name in files:
            _sync(Path(folder, name))
        _sync(Path(folder))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
