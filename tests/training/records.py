"""Writes RecordIO-protobuf by hand, from the published definitions, so that readers have something to be held to."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

__all__ = ["bytes_field", "dense", "frame", "packed", "record", "sparse", "varint"]

_FORMATS = {2: "<f", 3: "<d"}


def varint(number: int) -> bytes:
    """7 bits a byte, lowest first; the upper bit says that more come."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def bytes_field(field: int, content: bytes) -> bytes:
    """A field that has a length."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def packed(field: int, numbers: Iterable[int]) -> bytes:
    """A field of packed varints; a negative int32 has ten bytes."""
    return bytes_field(field, b"".join(varint(each & 0xFFFFFFFFFFFFFFFF) for each in numbers))


def _value(values: Sequence[float], kind: int, keys: Sequence[int] | None, shape: Sequence[int]) -> bytes:
    if kind in _FORMATS:
        tensor = bytes_field(1, b"".join(struct.pack(_FORMATS[kind], each) for each in values))
    else:
        tensor = packed(1, [int(each) for each in values])
    if keys is not None:
        tensor += packed(2, keys)
    if shape:
        tensor += packed(3, shape)
    return bytes_field(kind, tensor)


def record(
    values: Sequence[float],
    label: float | None = None,
    kind: int = 2,
    keys: Sequence[int] | None = None,
    shape: Sequence[int] = (),
) -> bytes:
    """A `Record` message: `kind` is the field of its tensor, 2 for float32, 3 for float64, 7 for int32."""
    message = bytes_field(1, bytes_field(1, b"values") + bytes_field(2, _value(values, kind, keys, shape)))
    if label is not None:
        message += bytes_field(2, bytes_field(1, b"values") + bytes_field(2, _value([label], 2, None, ())))
    return message


def frame(data: bytes, part: int = 0) -> bytes:
    """A RecordIO record."""
    return struct.pack("<II", 0xCED7230A, part << 29 | len(data)) + data + b"\0" * (-len(data) % 4)


def dense(rows: Iterable[Sequence[float]], labels: Iterable[float | None]) -> bytes:
    """A file of dense vectors."""
    return b"".join(frame(record(row, label)) for row, label in zip(rows, labels, strict=True))


def sparse(rows: Iterable[Sequence[float]], labels: Iterable[float | None]) -> bytes:
    """A file of sparse vectors, from rows that have all their zeros."""
    return b"".join(
        frame(
            record(
                [value for value in row if value],
                label,
                keys=[at for at, value in enumerate(row) if value],
                shape=(len(row),),
            )
        )
        for row, label in zip(rows, labels, strict=True)
    )
