"""TFX's hash rule, with memberships worked out from hashlib's digests."""

from __future__ import annotations

import hashlib

import pytest

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.splits import HashSplit

# {"a": Int64List [1]}: Example{1: Features{1: entry{1: "a", 2: Feature{3: Int64List{1: packed 01}}}}}
ONE = bytes.fromhex("0a0c 0a0a 0a0161 1205 1a03 0a0101")
TWO = ONE[:-1] + b"\x02"
THREE = ONE[:-1] + b"\x03"


def test_the_hash_of_a_known_record() -> None:
    # printf '\x0a\x0c\x0a\x0a\x0a\x01a\x12\x05\x1a\x03\x0a\x01\x01' | sha256sum
    assert hashlib.sha256(ONE).hexdigest() == "6de4f02ebf4ec9ba4dd752aa836e59dbcf95e16da73814e597f99546be66b64a"
    assert int("6de4f02ebf4ec9ba4dd752aa836e59dbcf95e16da73814e597f99546be66b64a", 16) % 3 == 0


def test_membership_is_the_bucket_of_the_hexadecimal_hash() -> None:
    places = HashSplit({"train": 2, "eval": 1}).assign([ONE, TWO, THREE])
    buckets = [int(hashlib.sha256(record).hexdigest(), 16) % 3 for record in (ONE, TWO, THREE)]
    assert places.tolist() == [0 if bucket < 2 else 1 for bucket in buckets]


def test_bounds_are_cumulative_and_in_the_given_order() -> None:
    keys = [str(number).encode() for number in range(1000)]
    split = HashSplit({"c": 10, "a": 40, "b": 30})
    buckets = [int(hashlib.sha256(key).hexdigest(), 16) % 80 for key in keys]
    assert split.names == ["c", "a", "b"]
    assert split.assign(keys).tolist() == [(bucket >= 10) + (bucket >= 50) for bucket in buckets]


def test_one_split_takes_all() -> None:
    assert HashSplit({"all": 1}).assign([b"x", b"y"]).tolist() == [0, 0]


def test_many_buckets() -> None:
    keys = [str(number).encode() for number in range(1000)]
    most = 2**32 - 2
    buckets = [int(hashlib.sha256(key).hexdigest(), 16) % (most + 1) for key in keys]
    assert HashSplit({"a": most // 2, "b": most // 2 + 1}).assign(keys).tolist() == [
        int(bucket >= most // 2) for bucket in buckets
    ]


def test_no_key() -> None:
    assert HashSplit({"train": 2, "eval": 1}).assign([]).tolist() == []


@pytest.mark.parametrize("buckets", [0, -1])
def test_a_split_needs_a_bucket(buckets: int) -> None:
    with pytest.raises(InvalidInputError, match="'eval' has hash_buckets"):
        HashSplit({"train": 2, "eval": buckets})
