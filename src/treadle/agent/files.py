"""Files below a directory that a foreign program has filled: nothing there is trusted to be what its name says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["open_regular", "read_start", "write_whole"]


def open_regular(path: Path) -> int | None:
    """Open a regular file for reading; None for anything else: a link is not followed, a pipe not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        if path.is_symlink() or not path.is_file():
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def read_start(path: Path, size: int) -> bytes:
    """Give up to `size` bytes from the start of a regular file, b"" when there is none or it cannot be read."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return b""
    if descriptor is None:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(size)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is either whole and on the disk or absent, readable by its owner alone."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
