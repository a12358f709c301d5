"""What a program writes is on the disk before anybody has looked at it, so that it outlives its agent.

The kernel itself moves it from the program's pipe to a file (splice(2)): whenever the agent is killed, a byte is either
still in the pipe, whose other holder saves it (`sandbox.enter`), or in the file. Why not a file as the program's
standard output: `echo … > /dev/stderr` would empty it, and nothing would hold up a program that writes faster than its
lines can be taken. It costs some 1.5 us a read more than to read from the pipe.

Every byte has a number, counted from 0. A file has that of its first one in its name, `output-<number>`; only the last
two are kept, because all but a line that has not ended is in the spool before more is read. `REST` is what was left in
the pipe.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["REST", "Left", "Tape", "left"]

REST = "output-rest"

_READ = 64 * 1024
_FILE = 1 << 20
_KEPT = 2
# What a file system or a kernel says that cannot do it at all.
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}


class Tape:
    """Takes the output of one program. Files go to `directory`; `size` is that of one of them."""

    def __init__(self, directory: Path, *, size: int = _FILE) -> None:
        self._directory = directory
        self._size = size
        self._files: list[Path] = []
        self._end = -1  # descriptor of the last file
        self._begins = 0  # the number of its first byte
        self._position = 0
        self._splices = True

    def read(self, pipe: int) -> bytes:
        """Take what there is in a pipe; b"" at its end. Raises `BlockingIOError` when there is nothing now."""
        data = self._spliced(pipe) if self._splices else None
        if data is None:
            # It is not kept: the disk is full, or the file system cannot. Better than to hold up the program.
            data = os.read(pipe, _READ)
            self._leave_file()
        self._position += len(data)
        return data

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        if self._end >= 0:
            os.close(self._end)
            self._end = -1

    def _spliced(self, pipe: int) -> bytes | None:
        try:
            if self._end < 0 or self._position - self._begins >= self._size:
                self._begin_file()
            at = self._position - self._begins
            count = os.splice(pipe, self._end, _READ, offset_dst=at, flags=os.SPLICE_F_NONBLOCK)
            return os.pread(self._end, count, at)
        except BlockingIOError:
            raise
        except (OSError, AttributeError) as error:  # a Python may have been built without it
            self._splices = isinstance(error, OSError) and error.errno not in _CANNOT
            return None

    def _begin_file(self) -> None:
        self.close()
        path = self._directory / _name(self._position)
        self._end = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._begins = self._position
        self._files.append(path)
        while len(self._files) > _KEPT:
            self._files.pop(0).unlink(missing_ok=True)

    def _leave_file(self) -> None:
        """Let what follows be in another file, because something is missing before it; an empty one need not stay."""
        if self._end < 0:
            return
        self.close()
        if self._position == self._begins:
            self._files.pop().unlink(missing_ok=True)


class Left(NamedTuple):
    """Output that is on the disk: the number of its first byte, when the last one was written (milliseconds), it."""

    first: int
    written: int
    pieces: Iterator[bytes]


def left(directory: Path, position: int) -> Left:
    """Find what an agent that is gone has left of its program's output from a byte on.

    Where something is missing between two files only what follows is given. To ask again gives the same.
    """
    files = _files(directory)
    end = max((first + path.stat().st_size for first, path in files), default=0)
    with contextlib.suppress(FileNotFoundError):
        (directory / REST).rename(directory / _name(max(end, position)))
    files = _files(directory)
    whole: list[tuple[int, Path]] = []
    for first, path in files:
        if whole and first != whole[-1][0] + whole[-1][1].stat().st_size:
            whole.clear()
        whole.append((first, path))
    begins = whole[0][0] if whole else position
    written = max((path.stat().st_mtime_ns // 1_000_000 for _, path in whole), default=0)
    skipped = max(0, position - begins)
    return Left(begins + skipped, written, _pieces([path for _, path in whole], skipped))


def _name(position: int) -> str:
    return f"output-{position:015d}"


def _files(directory: Path) -> list[tuple[int, Path]]:
    return sorted((int(each.name.partition("-")[2]), each) for each in directory.glob("output-[0-9]*"))


def _pieces(files: list[Path], skipped: int) -> Iterator[bytes]:
    for each in files:
        size = each.stat().st_size
        with each.open("rb") as file:
            file.seek(min(skipped, size))
            skipped -= min(skipped, size)
            while piece := file.read(_READ):
                yield piece
