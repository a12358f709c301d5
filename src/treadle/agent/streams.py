"""Pipe mode without the pipes: which bytes an epoch of a channel consists of (§1.6).

A `Source` gives the parts of an epoch in their order, an object or a piece of text each; a `Stream` turns parts into
bytes: decompressed where the channel is Gzip, each part one RecordIO record where the channel wraps. Objects pass
through in pieces; no more than one of them is in memory, whatever an archive expands to.

With a `ShuffleConfig` every epoch has an order of its own, the same on all hosts: so a sharded channel is dealt anew
among them in each epoch, and every part is still on exactly one.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from treadle.agent.faults import DataError
from treadle.errors import ObjectError
from treadle.seams import HostObjects

__all__ = ["AugmentedManifest", "Listing", "ObjectPart", "Part", "Share", "Source", "Stream", "TextPart"]

_PIECE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS

# RecordIO as MXNet and the training toolkit have it: a magic number, the length, the data, zeros up to a multiple of 4.
_MAGIC = 0xCED7230A
# The upper three bits of the length say whether a record goes on in the next one; here none does.
_LONGEST_RECORD = (1 << 29) - 1

_LONGEST_LINE = 1 << 24

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Share:
    """A host's part of a channel: every `count`-th, from `index` on. [guess]: AWS does not say how it deals."""

    index: int = 0
    count: int = 1

    @property
    def whole(self) -> bool:
        """Whether the host gets everything."""
        return self.count == 1

    def of(self, items: Sequence[_T]) -> Sequence[_T]:
        """Give the host's part."""
        return items[self.index :: self.count]


@dataclass(frozen=True, slots=True)
class ObjectPart:
    """The bytes of an object. `size` as it was listed, -1 where nobody has looked."""

    bucket: str
    key: str
    size: int = -1


@dataclass(frozen=True, slots=True)
class TextPart:
    """Bytes as they are."""

    data: bytes


Part: TypeAlias = ObjectPart | TextPart


class Source(Protocol):
    """What a channel consists of."""

    @property
    def count(self) -> int:
        """How many items there are for all hosts together."""
        ...

    def epoch(self, number: int) -> Iterator[Part]:
        """Give the parts of an epoch, counted from 0. Raises `DataError`, `ObjectError`."""
        ...


def _order(count: int, share: Share, seed: int | None, epoch: int) -> Sequence[int]:
    """Give the numbers of the host's items in the order of the epoch."""
    if seed is None:
        return share.of(range(count))
    shuffled = array("Q", range(count))
    random.Random(f"{seed}/{epoch}").shuffle(shuffled)  # noqa: S311  (it must be repeatable)
    return share.of(shuffled)


class Listing:
    """The objects of a prefix or a manifest."""

    def __init__(self, parts: Sequence[ObjectPart], share: Share, seed: int | None = None) -> None:
        self._parts = parts
        self._share = share
        self._seed = seed

    @property
    def count(self) -> int:
        """How many objects there are."""
        return len(self._parts)

    def epoch(self, number: int) -> Iterator[Part]:
        """Give the objects of an epoch."""
        for each in _order(len(self._parts), self._share, self._seed, number):
            yield self._parts[each]


