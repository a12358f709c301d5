"""RecordIO-protobuf, the format of AWS's own algorithms: read without a protobuf library.

A file is a sequence of RecordIO records (a magic number, a length, the data, zeros up to a multiple of 4), each of
which holds a `Record` of aialgs.data (docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html):

    Record   features 1: map<string, Value>    label 2: map<string, Value>    uid 3, metadata 4, configuration 5: string
    Value    float32_tensor 2 | float64_tensor 3 | int32_tensor 7 | bytes 9
    *Tensor  values 1 (packed)   keys 2: uint64 (packed)   shape 3: uint64 (packed)

A tensor with keys is sparse: `shape` says how wide, `keys` where its values stand. The vector is the feature `values`,
its label the label `values`. Nothing that is said in a file is believed before it is there: what is cut off, nested
wrongly or larger than its frame is refused with the number of the record, and no more is held than one record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from treadle.training.algorithms.program import UserError

__all__ = ["Vector", "frames", "vector", "vectors"]

_MAGIC: Final = 0xCED7230A
_HEADER: Final = struct.Struct("<II")
# The upper three bits of a length say whether a record is cut into parts: 1 the first, 2 one between, 3 the last. That
# is done where the magic number stands in the data, which it then stands for.
_PART_SHIFT: Final = 29
_LENGTH: Final = (1 << _PART_SHIFT) - 1
_WHOLE, _FIRST, _BETWEEN, _LAST = range(4)
_PIECE: Final = 1 << 20
_BUFFER: Final = 1 << 20

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10
_LONGEST_SHAPE: Final = 8

_DTYPES: Final[dict[int, Any]] = {2: np.dtype("<f4"), 3: np.dtype("<f8"), 7: np.dtype("<i4")}
_FIXED: Final = {2: _FIXED32, 3: _FIXED64}
_NAMES: Final = {9: "bytes"}


@dataclass(frozen=True, slots=True)
class Vector:
    """A record. `keys` is None when it is dense; `width` is what its shape says, None when it says nothing."""

    values: Any
    keys: Any
    width: int | None
    label: float | None


def vectors(paths: list[Path]) -> Iterator[Vector]:
    """Give the records of all files. Raises `UserError` with the file and the number of the record."""
    for path in paths:
        number = 0
        try:
            with path.open("rb", buffering=_BUFFER) as file:
                for number, frame in enumerate(frames(file), 1):  # noqa: B007  (it is what an error is told with)
                    yield vector(frame)
        except ValueError as error:
            raise UserError(f"{path.name}: record {number or 1}: {error}") from error
        except OSError as error:
            raise UserError(f"File '{path.name}' cannot be read: {error.strerror}") from error


# ---------------------------------------------------------------------------------------------------------------------
# RecordIO
# ---------------------------------------------------------------------------------------------------------------------


def frames(file: IO[bytes]) -> Iterator[bytes]:
    """Give the data of each RecordIO record. Raises ValueError."""
    parts: list[bytes] = []
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise ValueError("the file ends within the header of a RecordIO record")
        magic, length = _HEADER.unpack(header)
        if magic != _MAGIC:
            raise ValueError(f"no RecordIO: {magic:#010x} stands where {_MAGIC:#010x} must")
        part, size = length >> _PART_SHIFT, length & _LENGTH
        if part > _LAST or (part in {_WHOLE, _FIRST}) != (not parts):
            raise ValueError("the parts of a RecordIO record are out of order")
        data = _exactly(file, size)
        if len(_exactly(file, -size % 4)) < -size % 4 or len(data) < size:
            raise ValueError(f"the file ends within a RecordIO record of {size} bytes")
        if part == _WHOLE:
            yield data
            continue
        parts.append(data)
        if sum(map(len, parts)) > _LENGTH:
            raise ValueError("a RecordIO record of several parts is too long")
        if part == _LAST:
            yield struct.pack("<I", _MAGIC).join(parts)
            parts = []
    if parts:
        raise ValueError("the file ends between the parts of a RecordIO record")


def _exactly(file: IO[bytes], size: int) -> bytes:
    """Read so many bytes, or what there is. In pieces: to ask for a length at once would be to make room for it."""
    if size <= _PIECE:
        return file.read(size)
    pieces = []
    while size and (piece := file.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


# ---------------------------------------------------------------------------------------------------------------------
# Protobuf
# ---------------------------------------------------------------------------------------------------------------------


def vector(record: bytes) -> Vector:
    """Read a `Record` message. Raises ValueError."""
    features = label = None
    for field, value in _fields(record):
        if field in {1, 2} and isinstance(value, memoryview):
            key, found = _entry(value)
            if key == b"values":
                features, label = (found, label) if field == 1 else (features, found)
    if features is None:
        raise ValueError("it has no feature 'values'")
    values, keys, shape = _tensor(features)
    width = int(np.prod(shape, dtype=np.object_)) if shape else None
    if keys is not None and len(keys) != len(values):
        raise ValueError(f"it has {len(values)} values, but {len(keys)} keys")
    if keys is None and not len(values) and width:
        keys = np.empty(0, np.uint64)  # a sparse vector of zeros alone
    if keys is None and width is not None and width != len(values):
        raise ValueError(f"it has {len(values)} values, but its shape says {width}")
    if keys is not None and width is not None and len(keys) and int(keys.max()) >= width:
        raise ValueError(f"its key {int(keys.max())} lies beyond its shape, which says {width}")
    return Vector(values, keys, width, None if label is None else _label(label))


def _label(message: memoryview) -> float:
    values, _, _ = _tensor(message)
    if len(values) != 1:
        raise ValueError(f"its label has {len(values)} values instead of one")
    return float(values[0])


def _entry(message: memoryview) -> tuple[bytes, memoryview]:
    """Read an entry of a map: its key, and the message that is its value."""
    key, value = b"", memoryview(b"")
    for field, content in _fields(message):
        if isinstance(content, memoryview):
            key, value = (bytes(content), value) if field == 1 else (key, content) if field == 2 else (key, value)
    return key, value


def _tensor(message: memoryview) -> tuple[Any, Any, list[int]]:
    """Read a `Value`: its values, its keys or None, its shape."""
    kind, content = 0, memoryview(b"")
    for field, value in _fields(message):
        if isinstance(value, memoryview):
            kind, content = field, value  # of a oneof the last one counts
    if kind not in _DTYPES:
        raise ValueError(f"it holds {_NAMES.get(kind, 'no tensor')} instead of a tensor of numbers")
    packed: dict[int, list[Any]] = {1: [], 2: [], 3: []}
    for field, value in _fields(content):
        if field in packed:
            packed[field].append(_numbers(value, kind if field == 1 else 0))
    shape = [int(each) for part in packed[3] for each in part]
    if len(shape) > _LONGEST_SHAPE:
        raise ValueError(f"its shape has {len(shape)} dimensions")
    return _joined(packed[1], _DTYPES[kind]), _joined(packed[2], np.dtype(np.uint64)) if packed[2] else None, shape


def _joined(parts: list[Any], dtype: Any) -> Any:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _numbers(value: Any, kind: int) -> Any:
    """Read packed numbers, or one that is not packed: floats of `kind` 2 and 3, int32 of 7, uint64 of 0."""
    if kind in _FIXED:
        dtype = _DTYPES[kind]
        if isinstance(value, bytes):
            value = memoryview(value)
        if not isinstance(value, memoryview) or len(value) % dtype.itemsize:
            raise ValueError("its values are not of their type's size")
        return np.frombuffer(value, dtype)
    found = np.array([value], np.uint64) if isinstance(value, int) else _varints(value)
    return found.astype(np.uint32).view(np.int32) if kind else found


def _varints(packed: memoryview) -> Any:
    """Read a sequence of varints, all at once: 7 bits a byte, lowest first, the upper bit set in all but the last."""
    data = np.frombuffer(packed, np.uint8)
    if not len(data):
        return np.empty(0, np.uint64)
    ends = np.flatnonzero(data < 0x80)
    if not len(ends) or ends[-1] != len(data) - 1:
        raise ValueError("a number is cut off")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if int(lengths.max()) > _LONGEST_VARINT:
        raise ValueError("a number is too long")
    places = np.arange(len(data), dtype=np.int64) - np.repeat(starts, lengths)
    bits = (data & np.uint8(0x7F)).astype(np.uint64) << (np.uint64(7) * places.astype(np.uint64))
    return np.add.reduceat(bits, starts)


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, Any]]:
    """Give the fields of a message: an int of a varint, bytes of a fixed number, a memoryview of what has a length."""
    view = memoryview(message)
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at, end)
        field, wire = tag >> 3, tag & 7
        if not field or wire not in _READERS:
            raise ValueError(f"no protobuf: field {field} has the wire type {wire}")
        value, at = _READERS[wire](view, at, end)
        yield field, value


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _LONGEST_VARINT, 7):
        if at >= end:
            raise ValueError("a field is cut off")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number is too long")


def _lengthy(view: memoryview, at: int, end: int) -> tuple[memoryview, int]:
    size, at = _varint(view, at, end)
    if size > end - at:
        raise ValueError(f"a field says that it has {size} bytes, and there are {end - at}")
    return view[at : at + size], at + size


def _fixed(size: int) -> Callable[[memoryview, int, int], tuple[bytes, int]]:
    def read(view: memoryview, at: int, end: int) -> tuple[bytes, int]:
        if size > end - at:
            raise ValueError("a field is cut off")
        return bytes(view[at : at + size]), at + size

    return read


_READERS: Final[dict[int, Callable[[memoryview, int, int], tuple[Any, int]]]] = {
    _VARINT: _varint,
    _FIXED64: _fixed(8),
    _BYTES: _lengthy,
    _FIXED32: _fixed(4),
}
