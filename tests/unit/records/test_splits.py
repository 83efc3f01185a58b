"""TFX's hash rule, with memberships worked out from hashlib's digests; and splits by a feature's value."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SplitConfig
from airflow_provider_mlpipe.records.splits import HashSplit, ValueSplit, splitter

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


def by_value(**splits: list[str] | str | None) -> ValueSplit:
    """A list is `values`, a text is `before`, None takes the rest."""
    deal = SplitConfig(partition_feature_name="f")
    for name, rule in splits.items():
        values, before = (rule, None) if isinstance(rule, list) else (None, rule)
        deal.splits.add(name=name, values=values, before=before)
    found = splitter(deal)
    assert isinstance(found, ValueSplit)
    return found


def test_dates_before_one_and_the_rest() -> None:
    split = by_value(train="2013-10-01", eval="2013-12-01", test=None)
    days = ["2013-09-30", "2013-10-01", "2013-12-01", "2013-02-28", "2013-11-30"]
    assert split.names == ["train", "eval", "test"]
    flat, lists = pa.array(days), pa.array([[day.encode()] for day in days], pa.large_list(pa.large_binary()))
    for column in (flat, flat.dictionary_encode(), lists, lists[1:], flat[1:]):
        assert split.assign(column).tolist() == [0, 1, 2, 0, 1][-len(column) :]


def test_whole_numbers_are_compared_by_size() -> None:
    assert by_value(small="10", large=None).assign(pa.array([9, 10, 100])).tolist() == [0, 1, 1]
    assert by_value(few=["9", "010"], rest=None).assign(pa.array([[9], [10], [11]])).tolist() == [0, 0, 1]


def test_a_value_belongs_to_the_first_split_that_takes_it() -> None:
    split = by_value(test=["b"], train="c", eval=["b", "c"])
    assert split.assign(pa.array(["a", "b", "c"])).tolist() == [1, 0, 2]


def test_no_row() -> None:
    assert by_value(test=["b"]).assign(pa.array([], pa.string())).tolist() == []


def test_a_value_that_only_other_rows_have_does_not_count() -> None:
    column = pa.DictionaryArray.from_arrays([1, 1], ["elsewhere", "a"])
    assert by_value(train=["a"]).assign(column).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (["a", "z"], "no output split takes records whose 'f' is 'z'"),
        ([b"a", b"\xff"], r"whose 'f' is '\\\\xff'"),
        ([5], "output split 'train' has 'a', but 'f' holds whole numbers"),
        ([["a"], ["a", "b"]], "a record has 2 values of the partition feature 'f'"),
        ([["a"], None], "a record has 0 values of the partition feature 'f'"),
        ([["a"], []], "a record has 0 values of the partition feature 'f'"),
        (["a", None], "a record has 0 values of the partition feature 'f'"),
    ],
)
def test_a_record_that_no_split_takes(column: list[object], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        by_value(train=["a"], eval="b").assign(pa.array(column))
