"""Objects in memory: for tests, and as the plainest account of what the seam promises."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from treadle.errors import BucketNotEmpty, BucketNotFound, ObjectError
from treadle.objects.browsing import grouped
from treadle.objects.faults import no_object
from treadle.objects.uri import check_bucket, check_key
from treadle.seams import CommonPrefix, Deletion, ObjectCheck, ObjectInfo, ObjectProperties, ObjectReader

__all__ = ["MemoryObjects"]

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class _Stored:
    info: ObjectInfo
    content: bytes

    def read(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        end = len(self.content) if length is None else min(len(self.content), start + length)
        return (self.content[at : min(at + _PIECE, end)] for at in range(start, end, _PIECE))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Bucket:
    made_at: float
    objects: dict[str, _Stored]


class MemoryObjects:
    """Objects in a dictionary; they are gone with it. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._buckets: dict[str, _Bucket] = {}

    def list(self, bucket: str, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Give the objects whose key starts with `prefix`, in UTF-8 binary order. Raises `BucketNotFound`."""
        with self._lock:
            # The order of code points, in which Python compares strings, is the order of their UTF-8 bytes.
            stored = sorted(self._bucket(bucket).items())
        return iter([each.info for key, each in stored if key.startswith(prefix) and key > start_after])

    def holds(self, bucket: str, prefix: str = "") -> bool:
        """Tell whether the key of some object starts with `prefix`. Raises `BucketNotFound`."""
        return any(self.list(bucket, prefix))

    def browse(
        self, bucket: str, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        """List by a delimiter. Raises `BucketNotFound`."""
        return grouped(self.list(bucket, prefix, start_after=start_after), prefix, delimiter)

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """Give one object's information. Raises `ObjectNotFound`."""
        return self._get(bucket, key).info

    def open(self, bucket: str, key: str) -> ObjectReader:
        """Open the object that is there now. Raises `ObjectNotFound`."""
        return self._get(bucket, key)

    def read(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give the object's bytes in pieces. Raises `ObjectNotFound`."""
        return self._get(bucket, key).read(start, length)

    def write(self, bucket: str, key: str, pieces: Iterator[bytes]) -> ObjectInfo:
        """Store an object, replacing one of the same key. Raises `BucketNotFound`."""
        check_key(key)
        with self.stage(bucket) as stage:
            for piece in pieces:
                stage.write(piece)
            return stage.commit(key)

    def stage(self, bucket: str) -> _Stage:
        """Begin an object of this bucket. Raises `BucketNotFound`."""
        with self._lock:
            self._bucket(bucket)
        return _Stage(self, bucket)

    def keep(self, bucket: str, stored: _Stored, check: ObjectCheck | None) -> None:
        """Put a stored object in the place that its key says."""
        with self._lock:
            objects = self._bucket(bucket)
            present = objects.get(stored.info.key)
            if check is not None:
                check(present.info if present else None)
            objects[stored.info.key] = stored

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
                raise no_object(bucket, source)
            stored = objects.pop(source)
            objects[target] = _Stored(replace(stored.info, key=target), stored.content)

    def delete(self, bucket: str, key: str, *, check: ObjectCheck | None = None) -> None:
        """Remove an object; no error when there is none. What `check` raises is raised, and changes nothing."""
        with self._lock:
            objects = self._bucket(bucket)
            present = objects.get(key)
            if check is not None:
                check(present.info if present else None)
            objects.pop(key, None)

    @contextlib.contextmanager
    def deleting(self, bucket: str) -> Iterator[Deletion]:
        """Give what deletes objects of a bucket. Nobody else changes it meanwhile."""
        with self._lock:
            self._bucket(bucket)
            yield partial(self.delete, bucket)

    def buckets(self) -> Sequence[str]:
        """Give the names of the buckets, sorted."""
        with self._lock:
            return sorted(self._buckets)

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether there is a bucket of that name."""
        return bucket in self._buckets

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; no error when it is there."""
        check_bucket(bucket)
        with self._lock:
            self._buckets.setdefault(bucket, _Bucket(time.time(), {}))

    def bucket_made_at(self, bucket: str) -> float:
        """Tell when a bucket was made, in Unix seconds. Raises `BucketNotFound`."""
        with self._lock:
            self._bucket(bucket)
            return self._buckets[bucket].made_at

    def delete_bucket(self, bucket: str) -> None:
        """Remove an empty bucket. Raises `BucketNotFound`, and `BucketNotEmpty` while there are objects in it."""
        with self._lock:
            if self._bucket(bucket):
                raise BucketNotEmpty(f"The bucket {bucket!r} is not empty.")
            del self._buckets[bucket]

    def _get(self, bucket: str, key: str) -> _Stored:
        with self._lock:
            stored = self._bucket(bucket).get(key)
        if stored is None:
            raise no_object(bucket, key)
        return stored

    def _bucket(self, bucket: str) -> dict[str, _Stored]:
        check_bucket(bucket)
        if bucket not in self._buckets:
            raise BucketNotFound(f"There is no bucket {bucket!r}.")
        return self._buckets[bucket].objects


class _Stage:
    """An object in the making: its bytes so far."""

    def __init__(self, objects: MemoryObjects, bucket: str) -> None:
        self._objects = objects
        self._bucket = bucket
        self._content = bytearray()

    def write(self, piece: bytes) -> None:
        self._content += piece

    def append(self, source: ObjectReader, start: int = 0, length: int | None = None) -> None:
        for piece in source.read(start, length):
            self.write(piece)

    def digest(self) -> str:
        return hashlib.md5(self._content, usedforsecurity=False).hexdigest()

    def commit(
        self, key: str, *, properties: ObjectProperties | None = None, etag: str = "", check: ObjectCheck | None = None
    ) -> ObjectInfo:
        check_key(key)
        content = bytes(self._content)
        info = ObjectInfo(key, len(content), time.time(), etag or self.digest(), properties or ObjectProperties())
        self._objects.keep(self._bucket, _Stored(info, content), check)
        return info

    def close(self) -> None:
        self._content = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
