"""Pipe mode's bytes: what an epoch consists of, for each kind of source, wrapping and compression."""

from __future__ import annotations

import gzip
import json
import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.plane import make_spec
from treadle.agent import streams
from treadle.agent.channels import plan
from treadle.agent.faults import DataError
from treadle.objects.filesystem import FilesystemObjects
from treadle.objects.memory import MemoryObjects

BUCKET = "bucket"


@pytest.fixture
def objects() -> MemoryObjects:
    made = MemoryObjects()
    made.create_bucket(BUCKET)
    return made


def put(objects: MemoryObjects, key: str, data: bytes) -> streams.ObjectPart:
    objects.write(BUCKET, key, iter([data]))
    return streams.ObjectPart(BUCKET, key, len(data))


def stream(objects: MemoryObjects, parts: Sequence[streams.ObjectPart], **how: Any) -> streams.Stream:
    share, seed = how.pop("share", streams.Share()), how.pop("seed", None)
    return streams.Stream("c", streams.Listing(parts, share, seed), objects, **{"gzip": False, "records": False} | how)


def records(data: bytes) -> list[bytes]:
    """Read RecordIO as the training toolkit does (§1.6)."""
    found = []
    while data:
        magic, length = struct.unpack_from("<II", data)
        assert magic == 0xCED7230A
        found.append(data[8 : 8 + length])
        end = 8 + length + -length % 4
        assert data[8 + length : end] == bytes(-length % 4)
        data = data[end:]
    return found


def test_objects_follow_each_other(objects: MemoryObjects) -> None:
    """Without a wrapper the bytes are joined, the same in each epoch."""
    made = stream(objects, [put(objects, "a", b"one\n"), put(objects, "b", b"two\n")])
    assert [b"".join(made.epoch(number)) for number in range(2)] == [b"one\ntwo\n"] * 2


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1000])
def test_records(objects: MemoryObjects, size: int) -> None:
    """Each object is one record, filled up with zeros to a multiple of four."""
    made = stream(objects, [put(objects, "a", b"x" * size), put(objects, "b", b"yy")], records=True)
    assert records(b"".join(made.epoch(0))) == [b"x" * size, b"yy"]


def test_gzip(objects: MemoryObjects) -> None:
    """Decompressed, also several members in one object and what fills up its last block; with records, each object is one."""
    one = gzip.compress(b"one" * 1000) + gzip.compress(b"") + gzip.compress(b"more")
    parts = [put(objects, "a.gz", one), put(objects, "b.gz", gzip.compress(b"two") + bytes(512))]
    want = [b"one" * 1000 + b"more", b"two"]
    assert b"".join(stream(objects, parts, gzip=True).epoch(0)) == b"".join(want)
    assert records(b"".join(stream(objects, parts, gzip=True, records=True).epoch(0))) == want


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"plain text", "s3://bucket/a is not gzip", id="no gzip"),
        pytest.param(gzip.compress(b"x" * 100)[:-3], "cut off", id="cut off"),
        pytest.param(gzip.compress(b"x") + b"rest", "is not gzip", id="something behind it"),
        pytest.param(gzip.compress(b"x" * 100)[:15] + b"\0\0\0\0\0\0", "not gzip|cut off", id="damaged"),
    ],
)
def test_gzip_that_is_none(objects: MemoryObjects, data: bytes, said: str) -> None:
    """It is an error that names the object, not the end of the data."""
    with pytest.raises(DataError, match=said):
        list(stream(objects, [put(objects, "a", data)], gzip=True).epoch(0))


def test_nothing_is_held_whole(objects: MemoryObjects) -> None:
    """An archive of 64 MB of zeros passes through in pieces."""
    part = put(objects, "a", gzip.compress(bytes(64 << 20)))
    tracemalloc.start()
    try:
        assert sum(len(piece) for piece in stream(objects, [part], gzip=True).epoch(0)) == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_object_that_changes(objects: MemoryObjects) -> None:
    """Its record has been announced with another length: the epoch cannot be right any more."""
    part = put(objects, "a", b"123")
    for data in (b"12", b"1234"):
        put(objects, "a", data)
        with pytest.raises(DataError, match="has changed"):
            list(stream(objects, [part], records=True).epoch(0))
    objects.delete(BUCKET, "a")
    with pytest.raises(DataError, match="s3://bucket/a"):
        list(stream(objects, [part]).epoch(0))


def test_record_that_is_too_long(objects: MemoryObjects) -> None:
    """The format has 29 bits for the length."""
    with pytest.raises(DataError, match="a RecordIO record holds at most"):
        list(stream(objects, [streams.ObjectPart(BUCKET, "a", 1 << 29)], records=True).epoch(0))


@given(
    count=st.integers(0, 40),
    hosts=st.integers(1, 5),
    seed=st.integers(-(2**63), 2**64) | st.none(),
    epoch=st.integers(0, 3),
)
def test_shares(count: int, hosts: int, seed: int | None, epoch: int) -> None:
    """In each epoch every object is on exactly one host, in an order that only seed and epoch decide."""
    parts = [streams.ObjectPart(BUCKET, str(number)) for number in range(count)]

    def deal() -> list[list[streams.Part]]:
        listings = [streams.Listing(parts, streams.Share(host, hosts), seed) for host in range(hosts)]
        return [list(each.epoch(epoch)) for each in listings]

    dealt = deal()
    assert sorted((each for its in dealt for each in its), key=lambda part: int(part.key)) == parts  # type: ignore[union-attr]
    assert deal() == dealt
    if seed is None:
        assert dealt[0] == parts[::hosts]


