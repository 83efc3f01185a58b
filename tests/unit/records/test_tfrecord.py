"""TFRecord files: bytes that are derived by hand, what a reader says of broken ones."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import google_crc32c
import pyarrow as pa
import pytest

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records import tfrecord
from airflow_provider_mlpipe.records.tfrecord import (
    TFRecordWriter,
    examples_digest,
    frame,
    read_records,
    record_sizes,
)

RECORDS = [b"", b"a", b"\x00" * 300, bytes(range(256)) * 1000]


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) % 2**32
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def framed(records: list[bytes]) -> bytes:
    return b"".join(frame(pa.array(records, pa.binary())).to_pylist())


def written(path: Path, *blocks: list[bytes]) -> TFRecordWriter:
    with TFRecordWriter(path) as writer:
        for block in blocks:
            writer.write(block)
    return writer


def test_crc32c_is_castagnoli() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283  # the check value of CRC-32C in RFC 3720


def test_frame_by_hand() -> None:
    length = b"\x03" + b"\x00" * 7
    assert framed([b"abc"]) == length + masked(length) + b"abc" + masked(b"abc")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    writer = written(path, RECORDS[:2], [], RECORDS[2:])
    assert writer.count == 4
    assert list(read_records(path)) == RECORDS
    assert gzip.decompress(path.read_bytes()) == framed(RECORDS)


def test_digest_is_of_the_uncompressed_records_and_not_of_the_blocks(tmp_path: Path) -> None:
    one, two = written(tmp_path / "1.gz", RECORDS), written(tmp_path / "2.gz", RECORDS[:1], RECORDS[1:])
    assert one.digest == two.digest == hashlib.sha256(framed(RECORDS)).hexdigest()
    assert written(tmp_path / "3.gz", [b"ab", b"c"]).digest != written(tmp_path / "4.gz", [b"a", b"bc"]).digest


def test_equal_records_give_equal_files(tmp_path: Path) -> None:
    written(tmp_path / "1.gz", RECORDS)
    written(tmp_path / "2.gz", RECORDS)
    assert (tmp_path / "1.gz").read_bytes() == (tmp_path / "2.gz").read_bytes()
    assert (tmp_path / "1.gz").read_bytes()[4:8] == bytes(4)  # gzip's time


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    assert written(tmp_path / "x.gz").count == 0
    assert list(read_records(tmp_path / "x.gz")) == []


def test_examples_digest_names_its_splits() -> None:
    expected = hashlib.sha256(b"eval e\ntrain t\n").hexdigest()
    assert examples_digest({"train": "t", "eval": "e"}) == expected
    assert examples_digest({"train": "e", "eval": "t"}) != expected


def test_a_full_disk_is_an_error_of_the_writer() -> None:
    noise = [hashlib.sha512(str(number).encode()).digest() for number in range(10_000)]
    with pytest.raises(OSError, match="No space left"):
        written(Path("/dev/full"), noise, noise)


def test_sizes_of_framed_records() -> None:
    frames = frame(pa.array(RECORDS, pa.binary()))
    assert record_sizes(frames) == [len(record) for record in RECORDS]
    assert record_sizes(frames[1:3]) == [1, 300]


def test_slices_of_frames_are_written_whole(tmp_path: Path) -> None:
    frames = frame(pa.array(RECORDS, pa.binary()))
    with TFRecordWriter(tmp_path / "a.gz") as writer:
        for place in (slice(0, 1), slice(1, 1), slice(1, 4)):
            writer.append(frames[place])
    assert writer.count == 4
    assert list(read_records(tmp_path / "a.gz")) == RECORDS


def test_records_across_blocks(tmp_path: Path) -> None:
    records = [bytes([number % 256]) * (number * 37 % 70_000) for number in range(700)]
    written(tmp_path / "a.gz", records)
    assert sum(map(len, records)) > 2 * (4 << 20)
    assert list(read_records(tmp_path / "a.gz")) == records


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-1], "record 3 is corrupt .*ends within its data"),
        (lambda data: data[: len(framed([b"one", b"two"])) + 5], "record 3 is corrupt .*ends within its header"),
        (lambda data: b"\x07" + data[1:], "record 1 is corrupt .*checksum of its length"),
        (lambda data: data.replace(b"two", b"twa"), "record 2 is corrupt .*checksum of its data"),
    ],
)
def test_corruption_names_file_and_record(tmp_path: Path, damage, says: str) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(gzip.compress(damage(framed([b"one", b"two", b"three"]))))
    with pytest.raises(InvalidInputError, match=f"broken.gz: {says}"):
        list(read_records(path))


@pytest.mark.parametrize("length", [2**40, 2**31, 2**64 - 1, 5_000_000])
def test_a_length_that_the_file_cannot_hold_is_refused_at_once(tmp_path: Path, length: int) -> None:
    """It was waited for, in a memory that grew to thousands of times the file's size."""
    path = tmp_path / "hostile.gz"
    header = struct.pack("<Q", length)
    path.write_bytes(gzip.compress(framed([b"one"]) + header + masked(header) + bytes(100)))
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match=f"hostile.gz: record 2 is corrupt .it claims to have {length:,} bytes"):
        list(read_records(path))
    assert tracemalloc.get_traced_memory()[1] < 3 * tfrecord._BLOCK
    tracemalloc.stop()


def test_a_record_of_many_blocks_is_joined_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined anew with each block, it took time by the square of its size."""
    sizes: list[int] = []

    def looked_at(block: bytes, longest: int) -> Any:
        sizes.append(len(block))
        return whole_records(block, longest)

    whole_records = tfrecord._whole_records
    monkeypatch.setattr(tfrecord, "_whole_records", looked_at)
    long = os.urandom(6 * tfrecord._BLOCK)
    written(tmp_path / "long.gz", [b"one", long, b"two", long])
    assert list(read_records(tmp_path / "long.gz")) == [b"one", long, b"two", long]
    assert sum(sizes) < 3 * 2 * len(long)


@pytest.mark.parametrize(
    "data", [b"not gzip at all", gzip.compress(framed([b"x" * 1000]))[:-12]], ids=["no gzip", "cut off"]
)
def test_a_broken_container_names_file_and_record(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"broken.gz: record \d is corrupt"):
        list(read_records(path))
