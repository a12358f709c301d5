"""What is kept beside the bytes of a file: its etag and what S3 clients said about it.

A record belongs to one state of one file: it names the size and the time of the last change that it was made for, and
holds for no other. So a file that a person edits, or puts there, has no record, and what is true of any file is true of
it: that is the whole rule.

The record is an extended attribute of the file. It is there before the file gets its name, moves with it, and goes with
it, so no crash can part the two. Where attributes cannot be had (the file system has none, or the record is larger than
it takes) the record stands in a file of its own, below `.treadle`, where no key leads:

    .treadle/properties/<bucket>/<two digits>/<SHA-256 of the key>

Such a file holds up to two records: that of the object that is there and that of the one that is about to take its
place. Which one is right is again a matter of size and time, so a crash between the two writes does no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from treadle.seams import ObjectProperties

__all__ = ["Record", "Sidecars", "attached", "made_at", "mark", "remember", "state_of"]

_ATTRIBUTE: Final = "user.treadle.object"
_MADE_AT: Final = "user.treadle.made"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a file in the state `of` (see `state_of`)."""

    of: str
    etag: str = ""
    properties: ObjectProperties = ObjectProperties()


_records: Final = msgspec.json.Decoder(Record)
_lists: Final = msgspec.json.Decoder(list[Record])


def state_of(found: os.stat_result) -> str:
    """Give what a file is recognised by: size, and time of the last change in nanoseconds."""
    return f"{found.st_size} {found.st_mtime_ns}"


def attached(file: int, found: os.stat_result) -> Record | None:
    """Give the record that an open file carries, if it is about the state that it is in."""
    if sys.platform != "linux":
        return None
    try:
        record = _records.decode(os.getxattr(file, _ATTRIBUTE))
    except (OSError, msgspec.MsgspecError):  # none, no attributes here, or not ours
        return None
    return record if record.of == state_of(found) else None


def remember(file: int, record: Record) -> bool:
    """Attach a record to an open file; False where that cannot be, and then it has none."""
    if sys.platform != "linux":
        return False
    try:
        os.setxattr(file, _ATTRIBUTE, msgspec.json.encode(record))
    except OSError:
        return False
    return True


def made_at(directory: int) -> float:
    """Tell when a bucket was made, in Unix seconds: its mark, or for one made by hand the last change of its names."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError):
            return float(os.getxattr(directory, _MADE_AT))
    return os.fstat(directory).st_mtime


def mark(directory: int, moment: float) -> None:
    """Mark a bucket with the time at which it was made, where the file system can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setxattr(directory, _MADE_AT, str(moment).encode())


class Sidecars:
    """The records of a bucket that stand in files of their own. Whoever changes one holds the lock of the bucket."""

    def __init__(self, root: Path, bucket: str) -> None:
        self._directory = root / f".treadle/properties/{bucket}"

    def there(self) -> bool:
        """Tell whether there can be any."""
        return self._directory.is_dir()

    def find(self, key: bytes, found: os.stat_result) -> Record | None:
        """Give the record of a file in that state."""
        state = state_of(found)
        return next((each for each in self._all(key) if each.of == state), None)

    def add(self, key: bytes, record: Record, present: os.stat_result | None) -> None:
        """Keep a record for the object that the key is about to have, beside that of the `present` one."""
        kept = [] if present is None else [each for each in self._all(key) if each.of == state_of(present)]
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(msgspec.json.encode([*kept, record]))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def forget(self, key: bytes) -> None:
        """Remove what is kept for a key."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._path(key).unlink()

    def forget_all(self) -> None:
        """Remove what is kept for the bucket."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory)

    def _all(self, key: bytes) -> Sequence[Record]:
        try:
            return _lists.decode(self._path(key).read_bytes())
        except (OSError, msgspec.MsgspecError):
            return []

    def _path(self, key: bytes) -> Path:
        name = hashlib.sha256(key).hexdigest()
        return self._directory / f"{name[:2]}/{name}"
