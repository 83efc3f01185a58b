"""What passes is retried, and what a person must change is not."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_mlpipe.caching.fingerprint import content_digests
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError, TransientError
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ComponentSpec
from airflow_provider_mlpipe.records.avro import AvroFile
from airflow_provider_mlpipe.records.tfrecord import read_blocks
from airflow_provider_mlpipe.storage.digests import tree_digest
from airflow_provider_mlpipe.storage.disk_errors import translated

PASSES = ["EROFS", "EIO", "ESTALE", "ENOTCONN", "ENOSPC", "EDQUOT", "ETIMEDOUT", "EHOSTDOWN", "EBUSY", "EMFILE"]
STAYS = ["ENOENT", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "EEXIST", "ELOOP", "ENAMETOOLONG", "EINVAL"]


CONTENT = ComponentSpec(parameters={"data": ComponentSpec.Parameter(kind=ComponentSpec.CONTENT)})


def of(error: OSError) -> MlpipeError:
    return translated(error, "the disk cannot be read", "Mount it")


@pytest.mark.parametrize(
    ("name", "kind"), [(n, TransientError) for n in PASSES] + [(n, InvalidInputError) for n in STAYS]
)
def test_the_number_decides(name: str, kind: type[MlpipeError]) -> None:
    number = getattr(errno, name)
    ours = of(OSError(number, os.strerror(number), "/disk"))
    assert type(ours) is kind
    assert str(ours).startswith(f"the disk cannot be read: [Errno {number}] ")
    assert str(ours).endswith("Mount it") == (kind is InvalidInputError)


READERS: list[Callable[[Path], object]] = [
    lambda path: content_digests(CONTENT, {"data": str(path)}),
    lambda path: list(read_blocks(path)),
    lambda path: list(AvroFile(path=path).chunks()),
    lambda path: AvroFile(path=path).describe(),
]


@pytest.mark.parametrize("read", READERS)
def test_a_disk_that_fails_is_told_from_a_file_that_is_missing(tmp_path: Path, read: Callable[[Path], object]) -> None:
    (tmp_path / "broken").symlink_to("/proc/self/mem")  # reading its first byte is an input/output error
    with pytest.raises(TransientError, match=r"broken cannot be read: \[Errno 5\]"):
        read(tmp_path / "broken")


def test_a_copy_that_failed_in_parts_may_succeed_again(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "nowhere").symlink_to(tmp_path / "missing")
    with pytest.raises(shutil.Error) as raised:
        shutil.copytree(tmp_path / "from", tmp_path / "to")
    assert type(of(raised.value)) is TransientError


def test_a_link_to_a_folder_above_it_stays(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(OSError, match="links to a folder above it") as raised:
        tree_digest(tmp_path)
    assert type(of(raised.value)) is InvalidInputError