class AugmentedManifest:
    """The lines of an AugmentedManifestFile: of each line the named attributes, in the order of their names.

    Only where lines begin is kept in memory. Of an attribute that ends in `-ref` the object is meant.
    """

    def __init__(
        self, objects: HostObjects, bucket: str, key: str, names: Sequence[str], share: Share, seed: int | None = None
    ) -> None:
        self._objects = objects
        self._bucket = bucket
        self._key = key
        self._names = names
        self._share = share
        self._seed = seed
        self._starts = array("Q")  # where each line begins, and where it ends
        self._index()

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self._starts) // 2

    def epoch(self, number: int) -> Iterator[Part]:
        """Give the parts of an epoch: for each line as many as there are names."""
        for line in _order(self.count, self._share, self._seed, number):
            values = self._line(line)
            for name in self._names:
                if name not in values:
                    raise DataError(f'Line {line + 1} of the manifest "{self._uri}" has no attribute "{name}".')
                yield self._part(name, values[name])

    @property
    def _uri(self) -> str:
        return f"s3://{self._bucket}/{self._key}"

    def _index(self) -> None:
        begin = position = 0
        blank = True
        for piece in self._objects.read(self._bucket, self._key):
            *ended, rest = piece.split(b"\n")
            for each in ended:
                position += len(each) + 1
                if not blank or each.strip():
                    self._starts.extend((begin, position - 1))
                begin, blank = position, True
            blank = blank and not rest.strip()
            position += len(rest)
        if not blank:
            self._starts.extend((begin, position))

    def _line(self, number: int) -> dict[str, object]:
        begin, end = self._starts[2 * number], self._starts[2 * number + 1]
        if end - begin > _LONGEST_LINE:
            raise DataError(f'Line {number + 1} of the manifest "{self._uri}" is longer than {_LONGEST_LINE} bytes.')
        data = b"".join(self._objects.read(self._bucket, self._key, start=begin, length=end - begin))
        try:
            values = json.loads(data)
        except ValueError as error:
            raise DataError(f'Line {number + 1} of the manifest "{self._uri}" is not JSON: {error}.') from error
        if not isinstance(values, dict):
            raise DataError(f'Line {number + 1} of the manifest "{self._uri}" is not a JSON object.')
        return values

    def _part(self, name: str, value: object) -> Part:
        if not name.endswith("-ref"):
            return TextPart(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
        bucket, slash, key = str(value).removeprefix("s3://").partition("/")
        if not isinstance(value, str) or not value.startswith("s3://") or not bucket or not slash or not key:
            raise DataError(f'The attribute "{name}" of the manifest "{self._uri}" is no s3:// URI: {value!r}.')
        return ObjectPart(bucket, key)


class Stream:
    """The bytes of a channel in Pipe mode."""

    def __init__(self, channel: str, source: Source, objects: HostObjects, *, gzip: bool, records: bool) -> None:
        self.channel = channel
        self._source = source
        self._objects = objects
        self._gzip = gzip
        self._records = records

    def epoch(self, number: int) -> Iterator[bytes]:
        """Give the bytes of an epoch in pieces. Raises `DataError`."""
        try:
            for part in self._source.epoch(number):
                yield from self._record(part) if self._records else self._content(part)
        except ObjectError as error:
            raise DataError(error.message) from error

    def _content(self, part: Part) -> Iterator[bytes]:
        if isinstance(part, TextPart):
            return iter([part.data])
        pieces = self._objects.read(part.bucket, part.key)
        return _unpacked(pieces, f"s3://{part.bucket}/{part.key}") if self._gzip else pieces

    def _record(self, part: Part) -> Iterator[bytes]:
        size = self._size(part)
        if size > _LONGEST_RECORD:
            raise DataError(f"{_name(part)} has {size} bytes; a RecordIO record holds at most {_LONGEST_RECORD}.")
        yield struct.pack("<II", _MAGIC, size)
        sent = 0
        for piece in self._content(part):
            sent += len(piece)
            if sent > size:
                break
            yield piece
        if sent != size:
            raise DataError(f"{_name(part)} has changed while it was read: it had {size} bytes.")
        yield bytes(-size % 4)

    def _size(self, part: Part) -> int:
        if isinstance(part, TextPart):
            return len(part.data)
        if not self._gzip and part.size >= 0:
            return part.size
        # The length comes before the data. To read twice costs time; to keep what was read would cost the memory.
        return sum(len(piece) for piece in self._content(part))


def _name(part: Part) -> str:
    return f"s3://{part.bucket}/{part.key}" if isinstance(part, ObjectPart) else "An attribute of the manifest"


def _unpacked(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Decompress gzip, also of several members; at most `_PIECE` bytes at a time, whatever they come from."""
    unpacker = zlib.decompressobj(_GZIP)
    begun = False
    for piece in pieces:
        data = piece
        while data:
            begun = True
            try:
                found = unpacker.decompress(data, _PIECE)
            except zlib.error as error:
                raise DataError(f"{name} is not gzip: {error}.") from error
            if found:
                yield found
            if unpacker.eof:
                data = unpacker.unused_data.lstrip(b"\0")  # some writers fill up their last block
                unpacker, begun = zlib.decompressobj(_GZIP), False
            else:
                data = unpacker.unconsumed_tail
    while begun and (found := unpacker.decompress(b"", _PIECE)):
        yield found
    if begun and not unpacker.eof:
        raise DataError(f"{name} is cut off: the end of its gzip data is missing.")
