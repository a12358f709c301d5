"""Objects in memory: for tests, and as the plainest account of what the seam promises."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from treadle.errors import ObjectError, ObjectNotFound
from treadle.objects.uri import check_bucket, check_key
from treadle.seams import ObjectInfo

__all__ = ["MemoryObjects"]

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class _Stored:
    info: ObjectInfo
    content: bytes


class MemoryObjects:
    """Objects in a dictionary; they are gone with it. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, dict[str, _Stored]] = {}

    def list(self, bucket: str, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Give the objects whose key starts with `prefix`, in UTF-8 binary order. Raises `ObjectNotFound`."""
        with self._lock:
            # The order of code points, in which Python compares strings, is the order of their UTF-8 bytes.
            stored = sorted(self._bucket(bucket).items())
        return iter([each.info for key, each in stored if key.startswith(prefix) and key > start_after])

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """Give one object's information. Raises `ObjectNotFound`."""
        return self._get(bucket, key).info

    def read(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give the object's bytes in pieces. Raises `ObjectNotFound`."""
        content = self._get(bucket, key).content
        end = len(content) if length is None else min(len(content), start + length)
        return (content[at : min(at + _PIECE, end)] for at in range(start, end, _PIECE))

    def write(self, bucket: str, key: str, pieces: Iterator[bytes]) -> ObjectInfo:
        """Store an object, replacing one of the same key. Raises `ObjectNotFound` when there is no such bucket."""
        check_key(key)
        with self._lock:
            self._bucket(bucket)
        content = b"".join(pieces)
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        info = ObjectInfo(key, len(content), time.time(), etag)
        with self._lock:
            self._bucket(bucket)[key] = _Stored(info, content)
        return info

    def download(self, bucket: str, key: str, to: Path) -> None:
        """Write the object to a file."""
        content = self._get(bucket, key).content
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            to.unlink(missing_ok=True)
            to.write_bytes(content)
        except OSError as error:
            raise ObjectError(f"s3://{bucket}/{key} cannot be written to {to}: {error.strerror}.") from error

    def upload(self, path: Path, bucket: str, key: str) -> ObjectInfo:
        """Store a file's content. The file stays."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ObjectError(f"{path} cannot be read: {error.strerror}.") from error
        return self.write(bucket, key, iter([content]))

    def move(self, bucket: str, source: str, target: str) -> None:
        """Give an object another key of the same bucket, at once and whole. Raises `ObjectNotFound`."""
        check_key(target)
        with self._lock:
            objects = self._bucket(bucket)
            if source not in objects:
                raise _no_object(bucket, source)
            stored = objects.pop(source)
            info = ObjectInfo(target, stored.info.size, stored.info.modified_at, stored.info.etag)
            objects[target] = _Stored(info, stored.content)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        with self._lock:
            self._bucket(bucket).pop(key, None)

    def buckets(self) -> Sequence[str]:
        """Give the names of the buckets, sorted."""
        with self._lock:
            return sorted(self._buckets)

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; no error when it is there."""
        check_bucket(bucket)
        with self._lock:
            self._buckets.setdefault(bucket, {})

    def delete_bucket(self, bucket: str) -> None:
        """Remove an empty bucket. Raises `ObjectNotFound`, and `ObjectError` while there are objects in it."""
        with self._lock:
            if self._bucket(bucket):
                raise ObjectError(f"The bucket {bucket!r} is not empty.")
            del self._buckets[bucket]

    def _get(self, bucket: str, key: str) -> _Stored:
        with self._lock:
            stored = self._bucket(bucket).get(key)
        if stored is None:
            raise _no_object(bucket, key)
        return stored

    def _bucket(self, bucket: str) -> dict[str, _Stored]:
        check_bucket(bucket)
        if bucket not in self._buckets:
            raise ObjectNotFound(f"There is no bucket {bucket!r}.")
        return self._buckets[bucket]


def _no_object(bucket: str, key: str) -> ObjectNotFound:
    return ObjectNotFound(f"There is no object s3://{bucket}/{key}.")
