"""Copies one open file to another as cheaply as the file systems allow: shared blocks, in the kernel, by hand.

Never a hard link: a program that writes to its copy must not write to the original.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from typing import Final

__all__ = ["PIECE", "append", "clone", "copy", "write_all"]

PIECE: Final = 1 << 20
"""Bytes that are in memory at once."""

_FICLONE: Final = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_IN_KERNEL: Final = 1 << 27  # bytes per call, so that a signal is heard within a fraction of a second
_CANNOT: Final = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM, errno.ETXTBSY}


def clone(source: int, target: int) -> bool:
    """Let the empty file `target` share the blocks of `source` (btrfs, XFS, bcachefs …); False where that cannot be."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # the reasons are many (no such ioctl, another file system), the consequence is one: copy
        return False
    return True


def copy(source: int, target: int) -> None:
    """Write all of `source`, from its beginning, to the empty file `target`."""
    if clone(source, target):
        return
    if sys.platform == "linux":
        _copy_in_kernel(source, target)
    # What the kernel did not copy, or all of it: both files stand where it stopped.
    while piece := os.read(source, PIECE):
        write_all(target, piece)


def append(source: int, target: int, start: int, length: int | None) -> None:
    """Write bytes of `source` where `target` stands; nothing is moved in `source`."""
    at, end = start, (os.fstat(source).st_size if length is None else start + length)
    if sys.platform == "linux":
        at = _append_in_kernel(source, target, at, end)
    while at < end and (piece := os.pread(source, min(PIECE, end - at), at)):
        write_all(target, piece)
        at += len(piece)


def _append_in_kernel(source: int, target: int, at: int, end: int) -> int:
    """Give how far the kernel came."""
    try:
        while at < end and (count := os.copy_file_range(source, target, min(_IN_KERNEL, end - at), at)):
            at += count
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    return at


def _copy_in_kernel(source: int, target: int) -> None:
    try:
        while os.copy_file_range(source, target, _IN_KERNEL):
            pass
    except OSError as error:
        if error.errno not in _CANNOT:
            raise


def write_all(target: int, piece: bytes) -> None:
    """Write a piece, however many calls that takes."""
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]
