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
    dealt = HashSplit({"train": 2, "eval": 1}).deal([ONE, TWO, THREE], [ONE, TWO, THREE])
    for record in (ONE, TWO, THREE):
        bucket = int(hashlib.sha256(record).hexdigest(), 16) % 3
        assert record in dealt["train" if bucket < 2 else "eval"]
    assert sum(map(len, dealt.values())) == 3


def test_bounds_are_cumulative_and_in_the_given_order() -> None:
    keys = [str(number).encode() for number in range(1000)]
    dealt = HashSplit({"c": 10, "a": 40, "b": 30}).deal(keys, keys)
    buckets = {key: int(hashlib.sha256(key).hexdigest(), 16) % 80 for key in keys}
    assert dealt["c"] == [key for key in keys if buckets[key] < 10]
    assert dealt["a"] == [key for key in keys if 10 <= buckets[key] < 50]
    assert dealt["b"] == [key for key in keys if buckets[key] >= 50]


def test_the_key_decides_and_not_the_record() -> None:
    records = [str(number).encode() for number in range(100)]
    dealt = HashSplit({"train": 2, "eval": 1}).deal(records, [b"same"] * 100)
    assert sorted(map(len, dealt.values())) == [0, 100]


def test_one_split_takes_all() -> None:
    assert HashSplit({"all": 1}).deal([b"x", b"y"], [b"x", b"y"]) == {"all": [b"x", b"y"]}


@pytest.mark.parametrize("buckets", [0, -1])
def test_a_split_needs_a_bucket(buckets: int) -> None:
    with pytest.raises(InvalidInputError, match="'eval' has hash_buckets"):
        HashSplit({"train": 2, "eval": buckets})
