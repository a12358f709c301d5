"""RecordIO-protobuf is read as it is defined, and nothing that is in a file can do worse than be refused."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.records import bytes_field, dense, frame, packed, record, sparse, varint

from treadle.training.algorithms.program import UserError
from treadle.training.algorithms.records import frames, vector, vectors
from treadle.training.algorithms.tables import read_records

MAGIC = struct.pack("<I", 0xCED7230A)
floats = st.floats(width=32, allow_nan=False)


@given(st.lists(floats), st.none() | floats, st.sampled_from([2, 3]))
def test_a_dense_vector(values: list[float], label: float | None, kind: int) -> None:
    found = vector(record(values, label, kind))
    assert found.values.tolist() == values
    assert (found.keys, found.width, found.label) == (None, None, label)


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_whole_numbers(values: list[int]) -> None:
    assert vector(record(values, kind=7)).values.tolist() == values


@given(st.dictionaries(st.integers(0, 2**40), floats), st.integers(0, 9))
def test_a_sparse_vector(values: dict[int, float], more: int) -> None:
    width = max(values, default=0) + 1 + more
    found = vector(record(list(values.values()), 1.0, keys=list(values), shape=(width,)))
    assert dict(zip(found.keys.tolist(), found.values.tolist(), strict=True)) == values
    assert found.width == width


@given(st.lists(st.binary(max_size=50)))
def test_frames(contents: list[bytes]) -> None:
    assert list(frames(io.BytesIO(b"".join(map(frame, contents))))) == contents


def test_a_record_in_parts() -> None:
    """Where the magic number stands in the data, a record is cut, and the number left out."""
    data = frame(b"abcd", 1) + frame(b"", 2) + frame(b"ef", 3) + frame(b"next")
    assert list(frames(io.BytesIO(data))) == [b"abcd" + MAGIC + MAGIC + b"ef", b"next"]


def test_numbers_that_are_not_packed() -> None:
    """An encoder may write each number as a field of its own, and parts of a list apart."""
    tensor = b"".join(varint(1 << 3 | 5) + struct.pack("<f", each) for each in (1, 2)) + bytes_field(
        1, struct.pack("<f", 3)
    )
    tensor += b"".join(varint(2 << 3) + varint(each) for each in (0, 4)) + packed(2, [300])
    found = vector(bytes_field(1, bytes_field(1, b"values") + bytes_field(2, bytes_field(2, tensor))))
    assert (found.values.tolist(), found.keys.tolist()) == ([1, 2, 3], [0, 4, 300])


def test_what_is_unknown_is_passed_over() -> None:
    """Other features, the metadata and fields of later versions are no part of the vector."""
    other = bytes_field(1, bytes_field(1, b"image") + bytes_field(2, bytes_field(9, b"x")))
    more = bytes_field(3, b"uid") + varint(99 << 3 | 1) + b"8 bytes!" + varint(98 << 3) + varint(2**63)
    assert vector(other + record([1, 2]) + more).values.tolist() == [1, 2]


def test_tables(tmp_path: Path) -> None:
    """Dense and sparse vectors of the same rows become the same table."""
    rows = [[0.0, 1.5, 0.0], [2.5, 0.0, -1.0], [0.0, 0.0, 0.0]]
    for name, data in (("dense", dense(rows, [0, 1, 2])), ("sparse", sparse(rows, [0, 1, 2]))):
        (tmp_path / name).write_bytes(data)
        table = read_records([tmp_path / name])
        assert (table.labels.tolist(), table.columns) == ([0, 1, 2], 3)
        if table.sparse:
            values, indices, ends = table.features
            whole = np.zeros((3, 3))
            whole[np.repeat(range(3), np.diff(ends)), indices] = values
            assert whole.tolist() == rows
        else:
            assert table.features.tolist() == rows


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"12", "the file ends within the header"),
        (b"1,2,3\n4,5", "no RecordIO: 0x2c322c31 stands where 0xced7230a must"),
        (frame(record([1]))[:-4], "the file ends within a RecordIO record of"),
        (frame(b"ab", 2), "the parts of a RecordIO record are out of order"),
        (frame(b"ab", 1), "the file ends between the parts"),
        (frame(b"ab", 1) + frame(b"cd"), "the parts of a RecordIO record are out of order"),
        (frame(b"ab", 7), "the parts of a RecordIO record are out of order"),
        (frame(b""), "it has no feature 'values'"),
        (frame(b"\x0f"), "field 1 has the wire type 7"),
        (frame(b"\x0a\x7f"), "a field says that it has 127 bytes, and there are 0"),
        (frame(b"\xff" * 20), "a number is too long"),
        (frame(bytes_field(1, bytes_field(1, b"values") + bytes_field(2, bytes_field(9, b"x")))), "it holds bytes"),
        (frame(record([1, 2], keys=[0])), "it has 2 values, but 1 keys"),
        (frame(record([1], keys=[5], shape=(5,))), "its key 5 lies beyond its shape, which says 5"),
        (frame(record([1, 2], shape=(3,))), "it has 2 values, but its shape says 3"),
        (frame(record([1], shape=[1] * 9)), "its shape has 9 dimensions"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(tmp_path: Path, data: bytes, why: str) -> None:
    """With the file and the number of the record."""
    (tmp_path / "part").write_bytes(frame(record([1], 1)) + data)
    with pytest.raises(UserError, match=r"part: record [12]: ") as caught:
        list(vectors([tmp_path / "part"]))
    assert why in str(caught.value)


@given(st.data())
def test_hostile_records(data: st.DataObject) -> None:
    """Whatever is changed or cut off in a record, it is read or refused."""
    whole = bytearray(
        record([1.0, 2.0, 3.0], 1.0, data.draw(st.sampled_from([2, 3, 7])), keys=[0, 7, 2**33], shape=(2**34,))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for message in (bytes(whole), bytes(whole[:cut])):
        _read_or_refused(message)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    _read_or_refused(data)
    with contextlib.suppress(ValueError):
        assert sum(map(len, frames(io.BytesIO(data)))) <= len(data)


def _read_or_refused(message: bytes) -> None:
    with contextlib.suppress(ValueError):
        found = vector(message)
        assert found.keys is None or len(found.keys) == len(found.values)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<II", 0xCED7230A, (1 << 29) - 1) + b"x",
        frame(varint(1 << 3 | 2) + varint(2**62) + b"x"),
        frame(record([1.0], keys=[2**63], shape=(2**32, 2**31, 2**20))),
    ],
    ids=["frame", "field", "shape"],
)
def test_what_is_claimed_takes_no_memory(tmp_path: Path, data: bytes) -> None:
    """A length that is only said to be large is not believed."""
    (tmp_path / "part").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            read_records([tmp_path / "part"])
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
