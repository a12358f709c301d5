"""The files behind objects: an open one that is read, a temporary one that is written, and what is known of either."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from treadle.errors import ObjectError
from treadle.objects import copying, tree
from treadle.objects.faults import translated
from treadle.objects.properties import Record, Sidecars, attached, remember, state_of
from treadle.seams import ObjectInfo

__all__ = ["CREATE", "Pieces", "Reader", "Temporary", "info_of", "md5_of", "new_temporary", "remove_dead", "with_etag"]

CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# Half a second's work for MD5; larger files that somebody put there are told apart by size and time.
_HASHED: Final = 256 << 20


class Reader:
    """An object's open file."""

    def __init__(self, what: str, key: bytes, file: int, beside: Sidecars | None) -> None:
        self._what = what
        self.file = file
        self._info = info_of(key, file, beside)

    @property
    def info(self) -> ObjectInfo:
        """What is known of it, with its etag."""
        if not self._info.etag:
            with translated(self._what):
                self._info = with_etag(self._info, self.file)
        return self._info

    def read(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give its bytes, or a part of them, in pieces."""
        return Pieces(self._what, os.dup(self.file), start, length)

    def close(self) -> None:
        """Close it."""
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pieces:
    """The bytes of an open file, which is closed at the end, or with this object.

    A generator would do, but for the file that a generator which nobody starts never closes.
    """

    def __init__(self, what: str, file: int, start: int, length: int | None) -> None:
        self._what = what
        self._file = file
        self._at = start
        self._end = None if length is None else start + length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._file < 0:
            raise StopIteration
        wanted = copying.PIECE if self._end is None else min(copying.PIECE, self._end - self._at)
        try:
            piece = os.pread(self._file, wanted, self._at) if wanted > 0 else b""
        except OSError as error:
            raise ObjectError(f"{self._what} cannot be read: {error.strerror}.") from error
        if not piece:
            self.close()
            raise StopIteration
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        self.close()


@dataclass(slots=True)
class Temporary:
    """A file in the making, locked by who writes it."""

    path: Path
    file: int
    settled: bool = False
    """Whether it has been renamed into its place."""

    def close(self) -> None:
        """Close it, and remove it unless it has found its place."""
        file, self.file = self.file, -1
        if file >= 0:
            if not self.settled:
                self.path.unlink(missing_ok=True)
            os.close(file)


def new_temporary(workshop: Path) -> Temporary:
    """Make a temporary file in a directory, which is made where it is missing."""
    while True:
        path = workshop / secrets.token_hex(16)
        try:
            file = os.open(path, CREATE, 0o666)
        except FileNotFoundError:
            workshop.mkdir(parents=True, exist_ok=True)
            continue
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return Temporary(path, file)
        os.close(file)  # a sweeper came between the two calls and took it for dead


def remove_dead(path: Path) -> bool:
    """Remove a temporary file whose writer is dead; tell whether it was."""
    file = os.open(path, tree.READ)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def info_of(key: bytes, file: int, beside: Sidecars | None) -> ObjectInfo:
    """Give what is known of an object's open file; its etag is "" where that would have to be computed."""
    found = os.fstat(file)
    record = attached(file, found) or (beside and beside.find(key, found)) or Record(of="")
    return ObjectInfo(key.decode(), found.st_size, found.st_mtime, record.etag, record.properties)


def with_etag(info: ObjectInfo, file: int) -> ObjectInfo:
    """Give it with an etag that is computed now, and remembered."""
    found = os.fstat(file)
    if found.st_size > _HASHED:
        digest = hashlib.md5(state_of(found).encode(), usedforsecurity=False)
        return ObjectInfo(info.key, found.st_size, found.st_mtime, f"{digest.hexdigest()}-1")
    etag = md5_of(file).hexdigest()
    # A file that changed a moment ago may change again within the resolution of its time stamp.
    if time.time() - found.st_mtime > 1:
        remember(file, Record(of=state_of(found), etag=etag))
    return ObjectInfo(info.key, found.st_size, found.st_mtime, etag)


def md5_of(file: int) -> Any:
    """Give the MD5 of an open file."""
    digest = hashlib.md5(usedforsecurity=False)
    at = 0
    while piece := os.pread(file, copying.PIECE, at):
        digest.update(piece)
        at += len(piece)
    return digest