def test_shuffled_anew_in_each_epoch() -> None:
    """The order differs between epochs, and so does what a host gets of a sharded channel."""
    parts = [streams.ObjectPart(BUCKET, str(number)) for number in range(50)]
    listing = streams.Listing(parts, streams.Share(0, 2), 7)
    assert set(listing.epoch(0)) != set(listing.epoch(1))
    assert list(streams.Listing(parts, streams.Share(), 7).epoch(0)) != parts


# Augmented manifests


def augmented(objects: MemoryObjects, lines: bytes, names: Sequence[str], **how: Any) -> streams.Stream:
    objects.write(BUCKET, "m", iter([lines[at : at + 7] for at in range(0, len(lines), 7)]))
    source = streams.AugmentedManifest(
        objects, BUCKET, "m", names, how.pop("share", streams.Share()), how.pop("seed", None)
    )
    return streams.Stream("c", source, objects, **{"gzip": False, "records": True} | how)


def test_augmented_manifest(objects: MemoryObjects) -> None:
    """The named attributes in their order, `-ref` as the object's bytes, others as JSON; blank lines count for nothing."""
    put(objects, "1.jpg", b"\xff\xd8one")
    put(objects, "2.jpg", b"\xff\xd8two")
    lines = (
        b'{"source-ref": "s3://bucket/1.jpg", "label": {"class": 1}, "other": 5}\n'
        b"\n  \n"
        b'{"label": "z\xc3\xa9ro", "source-ref": "s3://bucket/2.jpg"}'
    )
    made = augmented(objects, lines, ["source-ref", "label"])
    assert records(b"".join(made.epoch(0))) == [b"\xff\xd8one", b'{"class":1}', b"\xff\xd8two", '"zéro"'.encode()]
    plain = augmented(objects, lines, ["label"], records=False)
    assert b"".join(plain.epoch(0)) == '{"class":1}"zéro"'.encode()


def test_augmented_manifest_shuffled_and_sharded(objects: MemoryObjects) -> None:
    """The unit is the line: each is on one host, in an order of the epoch."""
    lines = b"".join(json.dumps({"n": number}).encode() + b"\n" for number in range(20))

    def epoch(host: int, number: int) -> list[int]:
        made = augmented(objects, lines, ["n"], share=streams.Share(host, 2), seed=3)
        return [int(each) for each in records(b"".join(made.epoch(number)))]

    assert sorted(epoch(0, 0) + epoch(1, 0)) == list(range(20))
    assert epoch(0, 0) != epoch(0, 1)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b'{"a": 1}\n{"b": 2}\n', 'Line 2 of the manifest "s3://bucket/m" has no attribute "a"'),
        (b"[1]", "Line 1 .* not a JSON object"),
        (b"\xff", "Line 1 .* is not JSON"),
        (b'{"a": 1, "a-ref": 5}', '"a-ref" .* is no s3:// URI: 5'),
        (b'{"a": 1, "a-ref": "s3://bucket"}', "is no s3:// URI"),
        (b'{"a": 1, "a-ref": "s3://bucket/none"}', "s3://bucket/none"),
    ],
)
def test_augmented_manifest_that_is_wrong(objects: MemoryObjects, lines: bytes, said: str) -> None:
    """The text names the line."""
    with pytest.raises(DataError, match=said):
        list(augmented(objects, lines, ["a", "a-ref"] if b"-ref" in lines else ["a"]).epoch(0))


# From the request to the streams


def of(directory: Path, source: dict[str, Any], **channel: Any) -> list[streams.Stream]:
    request = {
        "InputDataConfig": [{"ChannelName": "c", "InputMode": "Pipe", "DataSource": {"S3DataSource": source}} | channel]
    }
    spec = make_spec(directory, "", request=request)
    objects = FilesystemObjects(directory / "s3")
    objects.write(BUCKET, "m.json", iter([b'[{"prefix": "s3://bucket/data/"}, "part/0.csv", "1.csv"]']))
    objects.write(BUCKET, "a.jsonl", iter([b'{"x-ref": "s3://bucket/data/1.csv"}\n']))
    objects.write(BUCKET, "odd//..", iter([b"odd"]))
    return plan(spec, objects).streams


@pytest.mark.parametrize(
    ("source", "channel", "want"),
    [
        ({"S3Uri": "s3://bucket/data"}, {}, b"3,4\n1,2\n"),
        ({"S3Uri": "s3://bucket/m.json", "S3DataType": "ManifestFile"}, {}, b"1,2\n3,4\n"),
        ({"S3Uri": "s3://bucket/odd"}, {}, b"odd"),
        (
            {"S3Uri": "s3://bucket/a.jsonl", "S3DataType": "AugmentedManifestFile", "AttributeNames": ["x-ref"]},
            {"RecordWrapperType": "RecordIO"},
            struct.pack("<II", 0xCED7230A, 4) + b"3,4\n",
        ),
    ],
    ids=["prefix", "manifest", "key that could be no file", "augmented manifest"],
)
def test_plan(tmp_path: Path, source: dict[str, Any], channel: dict[str, Any], want: bytes) -> None:
    """Each S3DataType; a manifest's own order counts."""
    (made,) = of(tmp_path, source, **channel)
    assert b"".join(made.epoch(0)) == want


def test_plan_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='No S3 objects found under S3 URL "s3://bucket/none"'):
        of(tmp_path, {"S3Uri": "s3://bucket/none"})
