"""Archives as streams: a tar is read as it comes out of an object, and packed as it goes into one.

To pack takes longer than everything else that becomes of a model; so several processors do it. A stream is cut into
blocks of one size, each is packed by itself and ends at a whole byte, and one behind the other they are one gzip member
(RFC 1952), as pigz makes it. The same bytes give the same stream, however many processors there are.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

__all__ = ["members", "packed"]

_PIECE: Final = 1 << 20

# Trained weights hardly compress: a higher level costs several times the time for a few per cent.
_LEVEL: Final = 1
# Other jobs want processors, too.
_MOST_THREADS: Final = 4
# Deflated; neither name nor time; the fastest level; no particular system.
_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
# An empty block that says it is the last.
_LAST: Final = b"\x03\x00"


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Give the gzip stream of a stream of bytes. A few blocks of it are in memory, never more."""
    checksum = size = 0
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    yield _HEAD
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[bytes]] = deque()
        for block in _blocks(pieces):
            checksum = zlib.crc32(block, checksum)
            size += len(block)
            ahead.append(pool.submit(_deflated, block))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    yield _LAST + struct.pack("<II", checksum, size & 0xFFFFFFFF)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        while len(gathered) >= _PIECE:
            yield bytes(gathered[:_PIECE])
            del gathered[:_PIECE]
    if gathered:
        yield bytes(gathered)


def _deflated(block: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)


def members(pieces: Iterable[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Give each member of a tar, compressed or not, with the archive, which is read from before the next is asked for.

    What may be extracted, by which of tarfile's filters, is for the caller to say. Raises `tarfile.TarError`,
    `zlib.error`, `EOFError`, and what the pieces raise.
    """
    source = io.BufferedReader(_Pieces(pieces), _PIECE)
    with tarfile.open(fileobj=source, mode="r|*") as archive:
        for member in archive:
            yield archive, member
            archive.members = []  # type: ignore[attr-defined]  # it is for going back, which a stream does not


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file to read from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]  # the stub has Buffer
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
