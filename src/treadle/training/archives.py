"""A tar that lies in an object, read as it comes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["members"]

_PIECE: Final = 1 << 20


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
